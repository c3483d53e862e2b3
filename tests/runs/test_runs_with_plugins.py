"""A run with plug-ins: its record, and its folder opened again by every command that reads it."""

import csv
import json
from pathlib import Path

import pytest

from fedjax_diffusion.allocation import METHODS
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.compare import list_plays
from fedjax_diffusion.experiment.config import load_config, to_run_config
from fedjax_diffusion.experiment.networks import NETWORKS
from fedjax_diffusion.host import own_names, plugins
from fedjax_diffusion.host.plugins import IMPORTED
from fedjax_diffusion.quantization import QUANTIZERS
from fedjax_diffusion.runs import evaluate
from fedjax_diffusion.runs.runner import run
from fedjax_diffusion.sweep.identity import hash_config
from fedjax_diffusion.sweep.play import PlayOptions
from fedjax_diffusion.sweep.points import expand
from fedjax_diffusion.sweep.runner import run_sweep
from tests.empty_figures import leave_figures_empty
from tests.runs.test_evaluate import pixels_as_features
from tests.study.test_folder import OVERRIDES as OF_STUDY
from tests.sweep.stubs import play_stub
from tests.tiny import OVERRIDES

EXAMPLES = Path(__file__).parents[2] / "examples"
OWN = {
    "own_quantizer": ("quantizer", QUANTIZERS, "top_k"),
    "own_method": ("method", METHODS, "equal_split"),
    "own_network": ("network", NETWORKS, "dense"),
}
"""Of each plug-in: the kind, the table and the name of what it registers."""
NAMES = tuple(OWN)
USED = {
    "plugins": tuple(str(EXAMPLES / f"{name}.py") for name in NAMES),
    "quantization.name": "top_k",
    "allocator.method": "equal_split",
    "model.name": "dense",
    "model.width": 4,
    "model.depth": 1,
    "partition.name": "iid",
    "allocator.baselines": ("full_precision", "full_precision:max_frequency"),
}
"""What the runs share with those of a comparison, of any seed: so they share their programs."""
SMALL = {key: value for key, value in OVERRIDES.items() if not key.startswith("model.")}
SMALL |= {"sampling.num_samples": 20, "compute.cpu_devices": 1}
GIVEN = [f"--plugins={EXAMPLES / f'{name}.py'}" for name in NAMES]


EXECUTE = plugins._execute
REGISTERED = {}
"""By source: what a plug-in registered when it was executed, and its digest."""


def execute_once(plugin):
    """Executes a source the first time; later its names are added again, with their programs."""
    kind, table, name = OWN[plugin.name]
    sources = own_names._SOURCES
    if plugin.source not in REGISTERED:
        EXECUTE(plugin)
        REGISTERED[plugin.source] = table[name], sources[kind, name]
    table[name], sources[kind, name] = REGISTERED[plugin.source]


def forget():
    """Leaves the process as it was before it imported a plug-in."""
    IMPORTED.clear()
    for kind, table, name in OWN.values():
        table.pop(name, None)
        own_names._SOURCES.pop((kind, name), None)


@pytest.fixture(scope="module", autouse=True)
def cheap():
    """Compiles for each plug-in once, and draws no figure that no test looks at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "_execute", execute_once)
        leave_figures_empty(patch)
        yield
    forget()


@pytest.fixture(scope="module")
def workdir(cheap, tmp_path_factory):
    del cheap
    folder = tmp_path_factory.mktemp("plugins")
    run(make_config({"num_rounds": 2, "checkpoint.every_rounds": 1}), folder / "run")
    return folder / "run"


def make_config(overrides=None):
    """Returns the smallest config that uses a name of each plug-in."""
    return load_config("digits", SMALL | USED | (overrides or {}))


@pytest.fixture(autouse=True)
def forgotten():
    yield
    forget()


def test_run_records_its_plugins_and_what_their_names_did(workdir):
    environment = json.loads((workdir / "environment.json").read_text())
    assert environment["plugins"].keys() == {*NAMES}
    for name in NAMES:
        copy = (workdir / "plugins" / f"{name}.py").read_bytes()
        assert copy == (EXAMPLES / f"{name}.py").read_bytes()
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        # planned and real bytes agree; the measured error, loss included, is within its bound
        assert line["uplink_bytes"] == line["planned_uplink_bytes"]
        assert 0 < line["quantization_error"] <= line["quantization_error_bound"]
    assert min(lines[0]["num_bits"]) == 4, "the bits of equal_split, where no client demands more"


def test_folder_is_not_read_without_the_plugins(workdir, capsys):
    forget()
    for command in ("sample", "evaluate", "report"):
        assert main([command, f"--workdir={workdir}"]) == 2
        error = capsys.readouterr().err
        assert "was made with plug-in own_quantizer" in error
        assert "--plugins=PATH/own_quantizer.py" in error
        assert error.count("\n") == 1
    with pytest.raises(ValueError, match="own_quantizer is not imported"):
        to_run_config(json.loads((workdir / "config.json").read_text()))


def test_every_command_reads_the_folder_with_the_plugins(workdir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate, "make_extractor", lambda *_: pixels_as_features())
    forget()
    read = f"--workdir={workdir}"
    for command in (
        ["sample", read, "--num_samples=20", f"--output={tmp_path / 'grid.png'}"],
        ["evaluate", read, "--num_samples=20", "--held_out_split=none"],
        ["export", read, f"--output={tmp_path / 'weights.npz'}"],
        ["report", read, f"--output={tmp_path / 'page.html'}"],
        ["config", str(workdir)],
        ["config", "digits", f"--diff={workdir}"],
    ):
        IMPORTED.clear()
        assert main([*command, *GIVEN]) == 0, command
        printed = capsys.readouterr().out
    assert "dense" in printed
    assert "equal_split" in (tmp_path / "page.html").read_text()
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".npz", ".html"}


def test_settings_of_an_own_network_are_arguments_of_a_command(capsys):
    plugins = f"--config.plugins={USED['plugins']}"
    show = ["config", "digits", plugins, "--config.model.name=dense"]
    assert main([*show, "--config.model.width=7"]) == 0
    printed = capsys.readouterr().out
    assert "features of a hidden layer, in 1..4096" in printed
    assert "channel_multipliers" not in printed
    for wrong, said in (
        ("--config.model.width=0", "config.model.width must be a whole number in 1..4096, got 0"),
        ("--config.model.channels=8", "config.model.channels: unknown key; model has"),
        ("--config.model.name=dens", "config.model.name must be one of unet, "),
    ):
        assert main([*show, wrong]) == 2
        assert said in capsys.readouterr().err
    assert main(["config", "digits", "--config.model.width=7"]) == 2
    assert "config.model.width: unknown key" in capsys.readouterr().err


def test_sweeps_and_comparisons_know_own_names():
    base = to_run_config(make_config())
    points = expand(
        base,
        lambda h: [
            {"model.name": "unet", "model.channels": 8},
            {"model.name": "dense", "model.depth": 3},
            {"quantization.name": "stochastic"},
        ],
    )
    unet, deep, plain = (point.config for point in points)
    assert (unet.model.channels, deep.model.depth, deep.model.width) == (8, 3, 4)
    assert (plain.model, plain.quantization.name) == (base.model, "stochastic")
    with pytest.raises(ValueError, match=r"point 1 .*config\.model\.channels: unknown key"):
        expand(base, lambda h: [{"model.channels": 8}])
    variants = ("own: quantization.name=top_k", "wide: model.name=dense, model.width=9")
    plays = list_plays(make_config({"compare.variants": variants, "compare.num_seeds": 2}))
    assert [play.point.config.model.width for play in plays] == [4, 9, 4, 9]


def test_a_comparison_with_own_names_is_played_and_opened_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "make_extractor", lambda *_: pixels_as_features())
    bits, rule = "quantization.name=top_k", "allocator.method=equal_split"
    variants = (f"own_bits: {bits}", f"own_both: {bits}, {rule}")  # one compiled round
    own = {"compare.variants": variants, "compare.num_seeds": 2, "num_rounds": 1}
    own |= {"evaluation.num_samples": 20, "evaluation.held_out_split": None}
    swept = ("quantization.name", "allocator.method")
    given = {key: value for key, value in (SMALL | USED).items() if key not in swept} | own
    flags = [f"--config.{key}={value}" for key, value in given.items()]
    folder = tmp_path / "both"
    assert main(["compare", "--config=digits", f"--workdir={folder}", *flags]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in ("4 evaluated", "own_bits", "own_both"))
    points = {path.name.partition("+")[0]: path for path in (folder / "points").iterdir()}
    for name, key, value in (
        ("own_bits", "quantization", {"name": "top_k"}),
        ("own_both", "allocator", {"method": "equal_split"}),
    ):
        settings = json.loads((points[name] / "config.json").read_text())[key]
        assert settings.items() >= value.items()
    forget()
    for command, path in (("report", folder), ("sample", points["own_bits"])):
        assert main([command, f"--workdir={path}"]) == 2
        assert "was made with plug-in own_quantizer" in capsys.readouterr().err
    page, grid = tmp_path / "page.html", tmp_path / "grid.png"
    for command in (
        ["report", f"--workdir={folder}", f"--output={page}"],
        ["sample", f"--workdir={points['own_both']}", "--num_samples=20", f"--output={grid}"],
        ["evaluate", f"--workdir={points['own_bits']}", "--num_samples=20"],
    ):
        forget()
        assert main([*command, *GIVEN]) == 0, command
    assert all(name in page.read_text() for name in ("own_bits", "own_both"))


def test_a_study_with_an_own_method_is_recorded(tmp_path):
    methods = ("full_precision", "full_precision:max_frequency", "equal_split")
    only = {"study.methods": methods, "study.distances_meters": (100,)}
    only["partition.num_clients"] = SMALL["partition.num_clients"]
    given = {k: v for k, v in (OF_STUDY | only).items() if not k.startswith("model.")}
    flags = [f"--config.{key}={value}" for key, value in (given | USED).items()]
    assert main(["study", "--config=digits", f"--workdir={tmp_path / 'study'}", *flags]) == 0
    with (tmp_path / "study" / "study.csv").open(newline="") as file:
        assert {line["method"] for line in csv.DictReader(file)} >= {*methods}
    summary = json.loads((tmp_path / "study" / "summary.json").read_text())
    assert summary["plugins"].keys() == {*NAMES}


def change_first(folder):
    """Returns the paths of the plug-ins, of which the first is a changed copy."""
    changed = folder / f"{NAMES[0]}.py"
    changed.write_bytes((EXAMPLES / changed.name).read_bytes() + b"# changed\n")
    return (str(changed), *USED["plugins"][1:])


def test_changed_plugin_is_named_and_only_taken_if_trusted(workdir, tmp_path, capsys):
    forget()
    given = [f"--plugins={path}" for path in change_first(tmp_path)]
    sample = [
        "sample",
        f"--workdir={workdir}",
        "--num_samples=20",
        f"--output={tmp_path / 'a.png'}",
    ]
    assert main([*sample, *given]) == 2
    assert "plug-in own_quantizer has changed since" in capsys.readouterr().err
    assert "own_quantizer" not in IMPORTED
    assert main([*sample, *given, "--trust_plugins"]) == 0
    inside = [f"--plugins={workdir / 'plugins' / f'{name}.py'}" for name in NAMES]
    assert main([*sample, *inside, "--trust_plugins"]) == 2
    assert "from which nothing is imported" in capsys.readouterr().err
    assert main([*sample, *given, "--plugins=other.py"]) == 2
    assert "made without a plug-in other" in capsys.readouterr().err


def test_run_does_not_go_on_with_a_changed_plugin(workdir, tmp_path):
    forget()
    overrides = {"plugins": change_first(tmp_path)}
    config = make_config(overrides | {"num_rounds": 3, "checkpoint.every_rounds": 1})
    with pytest.raises(ValueError, match="own_quantizer has changed since"):
        run(config, workdir)


def test_plugins_are_in_the_identity_by_their_names_alone():
    base = load_config("digits")
    with_plugins = load_config("digits", {"plugins": USED["plugins"]})
    used = load_config("digits", USED)
    hashes = [hash_config(to_run_config(each)) for each in (base, with_plugins, used)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_sweep_with_plugins_is_opened_again(tmp_path, capsys):
    config, workdir = make_config({"num_rounds": 2}), tmp_path / "sweep"
    points = expand(config, lambda h: h.sweep("seed", [0, 1]))
    options = PlayOptions(is_evaluating=False)
    run_sweep(config, points, workdir, options, play=play_stub)
    sweep = ["sweep", f"--workdir={workdir}", "--no_evaluation"]
    forget()
    assert main(sweep) == 2
    assert "was made with plug-in own_quantizer" in capsys.readouterr().err
    assert main([*sweep, *GIVEN]) == 0
    assert "2 points: 2 finished" in capsys.readouterr().out
    forget()
    assert main(["sweep", f"--workdir={workdir}", "--status"]) == 0
    assert main([*sweep, "--config=digits", *GIVEN]) == 2
    assert "--plugins is for --workdir without --config" in capsys.readouterr().err
