"""Uploads of every kind, and one compiled program per quantizer for all the tests that share it."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.quantization import (
    QUANTIZERS,
    blocks_to_tree,
    dequantize,
    quantize,
    tree_to_blocks,
)
from fedjax_diffusion.quantization.padding import row_entries

NUM_DRAWS = 64
LIKE = {
    "w": jax.ShapeDtypeStruct((300,), jnp.float32),
    "b": jax.ShapeDtypeStruct((5,), jnp.float32),
    "one": jax.ShapeDtypeStruct((), jnp.float32),
    "empty": jax.ShapeDtypeStruct((0, 3), jnp.float32),
}
KINDS = {
    "uniform": lambda r, n: r.uniform(-1, 1, size=n),
    "normal": lambda r, n: r.normal(size=n),
    "offset": lambda r, n: 100 + r.normal(size=n),
    "sparse": lambda r, n: np.where(r.uniform(size=n) < 0.95, 0.0, r.normal(size=n)),
    "constant": lambda r, n: np.full(n, 0.3),
    "zero": lambda r, n: np.zeros(n),
    "huge": lambda r, n: 1e12 * r.normal(size=n),
    "small": lambda r, n: 1e-12 * r.normal(size=n),
}


blocks_to_like = jax.jit(lambda blocks: blocks_to_tree(blocks, LIKE))
like_to_blocks = jax.jit(tree_to_blocks)


def make_tree(kind, seed=3):
    r = np.random.default_rng(seed)
    return jax.tree.map(lambda x: np.float32(KINDS[kind](r, x.size).reshape(x.shape)), LIKE)


NUM_TRACES = collections.Counter()


@functools.cache
def make_program(name, bits_per_tensor):
    def one(key, blocks, num_bits):
        NUM_TRACES[name, bits_per_tensor] += 1
        return quantize(
            QUANTIZERS[name], key, blocks, LIKE, num_bits, bits_per_tensor=bits_per_tensor
        )

    return jax.jit(one)


def jit_quantize(name, bits_per_tensor=False):
    """``(key, blocks, num_bits) -> Quantized``, one program per quantizer and way to set bits."""
    return make_program(name, bits_per_tensor)


@functools.cache
def jit_dequantize(name):
    return jax.jit(lambda codes, grid, seed: dequantize(QUANTIZERS[name], codes, grid, seed, LIKE))


@functools.cache
def draw_many(name):
    """Quantizes float32 [R, 128] NUM_DRAWS times."""

    def one(key, blocks, num_bits):
        return quantize(QUANTIZERS[name], key, blocks, LIKE, num_bits)

    return jax.jit(
        lambda key, blocks, num_bits: jax.vmap(one, in_axes=(0, None, None))(
            jax.random.split(key, NUM_DRAWS), blocks, num_bits
        )
    )


def squared_errors(decoded, blocks):
    """``||Q(x) - x||^2`` of draws [n, R, 128], without the filling, float64 [n]."""
    used = np.arange(128) < row_entries(LIKE)[:, None]
    error = np.asarray(decoded, np.float64) - np.asarray(blocks, np.float64)
    return np.where(used, error**2, 0.0).sum((1, 2))


def aggregate_error(name):
    """Squared errors of a mean over 16 clients who send the same x, and the bound of one."""
    blocks = like_to_blocks(make_tree("normal"))
    drawn = [draw_many(name)(jax.random.key(i), blocks, np.int32(4)) for i in range(8)]
    decoded = np.stack([np.asarray(one.decoded, np.float64) for one in drawn])
    means = decoded.reshape(-1, 16, *blocks.shape).mean(1)
    bound = np.mean([one.error_bound for one in drawn])
    return squared_errors(means, blocks), bound
