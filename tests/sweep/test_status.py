"""Text about a sweep: its state, and what it would play."""

import json
import re

import jax

from fedjax_diffusion.experiment.build import build, count_state_bytes
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.runs import claims, records
from fedjax_diffusion.sweep import hyper
from fedjax_diffusion.sweep.dry_run import format_dry_run
from fedjax_diffusion.sweep.folder import grow_sweep, open_sweep
from fedjax_diffusion.sweep.identity import HASH_DIGITS
from fedjax_diffusion.sweep.listing import find_folders
from fedjax_diffusion.sweep.play import PlayOptions
from fedjax_diffusion.sweep.points import expand
from fedjax_diffusion.sweep.runner import play_sweep
from fedjax_diffusion.sweep.status import format_status
from tests.sweep.stubs import make_sweep, play_stub
from tests.sweep.test_runner import Flaky
from tests.tiny import pixel_config


def test_status_counts_points_and_shows_running_and_failed_ones(tmp_path):
    sweep = make_sweep(tmp_path, hyper.sweep("seed", range(4)))
    play_sweep(tmp_path, PlayOptions(limit=2), play=Flaky(1))
    with claims.take(tmp_path / claims.FOLDER, sweep.points[2].hash[:HASH_DIGITS]):
        text = format_status(tmp_path)
    assert "points  4: 1 planned, 1 running, 1 evaluated, 1 failed" in text
    assert re.search(r"running seed-2, round 0 of 40, on \S+, process \d+", text)
    assert "failed  seed-1, attempt 1: ValueError: a line and another" in text
    shown = text.partition("ValueError: a line and another\n")[2].splitlines()[:4]
    assert re.fullmatch(r' {10}File ".*test_runner.py", line \d+, in __call__', shown[0])
    assert shown[1].startswith("            raise self.error(")
    assert shown[2:] == ["        ValueError: a line", "        and another"]
    assert re.search(r"disk    \d\S* GB", text)


def test_points_that_were_measured_by_other_features_are_named(tmp_path):
    axes = [hyper.sweep("data.split", ["train", "test"]), hyper.sweep("seed", range(2))]
    sweep = make_sweep(tmp_path, *axes)
    play_sweep(tmp_path, play=play_stub)
    folders = find_folders(sweep)

    def measure(number, **changed):
        path = folders[number] / records.EVALUATION
        kept = json.loads(path.read_text())
        records.write_json(path, kept | {"quality": kept["quality"] | changed})

    for number in (2, 3):  # other data has other features
        measure(number, extractor_fingerprint="def")
    assert "not comparable" not in format_status(tmp_path)
    measure(3, measure_version=3)
    lines = [line for line in format_status(tmp_path).splitlines() if "not comparable" in line]
    assert len(lines) == 1
    assert re.search(
        r"split-test\+seed-1 was measured by classifier def, version 3, split-test\+seed-"
        r"0 by classifier def, version 2; remove evaluation.json",
        lines[0],
    )


def test_a_dry_run_counts_points_and_groups_and_writes_nothing(tmp_path):
    config = to_run_config(pixel_config())  # the state of a U-Net takes long to trace
    axes = [
        hyper.sweep("seed", range(3)),
        hyper.sweep("allocator.method", ["on_demand", "full_precision"]),
        hyper.sweep("local_work.batch_size", [5, 6]),
    ]
    grow_sweep(config, expand(config, lambda h: h.product(axes)), tmp_path)
    before = sorted(tmp_path.rglob("*"))
    text = format_dry_run(open_sweep(tmp_path), PlayOptions())
    assert sorted(tmp_path.rglob("*")) == before
    assert "points  12: 12 planned; 12 to play" in text
    assert "groups  2 of equal static settings" in text
    assert re.search(r"cost    \d\S* GB of checkpoints; minutes are known after", text)
    play_sweep(tmp_path, PlayOptions(limit=4), play=play_stub)
    text = format_dry_run(open_sweep(tmp_path), PlayOptions())
    assert "8 to play" in text
    assert re.search(r"cost    \S+ GB, \S+ minutes of rounds", text)
    assert "2 to play" in format_dry_run(open_sweep(tmp_path), PlayOptions(limit=2))


def test_a_dry_run_shares_the_time_of_a_round_out_to_the_lanes_that_had_it_together(tmp_path):
    sweep = make_sweep(tmp_path)
    play_sweep(tmp_path, PlayOptions(limit=1), play=play_stub)
    (folder,) = (tmp_path / "points").iterdir()
    seconds = records.read_summary(folder)["wall_seconds"]
    for lanes in (None, {"num_lanes": 8, "num_packs": 1}):
        if lanes is not None:
            environment = {"compute": {}, "lanes": lanes, "device": "NVIDIA H200"}
            records.write_json(folder / records.ENVIRONMENT, environment)
        expected = 2 * seconds / 60 / (1 if lanes is None else 8)
        device = "an unknown device" if lanes is None else "NVIDIA H200"
        text = format_dry_run(sweep, PlayOptions())
        assert f" GB, {expected:.2g} minutes of rounds on {device}" in text


def test_the_bytes_of_a_state_are_those_of_a_checkpoint():
    config = to_run_config(pixel_config(quantization__error_feedback=True))
    experiment = build(config)
    state = experiment.simulator.init(experiment.run_key, experiment.data)
    sizes = [leaf.nbytes for leaf in jax.tree.leaves(state)]
    assert count_state_bytes(config) == sum(sizes)
