"""A run with plug-ins: its record, and its folder opened again by every command that reads it."""

import json
from pathlib import Path

import pytest

from fedjax_diffusion.allocation import METHODS
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.experiment.config import load_config, to_run_config
from fedjax_diffusion.host import own_names
from fedjax_diffusion.host.plugins import IMPORTED
from fedjax_diffusion.quantization import QUANTIZERS
from fedjax_diffusion.runs.runner import run
from fedjax_diffusion.sweep.identity import hash_config
from fedjax_diffusion.sweep.play import PlayOptions
from fedjax_diffusion.sweep.points import expand
from fedjax_diffusion.sweep.runner import run_sweep
from tests.sweep.stubs import play_stub
from tests.tiny import pixel_config

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("own_quantizer", "own_method")
USED = {
    "plugins": tuple(str(EXAMPLES / f"{name}.py") for name in NAMES),
    "quantization.name": "top_k",
    "allocator.method": "equal_split",
}


def forget():
    """Leaves the process as it was before it imported a plug-in."""
    IMPORTED.clear()
    for kind, table, name in (
        ("quantizer", QUANTIZERS, "top_k"),
        ("method", METHODS, "equal_split"),
    ):
        table.pop(name, None)
        own_names._SOURCES.pop((kind, name), None)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    config = pixel_config(num_rounds=2, checkpoint__every_rounds=1, **_to_names(USED))
    run(config, folder / "run")
    return folder / "run"


def _to_names(overrides):
    return {key.replace(".", "__"): value for key, value in overrides.items()}


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


def test_sample_and_report_read_the_folder_with_the_plugins(workdir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = [f"--plugins={EXAMPLES / f'{name}.py'}" for name in NAMES]
    for command, *more in (
        ("sample", "--num_samples=4", f"--output={tmp_path / 'grid.png'}"),
        ("report", f"--output={tmp_path / 'page.html'}"),
    ):
        forget()
        assert main([command, f"--workdir={workdir}", *given, *more]) == 0
    assert "equal_split" in (tmp_path / "page.html").read_text()


def test_changed_plugin_is_named_and_only_taken_if_trusted(workdir, tmp_path, capsys):
    forget()
    given = []
    for name in NAMES:
        path = tmp_path / f"{name}.py"
        path.write_bytes((EXAMPLES / f"{name}.py").read_bytes() + b"# changed\n")
        given.append(f"--plugins={path}")
    sample = ["sample", f"--workdir={workdir}", "--num_samples=4", f"--output={tmp_path / 'a.png'}"]
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
    used = {}
    for name in NAMES:
        path = tmp_path / f"{name}.py"
        path.write_bytes((EXAMPLES / f"{name}.py").read_bytes() + b"# changed\n")
        used[name] = str(path)
    overrides = USED | {"plugins": tuple(used.values())}
    config = pixel_config(num_rounds=3, checkpoint__every_rounds=1, **_to_names(overrides))
    with pytest.raises(ValueError, match="own_quantizer has changed since"):
        run(config, workdir)


def test_plugins_are_in_the_identity_by_their_names_alone():
    base = load_config("digits")
    with_plugins = load_config("digits", {"plugins": USED["plugins"]})
    used = load_config("digits", USED)
    hashes = [hash_config(to_run_config(each)) for each in (base, with_plugins, used)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_sweep_with_plugins_is_opened_again(tmp_path, capsys):
    config, workdir = pixel_config(num_rounds=2, **_to_names(USED)), tmp_path / "sweep"
    points = expand(config, lambda h: h.sweep("seed", [0, 1]))
    options = PlayOptions(is_evaluating=False)
    run_sweep(config, points, workdir, options, play=play_stub)
    sweep = ["sweep", f"--workdir={workdir}", "--no_evaluation"]
    forget()
    assert main(sweep) == 2
    assert "was made with plug-in own_quantizer" in capsys.readouterr().err
    given = [f"--plugins={EXAMPLES / f'{name}.py'}" for name in NAMES]
    assert main([*sweep, *given]) == 0
    assert "2 points: 2 finished" in capsys.readouterr().out
    forget()
    assert main(["sweep", f"--workdir={workdir}", "--status"]) == 0
    assert main([*sweep, "--config=digits", *given]) == 2
    assert "--plugins is for --workdir without --config" in capsys.readouterr().err
