"""Sampling for several runs: the batches that they ask for at the same time, in one program."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from fedjax_diffusion.experiment.compute import ComputeConfig
from fedjax_diffusion.experiment.sampling import DrawSamples, SamplerProgram, make_draw_samples
from fedjax_diffusion.experiment.training import Learner
from fedjax_diffusion.federated import RunMapping, make_run_map
from fedjax_diffusion.types import Array, Key, Params

_MAX_KEPT = 8


class Drawing(NamedTuple):
    """Some batches of images that a run asks for.

    Attributes:
      program: the sampler of the run.
      keys: [n], one per batch.
      labels: int32 [n, batch_size]; None: a model without classes.
      params: of the model.
      at_most: batches that a device draws at once, >= 1.
    """

    program: SamplerProgram
    keys: Key
    labels: Array | None
    params: Params
    at_most: int


def make_draw_through(
    learner: Learner, compute: ComputeConfig, draw: Callable[[Drawing], np.ndarray]
) -> DrawSamples:
    """Returns ``learner.make_draw_samples(compute)`` whose batches another function draws.

    Args:
      learner: of the run.
      compute: resolved settings.
      draw: returns the images of a drawing, uint8 [n * batch_size, H, W, C].
    """
    program = learner.find_sampler_program(compute)
    count_batches = functools.cache(functools.partial(learner.count_sampling_batches, compute))

    def draw_batches(keys: Key, labels: Array | None, params: Params) -> np.ndarray:
        return draw(Drawing(program, keys, labels, params, count_batches()))

    shared = program._replace(draw_batches=draw_batches, mesh=None)
    return make_draw_samples(learner.config.sampling, shared, count_batches)


def draw_together(drawings: Sequence[Drawing], mesh: Mesh | None, at_most: int) -> list[np.ndarray]:
    """Draws the images that several runs ask for, in as few calls as their sizes allow.

    Args:
      drawings: of any runs; those of one program and size are drawn together.
      mesh: 1-D with axis ``"runs"``, of devices that share the drawings; None: the default device.
      at_most: largest number of drawings that are asked for at the same time.

    Returns:
      The images of each drawing, uint8 [n * batch_size, H, W, C].

    Guarantees:
      The images are those of the run's own sampler, up to rounding. A device draws at most as many
      batches at once as one of the runs would, however many runs there are.
    """
    groups: dict[Any, list[int]] = {}
    for number, drawing in enumerate(drawings):
        kind = (drawing.program, drawing.keys.shape, drawing.at_most)
        groups.setdefault(kind, []).append(number)
    num_devices = 1 if mesh is None else mesh.size
    images: dict[int, np.ndarray] = {}
    for (program, (num_batches,), most_batches), numbers in groups.items():
        at_once = max(1, min(most_batches // num_batches, -(-at_most // num_devices)))
        draw = _find_draw(program, mesh, is_at_once=at_once > 1)
        width = num_devices * at_once
        for first in range(0, len(numbers), width):
            part = numbers[first : first + width]
            drawn = _draw_part(draw, [drawings[number] for number in part], width)
            images.update(zip(part, drawn, strict=False))
    return [images[number] for number in range(len(drawings))]


def _draw_part(draw: Callable, drawings: list[Drawing], width: int) -> np.ndarray:
    """Returns the images of some drawings, and of none in the place of those that are missing."""
    is_asked = np.arange(width) < len(drawings)
    padded = drawings + [drawings[0]] * (width - len(drawings))
    return np.asarray(draw(is_asked, [(d.keys, d.labels, d.params) for d in padded]))


@functools.lru_cache(_MAX_KEPT)
def _find_draw(program: SamplerProgram, mesh: Mesh | None, *, is_at_once: bool) -> Callable:
    """Returns ``draw(is_asked bool [S], S times (keys, labels, params)) -> images [S, ...]``."""
    run_map = make_run_map(RunMapping("vmap" if is_at_once else "map", mesh=mesh))

    def draw_one(_: tuple[()], state: tuple[()], asked: tuple) -> tuple[tuple[()], Array]:
        return state, program.pure_draw(*asked)

    def draw(is_asked: Array, drawings: list[tuple]) -> Array:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *drawings)
        return run_map(draw_one, (), is_asked, (), stacked)[1]

    return jax.jit(draw)
