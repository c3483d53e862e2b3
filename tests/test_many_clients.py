"""Two thousand clients, twenty a round, their images brought from the host."""

import jax
import numpy as np
import pytest

from fedjax_diffusion import load_images, run
from fedjax_diffusion.data import LOADERS, ImageDataset, count_slots
from fedjax_diffusion.experiment.build import build
from fedjax_diffusion.runs.records import read_metrics
from tests.tiny import pixel_config

NUM_CLIENTS, COHORT_SIZE = 2_000, 20
OPTIONS = {
    "data__name": "many",
    "partition__name": "iid",
    "partition__num_clients": NUM_CLIENTS,
    "cohort_size": COHORT_SIZE,
    "num_rounds": 2,
    "local_work__local_steps": 1,
    "allocator__method": "fixed_bits:8",
    "allocator__baselines": (),
}


@pytest.fixture(autouse=True)
def many(monkeypatch):
    """The digits, three times over: two images for each client."""

    def load(name, split, data_dir):
        digits = load_images("digits", "train")
        images, labels = (
            np.tile(x, (3, *[1] * (x.ndim - 1))) for x in (digits.images, digits.labels)
        )
        return ImageDataset(images, labels, 10, name)

    monkeypatch.setitem(LOADERS, "many", load)


def without_time(records):
    return [{k: v for k, v in record.items() if k != "wall_seconds"} for record in records]


def test_streamed_and_resident_runs_are_the_same(tmp_path):
    for place in ("resident", "streamed"):
        run(pixel_config(**OPTIONS, compute__data=place), tmp_path / place)
    streamed, resident = (read_metrics(tmp_path / place) for place in ("streamed", "resident"))
    assert without_time(streamed) == without_time(resident)
    cohorts = [record["cohort"] for record in streamed]
    assert [len(cohort) for cohort in cohorts] == [COHORT_SIZE] * 2
    assert cohorts[0] != cohorts[1]
    assert max(cohorts[0]) > 1_000


def test_the_device_holds_the_cohort_and_a_few_numbers_per_client():
    experiment = build(pixel_config(**OPTIONS, compute__data="streamed"))
    num_images = len(experiment.dataset.images)
    cohort = experiment.draw_conditions(experiment.run_key, 0).cohort
    loaded = experiment.load_cohort(cohort)
    assert loaded.data.images.shape[0] <= count_slots(COHORT_SIZE * 3) < num_images / 50
    assert loaded.data.indices.shape == (
        COHORT_SIZE,
        count_slots(experiment.data.num_examples.max()),
    )
    state = experiment.simulator.init(experiment.run_key, experiment.data)
    largest = max(jax.tree.leaves(state), key=lambda x: x.size)
    assert largest.shape == (NUM_CLIENTS, 17), "of the clients only their bounds are kept"


def test_data_that_would_take_a_quarter_of_the_memory_are_streamed(monkeypatch):
    places = []
    for memory_bytes in (10**12, 10**6):
        monkeypatch.setattr(
            "fedjax_diffusion.experiment.compute.count_memory_bytes", lambda n=memory_bytes: n
        )
        places.append(build(pixel_config(**OPTIONS)).compute.data)
    assert places == ["resident", "streamed"]
