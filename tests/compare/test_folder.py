"""A comparison: plays once, goes on with more seeds, and says what its rows say."""

import functools
import json
import shutil

import numpy as np
import pytest

from fedjax_diffusion import read_sweep
from fedjax_diffusion.cli import sweep as command
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.compare import (
    VariantRow,
    list_plays,
    open_comparison,
    read_runs,
    run_comparison,
    verdict,
)
from fedjax_diffusion.host.progress import Progress
from fedjax_diffusion.runs import claims
from fedjax_diffusion.runs import evaluate as module
from fedjax_diffusion.sweep import play
from fedjax_diffusion.sweep.dry_run import format_dry_run
from fedjax_diffusion.sweep.folder import open_sweep
from fedjax_diffusion.sweep.pairs import Interval
from fedjax_diffusion.sweep.play import PlayOptions
from fedjax_diffusion.sweep.runner import play_sweep
from tests.empty_figures import leave_figures_empty
from tests.runs.test_evaluate import pixels_as_features
from tests.sweep.stubs import play_stub
from tests.tiny import PIXELS, pixel_config

VARIANTS = (
    "full_precision: allocator.method=full_precision",
    "two_bits: allocator.method=fixed_bits:2",
)
BASELINES = ("full_precision", "full_precision:max_frequency")


def config_of(num_seeds):
    return pixel_config(
        num_rounds=1,
        evaluation__num_samples=32,
        allocator__baselines=BASELINES,
        compare__variants=VARIANTS,
        compare__num_seeds=num_seeds,
    )


class Told(Progress):
    """Keeps what is told within a run."""

    def __init__(self):
        self.lines = []

    def tell(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "make_extractor", lambda *_: pixels_as_features())
        told, played = Told(), []
        done = run_comparison(
            config_of(2),
            tmp_path_factory.mktemp("compare") / "tiny",
            on_point=lambda point, state: played.append((point.label, state.status)),
            progress=told,
        )
        names = [
            f"{name}+seed-{seed}" for seed in (0, 1) for name in ("full_precision", "two_bits")
        ]
        assert played == [(name, "evaluated") for name in names]
        assert told.lines[0] == "full_precision+seed-0: round 1"
        assert told.lines[-1] == "two_bits+seed-1: image 32"
        assert done.missing == []
        return done.workdir


@pytest.fixture(autouse=True)
def others(workdir, monkeypatch):
    """Draws the figure of that comparison alone."""
    leave_figures_empty(monkeypatch)


@pytest.fixture
def no_play(monkeypatch):
    monkeypatch.setattr(play, "run", lambda *_, **__: pytest.fail("played"))


@pytest.fixture
def stubs(monkeypatch):
    """Plays points in no time; one of them fails."""

    def stub(task):
        if task.label == "two_bits+seed-2":
            raise ValueError("out of luck")
        play_stub(task)

    monkeypatch.setattr(command, "play_sweep", functools.partial(play_sweep, play=stub))


def test_its_folder_tells_all(workdir):
    summary = json.loads((workdir / "summary.json").read_text())
    full, two_bits = summary["variants"]
    assert (summary["reference"], full["variant"], full["num_seeds"]) == ("full_precision",) * 2 + (
        2,
    )
    assert full["difference_percent"] is None
    assert full["saved_joules_percent"] == pytest.approx(0)
    assert 0 < two_bits["saved_joules_percent"] < two_bits["saved_joules_percent_max_frequency"]
    assert 85 < two_bits["saved_bytes_percent"] < 100 * (1 - 2 / 32)
    runs = read_runs(workdir / "runs.csv")
    for field, of_runs in (("joules", "total_joules"), ("bytes", "uplink_bytes")):
        spent = [sum(getattr(run, of_runs) for run in runs[i::2]) for i in (0, 1)]
        saved = 100 * (1 - spent[1] / spent[0])
        assert two_bits[f"less_{field}_than_reference_percent"] == pytest.approx(saved)
        assert full[f"less_{field}_than_reference_percent"] is None
    lines = (workdir / "runs.csv").read_text().splitlines()
    assert len(lines) == 5
    distances = [float(line.split(",")[3]) for line in lines[1:]]
    percents = [100 * (distances[i + 1] / distances[i] - 1) for i in (0, 2)]
    assert two_bits["difference_percent"]["mean"] == pytest.approx(np.mean(percents))
    assert (workdir / "figures" / "quality.png").stat().st_size > 10_000
    assert len(list((workdir / "points").glob("two_bits+seed-1--*/metrics.jsonl"))) == 1


def test_its_index_holds_the_savings_against_the_reference(workdir):
    runs = read_runs(workdir / "runs.csv")
    for number, row in enumerate(read_sweep(workdir).to_pylist()):
        own, reference = runs[number], runs[number - number % 2]
        for name in ("total_joules", "uplink_bytes"):
            assert row[name] == getattr(own, name)
            saved = 100 * (1 - getattr(own, name) / getattr(reference, name))
            column = {"total_joules": "joules", "uplink_bytes": "bytes"}[name]
            assert row[f"saved_{column}_percent.reference"] == pytest.approx(saved)


def test_what_was_played_is_not_played_again(workdir, no_play):
    times = {path: path.stat().st_mtime_ns for path in workdir.rglob("*.*")}
    done = run_comparison(config_of(2), workdir, on_point=lambda *_: pytest.fail("played"))
    assert len(done.runs) == 4
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*.*")} == times


def test_runs_of_another_folder_are_taken_over(workdir, tmp_path, no_play):
    earlier = read_runs(workdir / "runs.csv")
    again = run_comparison(config_of(2), tmp_path / "other", earlier=earlier)
    assert again.runs == earlier
    summaries = [(of / "summary.json").read_text() for of in (workdir, tmp_path / "other")]
    assert summaries[0] == summaries[1]


def test_earlier_runs_with_other_settings_or_features_are_refused(workdir, tmp_path):
    earlier = read_runs(workdir / "runs.csv")
    other = config_of(2)
    other.local_work.batch_size += 1
    with pytest.raises(ValueError, match="full_precision with seed 0 was played with other"):
        run_comparison(other, tmp_path / "other", earlier=earlier)
    for changed, said in (
        (
            {"extractor": "another-2"},
            "seed 0 was measured by another-2, two_bits with seed 0 by abc",
        ),
        ({"extractor": "abc"}, "was measured by fcd, version 1, two_bits with seed 0 by fcd, ver"),
        ({"distance_name": "fid"}, "was measured by fid, version 2, two_bits with seed 0 by fcd"),
    ):
        mixed = [earlier[0]._replace(**changed), *earlier[1:]]
        with pytest.raises(ValueError, match=said):
            run_comparison(config_of(2), tmp_path / "mixed", earlier=mixed)


def test_other_settings_are_refused_and_another_variant_is_new_points(workdir, tmp_path, no_play):
    changed = config_of(2)
    changed.local_work.batch_size += 1
    with pytest.raises(ValueError, match=r"another sweep \(local_work.batch_size: 4 there"):
        run_comparison(changed, workdir)
    changed = config_of(2)
    changed.compare.variants = (VARIANTS[0], VARIANTS[1].replace("bits:2", "bits:3"))
    opened = open_comparison(changed, workdir, PlayOptions(), [], is_dry=True)
    assert "2 planned, 2 evaluated; 2 to play" in format_dry_run(opened.sweep, opened.options)
    shutil.copytree(workdir, tmp_path / "copy")
    open_comparison(changed, tmp_path / "copy", PlayOptions(), [])
    assert len(open_sweep(tmp_path / "copy").points) == 6


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"allocator__baselines": ("full_precision",)}, "has no full_precision:max_frequency"),
        ({"compare__variants": (*VARIANTS, "x: allocator.method=magic")}, "variant x: .*'magic'"),
        (
            {"compare__variants": (*VARIANTS, "x: sampling.eta=2.0")},
            "variant x: .*sampling.eta must be",
        ),
        (
            {"compare__variants": (*VARIANTS, "x: checkpoint.keep=1")},
            "variant x: .*config.checkpoint.keep cannot be swept",
        ),
        (
            {"compare__variants": (*VARIANTS, "x: allocator.time_budget_seconds=1e-3")},
            r"point x\+seed-0: .*no client can participate",
        ),
        ({"evaluation__held_out_split": "dev"}, r"point full_precision\+seed-0: .*'dev'"),
        (
            {"evaluation__inception_weights": "no.pth"},
            r"point full_precision\+seed-0: inception_weights no.pth does",
        ),
    ],
)
def test_what_would_end_a_run_late_is_said_before_the_first(
    changed, said, tmp_path, no_play, monkeypatch
):
    if "evaluation__inception_weights" not in changed:
        monkeypatch.setattr(module, "make_extractor", lambda *_: pixels_as_features())
    fields = {"allocator__baselines": BASELINES, "compare__variants": VARIANTS} | changed
    with pytest.raises(ValueError, match=said):
        run_comparison(pixel_config(num_rounds=1, **fields), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def flags_of(num_seeds, workdir):
    return [
        *("compare", *PIXELS, f"--workdir={workdir}"),
        "--config.num_rounds=1",
        "--config.evaluation.num_samples=32",
        f"--config.allocator.baselines={BASELINES}",
        f"--config.compare.variants={VARIANTS}",
        f"--config.compare.num_seeds={num_seeds}",
    ]


def test_the_command_prints_the_table(workdir, no_play, capsys):
    assert main([*flags_of(2, workdir), f"--earlier={workdir}/runs.csv"]) == 0
    text, error = capsys.readouterr()
    assert error == ""
    assert "4 points: 4 evaluated" in text
    assert "saved A: joules against full_precision with the optimal split" in text
    assert main([*flags_of(2, workdir), "--dry_run"]) == 0
    assert "0 to play" in capsys.readouterr().out
    assert main([*flags_of(2, workdir), "--status"]) == 0
    assert "points  4: 4 evaluated" in capsys.readouterr().out
    (single,) = workdir.glob("points/two_bits+seed-0--*")
    assert main(flags_of(2, single)) == 2
    assert "is the folder of a run" in capsys.readouterr().err


def test_a_failure_stops_nobody_and_the_table_holds_what_is_complete(
    workdir, tmp_path, stubs, monkeypatch, capsys
):
    monkeypatch.setattr(module, "make_extractor", lambda *_: pixels_as_features())
    line = [*flags_of(3, tmp_path / "three"), f"--earlier={workdir}/runs.csv"]
    assert main([*line, "--dry_run"]) == 0
    assert "6 planned; 2 to play" in capsys.readouterr().out
    assert main(line) == 1
    out, error = capsys.readouterr()
    assert "full_precision+seed-2: evaluated  loss" in out
    assert "  fcd 12.50  " in out
    assert "two_bits+seed-2: failed, ValueError: out of luck" in out
    assert "Means of a run over 2 seeds" in out
    assert "1 runs are not finished (two_bits+seed-2)" in error
    assert (tmp_path / "three" / "runs.csv").read_text() == (workdir / "runs.csv").read_text()


def test_a_run_of_another_process_is_left_to_it(tmp_path, stubs, monkeypatch, capsys):
    monkeypatch.setattr(module, "make_extractor", lambda *_: pixels_as_features())
    name = list_plays(config_of(2))[1].point.hash[:12]
    with claims.take(tmp_path / "claims", name):
        assert main(flags_of(2, tmp_path)) == 0
    out, error = capsys.readouterr()
    assert "saved A" not in out
    assert "1 runs are not finished (two_bits+seed-0)" in error
    assert main(flags_of(2, tmp_path)) == 0
    assert "saved A" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        (Interval(-1, -3, 1.9), "within 2 % of full"),
        (Interval(4, 2.1, 6), "worse than full by more than 2 %"),
        (Interval(1, -3, 5), "not decided"),
    ],
)
def test_the_verdict_is_by_the_end_of_the_interval(interval, said):
    row = VariantRow("own", 5, Interval(1, 1, 1), interval, *(0.0,) * 14)
    assert said in verdict(row, "full", 2.0)
    assert "not decided" in verdict(row._replace(num_seeds=4), "full", 2.0), "four only show"
