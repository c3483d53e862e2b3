"""A comparison: plays once, goes on with more seeds, and says what its rows say."""

import json

import numpy as np
import pytest

from fedjax_diffusion.cli.main import main
from fedjax_diffusion.compare import VariantRow, folder, read_runs, run_comparison, verdict
from fedjax_diffusion.compare.pairs import Interval
from fedjax_diffusion.runs import evaluate as module
from tests.runs.test_evaluate import pixels_as_features
from tests.tiny import FLAGS, tiny_config

VARIANTS = (
    "full_precision: allocator.method=full_precision",
    "two_bits: allocator.method=fixed_bits:2",
)
BASELINES = ("full_precision", "full_precision:max_frequency")


def config_of(num_seeds):
    return tiny_config(
        num_rounds=1,
        evaluation__num_samples=24,
        allocator__baselines=BASELINES,
        compare__variants=VARIANTS,
        compare__num_seeds=num_seeds,
    )


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "make_extractor", lambda *_: pixels_as_features())
        folder_path = tmp_path_factory.mktemp("compare") / "tiny"
        told = []
        done = run_comparison(
            config_of(2),
            folder_path,
            on_progress=lambda play, *what: told.append((*play[:2], *what)),
        )
        assert told[0] == ("full_precision", 0, "round", 1)
        assert told[-1] == ("two_bits", 1, "image", 24)
        return done.workdir


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
    assert (workdir / "two_bits" / "seed_1" / "metrics.jsonl").exists()


def test_what_was_played_is_not_played_again(workdir, monkeypatch):
    monkeypatch.setattr(module, "make_extractor", lambda *_: pixels_as_features())
    monkeypatch.setattr(module, "measure_quality", lambda *_: pytest.fail("measured again"))
    started = []
    play = folder.run
    monkeypatch.setattr(folder, "run", lambda *a, **k: started.append(r := play(*a, **k)) or r)
    told = []
    run_comparison(config_of(2), workdir, on_progress=lambda *what: told.append(what))
    assert told == []
    assert [result.is_new for result in started] == [False] * 4


def test_runs_of_another_folder_are_taken_over(workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "run", lambda *_: pytest.fail("played again"))
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
        ({"extractor": "another-2"}, "seed 0: full_precision and two_bits were measured by"),
        ({"extractor": "abc"}, "was measured as fcd, version 1, two_bits with seed 0 as fcd, ver"),
        ({"distance_name": "fid"}, "was measured as fid, version 2, two_bits with seed 0 as fcd"),
    ):
        mixed = [earlier[0]._replace(**changed), *earlier[1:]]
        with pytest.raises(ValueError, match=said):
            run_comparison(config_of(2), tmp_path / "mixed", earlier=mixed)


def test_a_folder_with_other_settings_is_refused_before_anything_is_played(workdir, monkeypatch):
    monkeypatch.setattr(folder, "run", lambda *_: pytest.fail("played"))
    changed = config_of(2)
    changed.compare.variants = (VARIANTS[0], VARIANTS[1].replace("bits:2", "bits:3"))
    with pytest.raises(ValueError, match="two_bits/seed_0 holds a run of another config"):
        run_comparison(changed, workdir)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"allocator__baselines": ("full_precision",)}, "has no full_precision:max_frequency"),
        ({"compare__variants": (*VARIANTS, "x: allocator.method=magic")}, "variant x: .*'magic'"),
        (
            {"compare__variants": (*VARIANTS, "x: sampling.eta=2.0")},
            "variant x: sampling.eta must be",
        ),
        ({"compare__variants": (*VARIANTS, "x: checkpoint.keep=0")}, "variant x: checkpoint.keep"),
        ({"evaluation__held_out_split": "dev"}, "variant full_precision: .*'dev'"),
        (
            {"evaluation__inception_weights": "no.pth"},
            "variant full_precision: inception_weights no.pth does",
        ),
    ],
)
def test_what_would_end_a_run_late_is_said_before_the_first(changed, said, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "run", lambda *_: pytest.fail("played"))
    if "evaluation__inception_weights" not in changed:
        monkeypatch.setattr(module, "make_extractor", lambda *_: pixels_as_features())
    fields = {"allocator__baselines": BASELINES, "compare__variants": VARIANTS} | changed
    with pytest.raises(ValueError, match=said):
        run_comparison(tiny_config(num_rounds=1, **fields), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_command_prints_the_table(workdir, monkeypatch, capsys):
    monkeypatch.setattr(module, "make_extractor", lambda *_: pixels_as_features())
    flags = [
        *FLAGS,
        "--config.num_rounds=1",
        "--config.evaluation.num_samples=24",
        f"--config.allocator.baselines={BASELINES}",
        f"--config.compare.variants={VARIANTS}",
        "--config.compare.num_seeds=2",
    ]
    earlier = f"--earlier={workdir}/runs.csv"
    assert main(["compare", "--config=digits", f"--workdir={workdir}", earlier, *flags]) == 0
    text = capsys.readouterr().out
    assert "two_bits seed 1: fcd" in text
    assert "saved A: joules against full_precision with the optimal split" in text
    other = workdir / "two_bits" / "seed_0"
    assert main(["compare", "--config=digits", f"--workdir={other}", *flags]) == 2
    assert "the folder of a single run" in capsys.readouterr().err


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
