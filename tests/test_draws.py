"""Every random draw names its type: 64-bit mode changes none of them."""

import ast
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion import make_schedule, sample_ancestral, sample_ddim
from fedjax_diffusion.data.clients import ClientData, draw_batch
from fedjax_diffusion.diffusion.ddpm import drop_labels
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.planning.participation import draw_cohort
from fedjax_diffusion.quantization.counter_random import counter_uniform

SHAPE = (2, 4, 4, 1)


def draw_images(sampler, **options):
    """The noise at the start, and after each step: eps is zero."""
    schedule = make_schedule("linear", 3)
    zeros = lambda x, t: jnp.zeros(SHAPE, jnp.float32)  # noqa: E731
    return sampler(seed_to_key(1), zeros, schedule, SHAPE, **options)


def draw_flipped(key):
    data = ClientData(
        np.arange(64, dtype=np.uint8).reshape(4, 4, 4, 1),
        np.zeros(4, np.int32),
        np.arange(4, dtype=np.int32)[None],
        np.array([4], np.int32),
    )
    data = jax.tree.map(jnp.asarray, data)
    zero = jnp.int32(0)
    return draw_batch(key, data, zero, zero, batch_size=4, random_flip=True).images


DRAWS = {
    "cohort": lambda: draw_cohort(seed_to_key(3), 2, 50, 7),
    "counter": jax.jit(lambda: counter_uniform(seed_to_key(3), (3, 50))),
    "labels": jax.jit(lambda: drop_labels(seed_to_key(3), jnp.arange(40, dtype=jnp.int32), 0.5)),
    "batch": jax.jit(lambda: draw_flipped(seed_to_key(3))),
}
"""One program for each mode; the host draws the cohort."""


@pytest.mark.parametrize("name", DRAWS)
def test_a_draw_is_the_same_in_64_bit_mode(name):
    expected = np.asarray(DRAWS[name]())
    with jax.enable_x64(True):
        found = np.asarray(DRAWS[name]())
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


@pytest.mark.parametrize(("sampler", "eta"), [(sample_ddim, 1.0), (sample_ancestral, 0.0)])
def test_noise_of_a_sampler_is_the_same_in_64_bit_mode(sampler, eta):
    draw = jax.jit(lambda: draw_images(sampler, eta=eta))
    expected = np.asarray(draw())
    with jax.enable_x64(True):
        found = np.asarray(draw())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


DRAWING = {"bits", "choice", "exponential", "normal", "randint", "uniform"}


def test_every_draw_names_its_type():
    package = pathlib.Path(__file__).parents[1] / "fedjax_diffusion"
    unnamed = []
    for path in package.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "jax.random" in text else ():
            is_draw = isinstance(node, ast.Call) and ast.unparse(node.func).startswith("jax.random")
            if is_draw and node.func.attr in DRAWING:
                types = {ast.unparse(a) for a in (*node.args, *(k.value for k in node.keywords))}
                if not types & {"jnp.float32", "jnp.int32", "jnp.uint32", "dtype", "clients"}:
                    unnamed.append(f"{path.relative_to(package)}:{node.lineno}")
    assert unnamed == []
