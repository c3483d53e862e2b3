"""The time of quantize-dequantize of the 35.7 M entries of CIFAR-10's model against a copy.

    python -m benchmarks.session.quantize --output=FOLDER [--tiny]

Everything is repeated inside one program, so that dispatch is not counted. A copy reads and writes
every entry once, 8 bytes. Quantization reads it twice, for the ranges and for the codes, 12 bytes,
unless the second read finds it in a cache.
"""

import functools
import statistics
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from benchmarks.session.child import end_on_request
from benchmarks.session.correctness import make_tree
from benchmarks.session.record import Part, Values
from fedjax_diffusion import seed_to_key
from fedjax_diffusion.host.platforms import prepare_platforms
from fedjax_diffusion.keys import step_key
from fedjax_diffusion.quantization import (
    make_grid,
    quantize_blocks,
    stochastic_quantize,
    tree_to_blocks,
)
from fedjax_diffusion.types import Array, PyTree

NUM_LOOPS, NUM_TURNS = 50, 7
COPY_BYTES, QUANTIZE_BYTES = 8, 12
Body = Callable[[Array, PyTree], PyTree]
"""``body(i, x)`` returns the input of the next repetition."""


def time_loop(body: Body, x: PyTree, num_bytes: int, num_loops: int) -> Values:
    """Returns the time and the rate of one repetition, medians of turns.

    Args:
      body: the repeated function.
      x: float32 arrays, its first input.
      num_bytes: bytes read and written per entry.
      num_loops: repetitions within a turn.
    """
    loop = jax.jit(lambda x: jax.lax.fori_loop(0, num_loops, body, x))
    num_entries = sum(leaf.size for leaf in jax.tree.leaves(x))
    start = time.perf_counter()
    jax.block_until_ready(loop(x))
    first, seconds = time.perf_counter() - start, []
    for _ in range(NUM_TURNS):
        start = time.perf_counter()
        jax.block_until_ready(loop(x))
        seconds.append((time.perf_counter() - start) / num_loops)
    median = statistics.median(seconds)
    jax.clear_caches()
    return {
        "milliseconds": 1e3 * median,
        "fastest_milliseconds": 1e3 * min(seconds),
        "gigabytes_per_second": num_bytes * num_entries / median / 1e9,
        "bytes_per_entry": num_bytes,
        "num_entries": num_entries,
        "first_call_seconds": first,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Times the copy, then quantization of rows, as in the round, and of a tree."""
    prepare_platforms()
    part = Part.open("quantize", argv)
    is_tiny = part.setting.is_tiny
    num_loops = 2 if is_tiny else NUM_LOOPS
    tree = jax.device_put(make_tree("tiny-8x8" if is_tiny else "35.7M-32x32"))
    rows, key = jax.jit(tree_to_blocks)(tree), seed_to_key(0)
    like = jax.eval_shape(lambda: tree)

    def copy(i: Array, x: Array) -> Array:
        return x + jnp.minimum(i, 0)  # XLA does not know that this is 0

    def quantize_rows(i: Array, x: Array, num_bits: Array) -> Array:
        return quantize_blocks(step_key(key, i), x, make_grid(x, like, num_bits), like)

    def quantize_tree(i: Array, x: PyTree, num_bits: Array) -> PyTree:
        return stochastic_quantize(step_key(key, i), x, num_bits)

    def add(name: str, body: Body, x: PyTree, num_bytes: int) -> None:
        part.measure(name, lambda: time_loop(body, x, num_bytes, num_loops))

    add("copy", copy, rows, COPY_BYTES)
    for num_bits in (8,) if is_tiny else (8, 2):
        bits = jnp.int32(num_bits)
        body = functools.partial(quantize_rows, num_bits=bits)
        add(f"rows, {num_bits} bits", body, rows, QUANTIZE_BYTES)
    bits = jnp.int32(8)
    add("tree, 8 bits", functools.partial(quantize_tree, num_bits=bits), tree, QUANTIZE_BYTES)
    part.complete()


if __name__ == "__main__":
    end_on_request()
    main()
