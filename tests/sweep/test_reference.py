"""Points are held against the reference's point of the same seed."""

from pathlib import Path

import pytest

from fedjax_diffusion import expand, load_config, read_sweep
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.sweep import hyper
from fedjax_diffusion.sweep.folder import grow_sweep, open_sweep
from fedjax_diffusion.sweep.points import load_get_hyper
from fedjax_diffusion.sweep.reference import find_reference, hash_family, list_savings
from fedjax_diffusion.sweep.runner import play_sweep, prepare_sweep
from tests.sweep.stubs import CONFIG, make_points, play_stub
from tests.tiny import pixel_config

AXES = (
    hyper.sweep("allocator.method", ["demand", "full_precision"]),
    hyper.sweep("seed", range(3)),
)
POINTS = make_points(*AXES)
COLUMNS = ("saved_joules_percent.reference", "saved_bytes_percent.reference")


def test_a_family_is_a_points_settings_without_its_seed():
    families = [hash_family(point) for point in POINTS]
    assert families == [families[0]] * 3 + [families[3]] * 3
    assert families[0] != families[3]


@pytest.mark.parametrize("pattern", ["method-full-precision+seed-1", "*full*", POINTS[4].hash])
def test_a_reference_is_named_by_one_point_or_all_its_seeds(pattern):
    assert find_reference(POINTS, pattern) == hash_family(POINTS[3])


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("best", "reference=best matches no point; the first point is method-demand.seed-0"),
        ("*seed-1", "matches method-demand.seed-1 and method-full-precision.seed-1, which differ"),
    ],
)
def test_a_reference_that_is_none_or_several_is_refused(pattern, said):
    with pytest.raises(ValueError, match=said):
        find_reference(POINTS, pattern)


def test_savings_are_those_against_the_same_seed():
    spent = [{"total_joules": j, "uplink_bytes": b} for j, b in [(1.0, 10), (2.0, 20), (3.0, 30)]]
    spent += [{"total_joules": j, "uplink_bytes": b} for j, b in [(4.0, 40), (4.0, 0)]]
    spent += [{"total_joules": None, "uplink_bytes": None}]
    saved = list_savings(POINTS, hash_family(POINTS[3]), spent)
    rows = [tuple(row[name] for name in COLUMNS) for row in saved]
    assert rows == [(75, 75), (50, None), (None, None), (0, 0), (0, None), (None, None)]


def test_the_config_may_name_the_reference_and_the_command_another(tmp_path):
    config = to_run_config(pixel_config(sweep__reference="*full*"))
    points = expand(config, lambda h: h.product(AXES))
    prepared = prepare_sweep(config, points, tmp_path)
    assert prepared.reference == hash_family(points[3])
    assert open_sweep(tmp_path).reference == prepared.reference
    named = prepare_sweep(config, points, tmp_path, reference="*demand*")
    assert named.reference == hash_family(points[0])


def test_the_index_follows_the_reference_that_was_named_last(tmp_path):
    plain = grow_sweep(CONFIG, POINTS, tmp_path)
    assert plain.reference is None
    play_sweep(tmp_path, play=play_stub)
    assert not {*COLUMNS} & {*read_sweep(tmp_path).column_names}
    family = hash_family(POINTS[0])
    grow_sweep(CONFIG, POINTS, tmp_path, family)
    assert grow_sweep(CONFIG, POINTS[:1], tmp_path).reference == family
    play_sweep(tmp_path, play=play_stub)
    header, *rows = (tmp_path / "index.csv").read_text().splitlines()
    assert all(f'"{name}"' in header for name in COLUMNS)
    assert all(row.endswith(",0,0") for row in rows)  # the same stub was played everywhere


@pytest.mark.parametrize("name", sorted(p.name for p in Path("configs").glob("ablation_*.py")))
@pytest.mark.parametrize("variant", ["", ":smoke"])
def test_the_ablations_that_are_shipped_can_be_played(tmp_path, name, variant):
    path = f"configs/{name}{variant}"
    config = load_config(path)
    if variant:
        config.workload.cycles_per_example = 1e8  # more than it has, which takes long to count
    points = expand(config, load_get_hyper(path))
    assert len({point.hash for point in points}) == len(points) >= 5
    prepare_sweep(config, points, tmp_path / "sweep", is_dry=True)  # all settings, the reference
