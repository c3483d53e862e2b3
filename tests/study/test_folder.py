"""The study folder: from a config to files, without images and without training."""

import csv
import json

import numpy as np
import pytest

from fedjax_diffusion.data import load_images
from fedjax_diffusion.experiment.config import load_config
from fedjax_diffusion.runs.claims import claim_folder
from fedjax_diffusion.study import (
    FIGURES,
    Point,
    StudyRow,
    build_study,
    read_study,
    run_study,
    to_cells,
)
from fedjax_diffusion.study.folder import format_paths, to_csv
from tests.each import check_each
from tests.empty_figures import leave_figures_empty

OVERRIDES = {
    "partition.num_clients": 6,
    "model.channels": 4,
    "model.channel_multipliers": (1,),
    "workload.cycles_per_example": 1e6,
    "study.rounds": 2,
    "study.time_budgets_seconds": (2, 20),
    "study.distances_meters": (100, 300),
    "study.methods": ("full_precision", "full_precision:max_frequency", "fixed_bits:1"),
}


def config_of(**overrides):
    changed = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_config("digits", OVERRIDES | changed)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return run_study(config_of(), tmp_path_factory.mktemp("study") / "small")


@pytest.fixture(autouse=True)
def others(study, monkeypatch):
    """Draws the figures of that study alone."""
    leave_figures_empty(monkeypatch)


def test_the_folder_holds_table_figures_summary_and_config(study):
    names = {path.name for path in study.workdir.iterdir()} - {"claims"}
    assert names == {
        *("study.csv", "summary.json", "config.json", "environment.json"),
        *FIGURES.values(),
    }
    assert json.loads((study.workdir / "summary.json").read_text()) == study.summary
    config = json.loads((study.workdir / "config.json").read_text())
    assert config == json.loads(json.dumps(config_of().to_dict()))
    listed = [study.workdir / name for name in ("study.csv", "summary.json", *FIGURES.values())]
    assert set(format_paths(study.workdir).split()) == {str(path) for path in listed}


def test_a_study_is_read_back_exactly(study):
    assert read_study(study.workdir) == study


def test_a_damaged_study_is_refused(tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    for text in ("", "a,b\n1,2\n", "x" * 200_000):
        (tmp_path / "study.csv").write_text(text)
        with pytest.raises(ValueError, match="holds no whole study"):
            read_study(tmp_path)


def test_the_table_is_tidy_and_complete(study):
    with (study.workdir / "study.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    expected = [(point, row) for point in study.points for row in point.rows]
    assert len(lines) == len(expected) == (1 + 2 + 2) * 4 + 4 * 4
    assert list(lines[0]) == [*Point._fields[:3], *StudyRow._fields]
    for line, (point, row) in zip(lines, expected, strict=True):
        for name, value in (point._asdict() | row._asdict()).items():
            if name == "rows":
                continue
            found = line[name] or None
            assert found == (value if isinstance(value, str | None) else str(value))
            if isinstance(value, float):
                assert float(line[name]) == value


def test_the_same_config_gives_the_same_files(study, tmp_path):
    again = run_study(config_of(), tmp_path / "again")
    for name in ("study.csv", "summary.json", "config.json"):
        assert (again.workdir / name).read_bytes() == (study.workdir / name).read_bytes()
    other = run_study(config_of(seed=1), again.workdir)
    assert other.points != again.points, "an earlier study is replaced"
    assert (again.workdir / "study.csv").read_text() == to_csv(other.points)


def test_it_plays_the_rounds_of_the_run(study):
    scenario, _ = build_study(config_of())
    labels = load_images("digits", "train").labels
    assert scenario.num_examples.sum() == len(labels) == 1497
    assert len(set(scenario.num_examples)) > 1
    np.testing.assert_array_equal(scenario.workload.compute_cycles, 20 * 32 * 1e6)
    assert scenario.allocator.time_budget_seconds == 20.0
    assert [cell[:2] for cell in to_cells(study.points)] == [
        (2.0, 100.0),
        (20.0, 100.0),
        (2.0, 300.0),
        (20.0, 300.0),
    ]


WHAT_DOES_NOT_FIT = [
    ({"study__rounds": 0}, "study.rounds must be a whole number in 1..1000000, got 0"),
    ({"seed": -1}, "seed must be a whole number in 0..4294967295, got -1"),
    ({"partition__num_clients": 2000}, "2000"),
    (
        {"study__image_shape": (8, 8, 2.5)},
        "study.image_shape: each entry must be a whole number in 1..8192, got 2.5",
    ),
    ({"model__channel_multipliers": (1, 1, 1, 1, 1)}, "image"),
    (
        {"allocator__error_budget.as_fixed_bits": None} | {"allocator__error_budget.relative": 0.1},
        "allocator.error_budget: a study does not train",
    ),
    (
        {"allocator__error_budget.as_fixed_bits": None} | {"allocator__error_budget.absolute": 1.0},
        "give as_fixed_bits, or None for all three",
    ),
    ({"allocator__method": "relaxed"}, "method 'relaxed' gives real numbers"),
    ({"study__methods": ("demand",)}, "study.methods must hold full_precision and"),
    (
        {"study__time_budgets_seconds": (1e-3,)} | {"allocator__time_budget_seconds": 1e-3},
        "no client can participate",
    ),
]


def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path):
    def check(overrides, message):
        with pytest.raises(ValueError, match=message) as caught:
            run_study(config_of(**overrides), tmp_path / "study")
        assert len(str(caught.value).splitlines()) == 1
        assert not (tmp_path / "study").exists()

    check_each(WHAT_DOES_NOT_FIT, check)


def test_no_error_budget_is_allowed(tmp_path):
    config = config_of(**{"allocator__error_budget.as_fixed_bits": None})
    study = run_study(config, tmp_path / "study")
    assert {row.error_over_budget for point in study.points for row in point.rows} == {None}


def test_other_folders_and_files_are_left_alone(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("a run")
    with pytest.raises(ValueError, match="is not empty and not a study"):
        run_study(config_of(), tmp_path)
    with pytest.raises(ValueError, match="is a file; choose another --workdir"):
        run_study(config_of(), tmp_path / "metrics.jsonl")
    with pytest.raises(ValueError, match="not a folder; choose another path"):
        run_study(config_of(), tmp_path / "metrics.jsonl" / "study")
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_second_process_is_refused_and_a_killed_one_is_replaced(tmp_path, monkeypatch):
    with claim_folder(tmp_path), pytest.raises(ValueError, match=r"process .* works on it since"):
        run_study(config_of(), tmp_path)
    leftovers = [".study.csv.123.tmp", ".config.json.123.tmp"]
    for name in leftovers:  # of a process that was killed while it wrote its first file
        (tmp_path / name).write_text("half")

    def fail(*_):
        raise RuntimeError("latex could not be found")

    monkeypatch.setattr("fedjax_diffusion.study.folder.draw_sweep", fail)
    points = run_study(config_of(), tmp_path).points
    assert (tmp_path / "study.csv").read_text() == to_csv(points)
    assert not any((tmp_path / name).exists() for name in leftovers)
