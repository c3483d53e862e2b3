"""Points in lanes are the runs that they are one after the other, up to rounding."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from fedjax_diffusion import expand
from fedjax_diffusion.allocation.allocator import allocate_pairs
from fedjax_diffusion.experiment import packs
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.experiment.pack_sampling import draw_together
from fedjax_diffusion.host.interruption import Interruption, StoppedBySignal
from fedjax_diffusion.host.progress import Progress
from fedjax_diffusion.runs import environment, evaluate, records
from fedjax_diffusion.runs.load import load_run
from fedjax_diffusion.runs.quality_log import EVALUATION_COUNTER
from fedjax_diffusion.runs.runner import run
from fedjax_diffusion.sweep import lanes as lanes_module
from fedjax_diffusion.sweep import packing, runner
from fedjax_diffusion.sweep.checks import choose_evaluation
from fedjax_diffusion.sweep.folder import grow_sweep, open_sweep
from fedjax_diffusion.sweep.lanes import list_methods
from fedjax_diffusion.sweep.listing import find_folders
from fedjax_diffusion.sweep.play import PlayOptions, play_point
from fedjax_diffusion.sweep.runner import play_sweep
from tests.runs.test_runner_faults import EVERYTHING
from tests.sweep.stubs import QUALITY
from tests.tiny import pixel_config

TRAINING = PlayOptions(is_evaluating=False)
LENGTHS = (4, 2, 1)
"""Rounds of the points: lanes end at different times, and take other points."""
LANES = 3
"""In all packs, so that they share their programs."""
WORLD = {
    **EVERYTHING,
    "allocator__baselines": ("full_precision",),
    "compute__client_map": "map",
    "compute__conv": "plain",
    "sampling__num_samples": 32,  # a batch, as in the evaluation
}
"""With what a lane has of its own besides its model: cohort, faults, memories, rates."""


def prepare(workdir, lanes, methods=("on_demand", "fixed_bits:4"), num_evaluated=None, **changed):
    """Writes the points into a folder, without the checks of ``prepare_sweep``."""
    given = pixel_config(**WORLD | {"sweep__lanes": str(lanes)} | changed)
    config = choose_evaluation(to_run_config(given), num_evaluated)
    points = expand(
        config,
        lambda h: h.product([h.sweep("allocator.method", methods), h.sweep("num_rounds", LENGTHS)]),
    )
    grow_sweep(config, points, workdir)
    return points


def read_records(workdir):
    """Returns the records of each point by its hash, without their times."""
    sweep = open_sweep(workdir)
    found = {}
    for point, folder in zip(sweep.points, find_folders(sweep), strict=True):
        found[point.hash] = [
            {k: v for k, v in record.items() if k != "wall_seconds"}
            for record in records.read_metrics(folder)
        ]
    return found


def assert_same_runs(found, expected, name=""):
    """What is computed in float32 is equal up to the order of sums, everything else is equal."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), name
        for key, value in expected.items():
            assert_same_runs(found[key], value, f"{name}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), name
        for n, pair in enumerate(zip(found, expected, strict=True)):
            assert_same_runs(*pair, f"{name}[{n}]")
    elif isinstance(expected, float):
        np.testing.assert_allclose(found, expected, rtol=1e-4, err_msg=name)
    else:
        assert found == expected, name


class Lines(Progress):
    def __init__(self):
        self.lines = []

    def tell(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The records of the points, played one after the other."""
    workdir = tmp_path_factory.mktemp("alone")
    prepare(workdir, 1)
    assert not play_sweep(workdir, TRAINING).failures
    return read_records(workdir)


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """Pads the allocations to those of twice as many lanes: so all tests share their program.

    Python's garbage is left: of all that the tests hold, to collect it takes a second.
    """

    def allocate(*pairs, among, at_most):
        return allocate_pairs(*pairs, among=among, at_most=max(at_most, 2 * LANES * len(among)))

    monkeypatch.setattr(lanes_module, "allocate_pairs", allocate)
    monkeypatch.setattr(runner, "gc", types.SimpleNamespace(collect=lambda: None))


@pytest.fixture
def measured(monkeypatch):
    """Returns the list of images that are measured; a point's quality tells their place in it."""
    images = []

    def measure(drawn, *_):
        images.append(drawn)
        return QUALITY | {"place": len(images) - 1}

    extractor = types.SimpleNamespace(fingerprint="abc")
    monkeypatch.setattr(evaluate, "make_extractor", lambda *_: extractor)
    monkeypatch.setattr(evaluate, "measure_quality", measure)
    return images


def test_lanes_play_the_same_runs_and_take_others_when_they_end(
    tmp_path, alone, measured, monkeypatch
):
    """Rounds, and images that are drawn together: in 3 lanes two of the points end together."""
    prepare(tmp_path, LANES, num_evaluated=40)
    progress, ended, drawn = Lines(), [], []

    def draw(drawings, *arguments):
        drawn.append(len(drawings))
        return draw_together(drawings, *arguments)

    monkeypatch.setattr(lanes_module, "draw_together", draw)
    # In a lane's turn: beside the others it would take a varying number of their rounds.
    monkeypatch.setattr(lanes_module, "make_call_host", lambda ask: lambda work: work())
    result = play_sweep(tmp_path, progress=progress, on_point=lambda p, s: ended.append(s.status))
    assert result.num_played == 6
    assert ended == ["evaluated"] * 6
    assert progress.lines[0] == "3 lanes: rounds of as many points in one program"
    rounds = [line.rsplit(" ", 1)[1] for line in progress.lines if ": round " in line]
    assert rounds[:3] == ["1"] * 3  # side by side
    assert_same_runs(read_records(tmp_path), alone)
    assert sum(drawn) == 3 * 6  # a grid, and 40 images in two batches
    assert max(drawn) >= 2
    for n, folder in enumerate(find_folders(open_sweep(tmp_path))):
        assert environment.count_lanes(environment.read(folder)) == LANES
        if n % 2:
            continue
        experiment, state = load_run(folder, {"num_samples": 40})
        theirs = experiment.draw_samples(experiment.run_key, state.ema_params, EVALUATION_COUNTER)
        ours = measured[records.read_evaluation(folder)["quality"]["place"]]
        np.testing.assert_allclose(ours.astype(int), theirs.astype(int), atol=1)
    assert play_sweep(tmp_path, TRAINING).num_played == 0


def test_workers_share_the_open_points_out_to_their_lanes(tmp_path):
    prepare(tmp_path, 4)
    interruption, progress = Interruption(), Lines()

    def tell(text):
        progress.lines.append(text)
        interruption.exit_code = 143

    progress.tell, options = tell, TRAINING._replace(num_workers=2)
    with pytest.raises(StoppedBySignal):
        play_sweep(tmp_path, options, progress=progress, interruption=interruption)
    assert progress.lines[0] == "3 lanes: rounds of as many points in one program"


def test_two_packs_take_turns_on_the_devices(tmp_path, alone, monkeypatch):
    prepare(tmp_path, 2 * LANES)
    monkeypatch.setattr(packing, "_count_packs", lambda num_lanes: 2)
    made, make = [], packs.Pack.__init__
    monkeypatch.setattr(packs.Pack, "__init__", lambda *a: (made.append(a[2]), make(*a))[1])
    assert not play_sweep(tmp_path, TRAINING).failures
    assert made == [LANES, LANES]
    assert_same_runs(read_records(tmp_path), alone)


def test_stopped_lanes_go_on_where_they_were(tmp_path, alone):
    prepare(tmp_path, LANES)
    interruption, progress = Interruption(), Lines()

    def tell(text):
        progress.lines.append(text)
        if text.endswith(": round 2") and len(progress.lines) > 5:
            interruption.exit_code = 143

    progress.tell = tell
    with pytest.raises(StoppedBySignal):
        play_sweep(tmp_path, TRAINING, progress=progress, interruption=interruption)
    sweep = open_sweep(tmp_path)
    saved = [folder for folder in find_folders(sweep) if (folder / "checkpoints").exists()]
    assert len(saved) >= 2
    assert not play_sweep(tmp_path, TRAINING).failures
    assert_same_runs(read_records(tmp_path), alone)


def test_a_point_that_fails_in_its_lane_stops_no_other(tmp_path, alone):
    prepare(tmp_path, LANES)

    def play(task):
        # As many as there are lanes, by all methods: so their next try shares the programs.
        if (task.config.allocator.method == "fixed_bits:4") == (task.config.num_rounds > 1):
            raise ValueError("no such thing")
        play_point(task)

    result = play_sweep(tmp_path, TRAINING, play=play)
    assert [state.error for _, state in result.failures] == ["ValueError: no such thing"] * LANES
    assert not play_sweep(tmp_path, TRAINING._replace(is_retrying=True)).failures
    assert_same_runs(read_records(tmp_path), alone)


def test_lanes_that_do_not_fit_into_memory_become_fewer(tmp_path, alone, monkeypatch):
    prepare(tmp_path, 2 * LANES)
    step, progress = packs.Pack.step, Lines()

    def fail(pack, inputs):
        if pack._num_lanes > LANES:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating")
        return step(pack, inputs)

    monkeypatch.setattr(packs.Pack, "step", fail)
    assert not play_sweep(tmp_path, TRAINING, progress=progress).failures
    assert "out of the device's memory: now at most 3 lanes" in progress.lines
    assert_same_runs(read_records(tmp_path), alone)


def test_an_error_of_the_common_calls_fails_no_point_that_plays_alone(tmp_path, alone, monkeypatch):
    prepare(tmp_path, LANES)
    progress = Lines()

    def fail(pack, inputs):
        raise TypeError("no such program")

    monkeypatch.setattr(packs.Pack, "step", fail)
    assert not play_sweep(tmp_path, TRAINING, progress=progress).failures
    assert any("now point by point: TypeError" in line for line in progress.lines)
    assert_same_runs(read_records(tmp_path), alone)


def test_a_point_that_was_begun_with_other_settings_plays_by_itself(tmp_path, alone, monkeypatch):
    prepare(tmp_path, LANES)
    sweep, joined = open_sweep(tmp_path), []
    stopped = Interruption()
    stopped.exit_code = 143
    # Another setting, of which this network takes no notice: the program is compiled already.
    compute = dataclasses.replace(sweep.base.compute, conv="matmul")
    config = dataclasses.replace(sweep.points[0].config, compute=compute)
    with pytest.raises(StoppedBySignal):
        run(config, find_folders(sweep)[0], interruption=stopped)
    put = packs.Pack.put
    monkeypatch.setattr(packs.Pack, "put", lambda *a: (joined.append(1), put(*a)))
    assert not play_sweep(tmp_path, TRAINING).failures
    assert len(joined) == 5
    assert_same_runs(read_records(tmp_path), alone)


def test_the_methods_of_a_pack_are_all_that_its_plans_may_ask_for():
    configs = [
        to_run_config(pixel_config(allocator__method=method))
        for method in ("on_demand:max_frequency", "fixed_bits:4")
    ]
    assert set(list_methods(configs)) == {
        "largest",
        "largest:max_frequency",
        "on_demand:max_frequency",
        "fixed_bits:4",
        "full_precision",
        "fixed_bits:8:max_frequency",
    }
