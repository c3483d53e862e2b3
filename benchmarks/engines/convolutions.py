"""The convolutions of a training step, counted and timed alone, and products of their sizes."""

import collections
import math
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from benchmarks.engines.models import MODELS
from benchmarks.engines.plain import make_ingredients
from fedjax_diffusion.diffusion.conv import CONVS, KERNEL_BARS
from fedjax_diffusion.federated import AXIS
from fedjax_diffusion.types import Batch

_KEY = re.compile(r"(\w+) (\d+)x(\d+)x(\d+) (\d+)x(\d+) (\d+)->(\d+)")


def count_convs(name: str) -> dict[str, int]:
    """Returns the number of each convolution in a training step, by ``conv_key``."""
    calls: collections.Counter[str] = collections.Counter()

    class Calls(dict):
        def __missing__(self, key):
            calls[key] += 1
            raise KeyError(key)

    _, loss_fn, _, _, init = make_ingredients(name, 1, Calls())
    B, key = MODELS[name].batch_size, jax.random.key(0)
    images = jnp.zeros((B, *MODELS[name].image_shape))
    jax.eval_shape(
        jax.grad(loss_fn), jax.eval_shape(init, key), Batch(images, jnp.zeros(B, jnp.int32)), key
    )
    # The compiler removes the first convolution's gradient by the image, which is traced. It has
    # the same key as the last convolution forward.
    (last,) = [key for key in calls if key.startswith("conv ") and _output_of(key) == images.shape]
    calls[last] -= 1
    return dict(calls)


def _sizes(key: str) -> tuple[str, list[int]]:
    match = _KEY.fullmatch(key)
    assert match is not None
    operation, *sizes = match.groups()
    return operation, list(map(int, sizes))


def _output_of(key: str) -> tuple[int, ...]:
    _, (B, H, W, _, _, _, num_outputs) = _sizes(key)
    return (B, H, W, num_outputs)


def count_flops(convs: dict[str, int]) -> int:
    """Returns the floating-point multiplications and additions of the convolutions."""
    return sum(2 * count * math.prod(_sizes(key)[1]) for key, count in convs.items())


def make_convolution(key: str) -> Callable:
    """Returns ``once(carry [1]) -> [1]``, the convolution with only small other operations."""
    operation, (B, H, W, kh, kw, num_inputs, num_outputs) = _sizes(key)
    x, y_bar = jnp.ones((B, H, W, num_inputs)), jnp.ones((B, H, W, num_outputs))
    kernel = jnp.ones((kh, kw, num_inputs, num_outputs))

    def once(carry):
        # With the addition nothing can be moved out of the loop.
        z = x + carry[0]
        if operation == "conv":
            return 1e-9 * CONVS["conv"](z, kernel)[:1, 0, 0, 0]
        return 1e-9 * KERNEL_BARS["conv"](z, y_bar, kernel)[:1, 0, 0, 0]

    return once


def make_product(key: str) -> Callable:
    """Returns ``once(carry [1]) -> [1]``, a matrix product of as many operations."""
    operation, (B, H, W, kh, kw, num_inputs, num_outputs) = _sizes(key)
    patches, y_bar = jnp.ones((B * H * W, kh * kw * num_inputs)), jnp.ones((B * H * W, num_outputs))
    kernel = jnp.ones((kh * kw * num_inputs, num_outputs))

    def once(carry):
        if operation == "conv":
            return 1e-9 * (patches @ (kernel + carry[0]))[:1, 0]
        return 1e-9 * (patches.T @ (y_bar + carry[0]))[:1, 0]

    return once


def make_turn(name: str, num_steps: int, mesh, make_operation: Callable) -> Callable:
    """Returns a compiled turn of all convolutions of the steps, one after the other."""
    operations = [(make_operation(key), count) for key, count in count_convs(name).items()]

    def step(_, carry):
        for once, count in operations:
            for _ in range(count):
                carry = once(carry)
        return carry

    def turn(carry):
        return jax.lax.fori_loop(0, num_steps, step, carry)

    if mesh is not None:
        turn = jax.shard_map(turn, mesh=mesh, in_specs=P(AXIS), out_specs=P(AXIS), check_vma=False)
    zeros = jnp.zeros(1 if mesh is None else mesh.size)
    compiled = jax.jit(turn).lower(zeros).compile()
    return lambda: compiled(zeros)
