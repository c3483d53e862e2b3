"""Points of a sweep share one program, one choice of the compute settings, and change no bit."""

import json

import jax
import numpy as np
import pytest

from fedjax_diffusion.experiment.build import ProgramChoice, count_examples
from fedjax_diffusion.experiment.compute import ComputeConfig
from fedjax_diffusion.host.progress import SILENT
from fedjax_diffusion.runs import records
from fedjax_diffusion.runs.among_many import AmongMany
from fedjax_diffusion.runs.environment import read as read_environment
from fedjax_diffusion.runs.load import load_run
from fedjax_diffusion.runs.runner import run
from fedjax_diffusion.sweep.folder import open_sweep
from fedjax_diffusion.sweep.listing import find_folders
from fedjax_diffusion.sweep.play import PlayOptions
from fedjax_diffusion.sweep.points import expand
from fedjax_diffusion.sweep.programs import PROGRAMS, GroupChoices
from fedjax_diffusion.sweep.runner import run_sweep
from tests.tiny import pixel_config

CONFIG = pixel_config(
    num_rounds=2,
    sampling__num_samples=32,
    sampling__num_steps=3,  # a sampler of no other test; the round's is that of SEEDS[1]
    compute__tune="guess",  # a trial compiles rounds too
)
SEEDS = [0, 3]
"""Of these the second has a client with more images than any run elsewhere, and the first not."""


def get_hyper(h):
    methods = h.sweep("allocator.method", ["fixed_bits:2", "full_precision"])
    rates = h.sweep("client_optimizer.learning_rate", [0.002, 0.004])
    return h.product([h.zipit([methods, rates]), h.sweep("seed", SEEDS)])


class Compilations(list):
    """Names of the programs that are compiled while it listens."""

    def __enter__(self):
        jax.monitoring.register_event_duration_secs_listener(self.add)
        return self

    def __exit__(self, *_):
        jax.monitoring.unregister_event_duration_listener(self.add)

    def add(self, event, duration, fun_name="", **_):
        if event.endswith("backend_compile_duration"):
            self.append(fun_name)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Returns the folder of a sweep of four points, and what was compiled for it."""
    workdir = tmp_path_factory.mktemp("sweep")
    points = expand(CONFIG, get_hyper)
    with Compilations() as compilations:
        result = run_sweep(CONFIG, points, workdir, PlayOptions(), num_evaluated=64)
    assert not result.failures
    return workdir, compilations


def test_a_sweep_compiles_each_program_once(played):
    """Two methods, two learning rates, and two seeds whose clients have other numbers of images."""
    workdir, compilations = played
    sizes = [count_examples(point.config) for point in open_sweep(workdir).points]
    assert -(-sizes[0] // 64) != -(-sizes[1] // 64), "the seeds alone would be two programs"
    assert compilations.count("jit(pure_step)") == 1
    assert compilations.count("jit(draw_on_one_device)") == 1
    assert compilations.count("jit(_compute_features)") <= 1, "the same for other models"


def test_a_point_has_the_bits_of_a_single_run_at_another_padding(played, tmp_path):
    workdir, _ = played
    sweep = open_sweep(workdir)
    sizes = [count_examples(point.config) for point in sweep.points]
    i = int(np.argmin(sizes))
    folder = find_folders(sweep)[i]
    compute = ComputeConfig(**read_environment(folder)["compute"])
    run(sweep.points[i].config, tmp_path, among=AmongMany(ProgramChoice(compute)))
    for ours, theirs in zip(
        records.read_metrics(folder), records.read_metrics(tmp_path), strict=True
    ):
        assert ours | {"wall_seconds": 0} == theirs | {"wall_seconds": 0}
    (single, its_state), (point, state) = load_run(tmp_path), load_run(folder)
    assert single.data.indices.shape == point.data.indices.shape, "both are read without a choice"
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), jax.device_get(its_state))


def test_points_take_the_choice_of_their_group_from_the_folder(played):
    workdir, _ = played
    sweep = open_sweep(workdir)
    (path,) = (workdir / PROGRAMS).iterdir()
    kept = json.loads(path.read_text())
    for folder in find_folders(sweep):
        assert read_environment(folder)["compute"] == kept
    path.write_text(json.dumps(kept | {"client_map": "chunked", "chunk_size": 3}))
    try:
        choice = GroupChoices(sweep).find(sweep.points[0].config, SILENT)
    finally:
        path.write_text(json.dumps(kept))
    assert choice.compute is not None
    assert choice.compute.chunk_size == 3
    assert choice.min_slots == max(count_examples(point.config) for point in sweep.points)
