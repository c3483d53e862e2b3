"""One classifier measures all points of a sweep, on whatever machine each of them is played."""

import functools
import shutil

import flax.traverse_util
import jax
import numpy as np
import pytest

from fedjax_diffusion.evaluation import Classifier, classifier
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.runs import records
from fedjax_diffusion.runs.evaluate import evaluate
from fedjax_diffusion.runs.quality_log import read_quality
from fedjax_diffusion.sweep.folder import open_sweep
from fedjax_diffusion.sweep.listing import find_folders
from fedjax_diffusion.sweep.points import expand
from fedjax_diffusion.sweep.runner import run_sweep
from fedjax_diffusion.sweep.status import format_status
from tests.tiny import pixel_config

CONFIG = pixel_config(
    num_rounds=1,
    allocator__method="full_precision",
    allocator__baselines=("full_precision",),
    evaluation__held_out_split=None,
    evaluation__num_samples=20,
    evaluation__every_rounds=1,
    evaluation__num_samples_along=20,
)


def train(seed, dataset, num_steps):
    """Returns weights that training could lead to on a machine, another one for each seed."""
    network = Classifier(dataset.num_classes)
    params = jax.eval_shape(network.init, seed_to_key(0), dataset.images[:1])["params"]
    draw = np.random.default_rng(seed).normal
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    return {name: draw(0, 0.1, leaf.shape).astype(np.float32) for name, leaf in flat.items()}


class Machines:
    """Machines with empty caches of the user, of which each trains a classifier of its own."""

    def __init__(self, patch, folder):
        self._patch, self._folder = patch, folder
        patch.setattr(classifier, "compute_features", self._compute)

    def go_to(self, number):
        """Continues on a machine; without a number on one where training fails."""
        self._patch.setenv("XDG_CACHE_HOME", str(self._folder / str(number)))
        train_here = functools.partial(train, number)
        if number is None:
            train_here = lambda *_: pytest.fail("trained")  # noqa: E731
        self._patch.setattr(classifier, "_train", train_here)

    @staticmethod
    def _compute(network, params, images):
        """Returns the 64 pixels, which takes no time; the fingerprint is that of the weights."""
        return np.asarray(images, np.float32).reshape(len(images), classifier.NUM_FEATURES)


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield Machines(patch, tmp_path_factory.mktemp("caches"))


@pytest.fixture(scope="module")
def played(tmp_path_factory, machines):
    """Returns the folder of a sweep with one point, played on machine 1."""
    machines.go_to(1)
    workdir = tmp_path_factory.mktemp("sweeps") / "sweep"
    play(workdir, 1)
    return workdir


def play(workdir, num_seeds):
    points = expand(CONFIG, lambda h: h.sweep("seed", range(num_seeds)))
    result = run_sweep(CONFIG, points, workdir)
    assert not result.failures
    return result.num_played


def find_points(workdir):
    return find_folders(open_sweep(workdir))


def list_fingerprints(workdir):
    """Returns the fingerprints by which the points were measured, at their ends and before."""
    lines = [line for folder in find_points(workdir) for line in read_quality(folder)]
    ends = [records.read_evaluation(folder)["quality"] for folder in find_points(workdir)]
    assert len(ends) == len(lines)
    return [quality["extractor_fingerprint"] for quality in [*ends, *lines]]


def test_a_sweep_that_is_unpacked_on_another_machine_goes_on_with_its_classifier(
    played, machines, tmp_path
):
    archive, moved = shutil.make_archive(str(tmp_path / "packed"), "tar", played), tmp_path / "new"
    machines.go_to(None)
    shutil.unpack_archive(archive, moved)
    assert play(moved, 2) == 1
    assert len(set(list_fingerprints(moved))) == 1
    assert "not comparable" not in format_status(moved)
    ours, theirs = ([*(folder / "evaluation").iterdir()] for folder in (played, moved))
    assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs]
    assert [path.name for path in ours] == [path.name for path in theirs]


def test_a_folder_of_an_earlier_version_goes_on_and_can_be_measured_again(
    played, machines, tmp_path
):
    workdir = shutil.copytree(played, tmp_path / "old", ignore=shutil.ignore_patterns("evaluation"))
    machines.go_to(2)
    assert play(workdir, 2) == 1
    assert len(set(list_fingerprints(workdir))) == 2
    assert "not comparable: seed-1 was measured by classifier" in format_status(workdir)
    machines.go_to(None)
    for folder in find_points(workdir):
        (folder / records.EVALUATION).unlink()
    assert play(workdir, 2) == 2
    assert "not comparable" not in format_status(workdir)


def test_the_command_evaluate_takes_the_classifier_of_a_points_sweep(played, machines, tmp_path):
    (point,) = find_points(played)
    alone = shutil.copytree(point, tmp_path / "runs" / "digits" / "alone")
    machines.go_to(3)
    (expected,) = set(list_fingerprints(played))
    assert evaluate(point, {"num_samples": 21})["extractor_fingerprint"] == expected
    assert evaluate(alone)["extractor_fingerprint"] != expected  # that of machine 3
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["digits"]
