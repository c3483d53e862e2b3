"""Images of several runs that are drawn together are those of each run alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from fedjax_diffusion.experiment import pack_sampling
from fedjax_diffusion.experiment.pack_sampling import draw_together, make_draw_through
from fedjax_diffusion.federated import RUN_AXIS
from fedjax_diffusion.host.turns import take_turns
from fedjax_diffusion.keys import seed_to_key
from tests.experiment.test_sampling import (
    CONFIG,
    DENOISER,
    WITH_CLASSES,
    draw_of,
    program_of,
)


@dataclasses.dataclass
class OfARun:
    """The part of a ``Learner`` that its sampler needs."""

    num_samples: int
    denoiser: object
    at_most: int

    @property
    def config(self):
        sampling = dataclasses.replace(CONFIG, num_samples=self.num_samples)
        return dataclasses.make_dataclass("Config", ["sampling"])(sampling)

    def find_sampler_program(self, compute):
        return PROGRAMS[id(self.denoiser)]

    def count_sampling_batches(self, compute):
        return self.at_most


PROGRAMS = {id(denoiser): program_of(1, denoiser) for denoiser in (DENOISER, WITH_CLASSES)}


def list_labels(run, num_samples, denoiser):
    return None if denoiser is DENOISER else (np.arange(num_samples) + run) % 3


@pytest.mark.parametrize(
    ("num_devices", "at_most", "denoiser", "expected"),
    [
        (1, 4, DENOISER, [2, 1, 1, 1]),  # a batch of two runs, three batches of a run
        (2, 2, WITH_CLASSES, [2, 2, 2, 1]),  # on each device one batch of two runs, or two of one
    ],
)
def test_runs_that_ask_together_draw_what_they_draw_alone(
    num_devices, at_most, denoiser, expected, monkeypatch
):
    """Two runs of a batch, one of three and one of five, which is left alone with its last ones."""
    mesh = None
    if num_devices > 1:
        mesh = jax.make_mesh((num_devices,), (RUN_AXIS,), axis_types=(AxisType.Auto,))
    numbers, drawn, widths = (32, 32, 70, 130), {}, []
    draw_part = pack_sampling._draw_part

    def count(draw, drawings, width):
        widths.append(len(drawings))
        return draw_part(draw, drawings, width)

    monkeypatch.setattr(pack_sampling, "_draw_part", count)

    def play(run):
        def draw(ask):
            learner, params = OfARun(numbers[run], denoiser, at_most), {"scale": jnp.float32(run)}
            labels = list_labels(run, numbers[run], denoiser)
            draw_samples = make_draw_through(learner, None, ask)
            drawn[run] = draw_samples(seed_to_key(run), params, run, labels=labels)

        return draw

    def answer(requests):
        images = draw_together(list(requests.values()), mesh, len(numbers))
        return dict(zip(requests, images, strict=True))

    take_turns([play(run) for run in range(len(numbers))], answer)
    for run, number in enumerate(numbers):
        params, labels = {"scale": jnp.float32(run)}, list_labels(run, number, denoiser)
        alone = draw_of(number, 1, denoiser)(seed_to_key(run), params, run, labels=labels)
        np.testing.assert_allclose(drawn[run].astype(int), alone.astype(int), atol=1)
    assert widths == expected
