"""The cost of quantization: ranges, draws and rounding of 35.7 M parameters against a copy of them.

The tensors of the CIFAR-10 U-Net (35,746,307 parameters), filled with normal numbers: as one array
of rows, as in the round, and as a tree. A copy of as many float32 is the lower limit of the cost:
each row is timed in turn with a copy into new memory, which the system must clear page by page.
Other rows are the uniform quantizer of FedJAX (its formula, repeated here) and, last, a Python loop
over few of the entries. Every row is printed and written to the JSON as soon as it is measured.

    python benchmarks/quantization.py
    python benchmarks/quantization.py --seconds=60 --output=quantization.json
"""

import argparse
import functools
import json
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion import UNetConfig, load_config, make_denoiser
from fedjax_diffusion.experiment.compute import describe_machine
from fedjax_diffusion.quantization import (
    make_grid,
    quantize_blocks,
    stochastic_quantize,
    tree_to_blocks,
)
from fedjax_diffusion.quantization.blocks import tensor_ranges
from fedjax_diffusion.quantization.counter_random import counter_uniform
from fedjax_diffusion.types import Array, Key, PyTree

BITS = (2, 4, 8, 16)
NUM_LOOP_ENTRIES = 100_000
DRAWS = {"counter": counter_uniform, "threefry": jax.random.uniform}
PYTHON_LOOP = "Python loop, 8 bits"
Runs = Mapping[str, Callable[[], object]]


class Limits(NamedTuple):
    """Limits of the measurement.

    Attributes:
      repeats: turns of each row.
      end: on the clock of ``time.perf_counter``; only a row's first turn begins after it.
    """

    repeats: int
    end: float

    def is_time_left(self) -> bool:
        """Returns whether another turn may begin."""
        return time.perf_counter() < self.end


def make_tree(seed: int) -> PyTree:
    """Returns the parameters of the CIFAR-10 U-Net, filled with normal numbers."""
    denoiser = make_denoiser(UNetConfig(**load_config("configs/cifar10.py").model), (32, 32, 3))
    shapes = jax.eval_shape(denoiser.init, jax.random.key(0))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape, np.float32)), shapes)


def into_same_memory(fn: Callable[..., Array], *arguments) -> Callable[[], Array]:
    """Returns a run of ``fn`` that writes its result in place of the last argument."""
    jitted = jax.jit(lambda out, *args: fn(*args), donate_argnums=0, keep_unused=True)
    memory = [jnp.zeros_like(arguments[-1])]

    def run():
        memory[0] = jitted(memory[0], *arguments)
        return memory[0]

    return run


def memory_runs(tree: PyTree, blocks: Array) -> Runs:
    """Returns runs of copies, the necessary passes over memory, and of the ranges."""
    zero = jnp.float32(0)
    copy, copy_tree = jax.jit(jnp.add), jax.jit(lambda z, t: jax.tree.map(lambda x: x + z, t))
    to_blocks = jax.jit(tree_to_blocks)
    ranges = jax.jit(lambda x: tensor_ranges(x, tree))
    extremes = jax.jit(lambda x: (x.min(), x.max()))
    return {
        "copy": lambda: copy(zero, blocks),
        "copy, same memory": into_same_memory(jnp.add, zero, blocks),
        "copy of the tree": lambda: copy_tree(zero, tree),
        "tree to rows": lambda: to_blocks(tree),
        "smallest and largest of all": lambda: extremes(blocks),
        "smallest and largest per tensor": lambda: ranges(blocks),
    }


def rows_runs(key: Key, tree: PyTree, blocks: Array) -> Runs:
    """Returns runs of quantize-dequantize of the rows, with both kinds of draws."""

    def make(uniform):
        def quantize(key, num_bits, blocks):
            grid = make_grid(blocks, tree, num_bits)
            return quantize_blocks(key, blocks, grid, tree, uniform)

        return quantize

    jitted = {name: jax.jit(make(uniform)) for name, uniform in DRAWS.items()}
    runs = {
        f"rows, {name}, {b} bits": functools.partial(f, key, jnp.int32(b), blocks)
        for name, f in jitted.items()
        for b in BITS
    }
    in_place = into_same_memory(make(counter_uniform), key, jnp.int32(8), blocks)
    return {**runs, "rows, counter, 8 bits, same memory": in_place}


def tree_runs(key: Key, tree: PyTree) -> Runs:
    """Returns runs of quantize-dequantize of the tree, with both kinds of draws."""
    quantize = jax.jit(stochastic_quantize, static_argnums=3)
    return {
        f"tree, {name}, {b} bits": functools.partial(quantize, key, tree, jnp.int32(b), uniform)
        for name, uniform in DRAWS.items()
        for b in BITS
    }


def fedjax_quantize(key: Key, x: Array, num_bits: Array) -> Array:
    """Quantizes one tensor by FedJAX's formula (Suresh et al. 2017, section 2.2)."""
    num_steps = (1 << num_bits) - 1
    lo, hi = x.min(), x.max()
    z = jnp.clip(jnp.nan_to_num((x - lo) / (hi - lo)), 0.0, 1.0)
    below, above = jnp.floor(z * num_steps) / num_steps, jnp.ceil(z * num_steps) / num_steps
    threshold = jnp.nan_to_num((z - below) / (above - below))
    is_below = jax.random.uniform(key, x.shape) > threshold
    return lo + jnp.where(is_below, below, above) * (hi - lo)


def fedjax_runs(key: Key, tree: PyTree, blocks: Array) -> Runs:
    """Returns runs of FedJAX's formula for one array, and tensor by tensor as in FedJAX."""

    def quantize_tree(key, tree, num_bits):
        leaves, treedef = jax.tree.flatten(tree)
        keys = jax.random.split(key, len(leaves))
        pairs = zip(keys, leaves, strict=True)
        return jax.tree.unflatten(treedef, [fedjax_quantize(k, x, num_bits) for k, x in pairs])

    one, many, eight = jax.jit(fedjax_quantize), jax.jit(quantize_tree), jnp.int32(8)
    return {
        "FedJAX's formula, one array, 8 bits": lambda: one(key, blocks, eight),
        "FedJAX's formula, tree, 8 bits": lambda: many(key, tree, eight),
    }


def loop_nanoseconds(entries: list[float], num_bits: int) -> float:
    """Returns nanoseconds per entry of quantization one by one in Python."""
    start = time.perf_counter()
    lo, step = min(entries), (max(entries) - min(entries)) / (2**num_bits - 1)
    decoded = []
    for x in entries:
        code, fraction = divmod((x - lo) / step, 1)
        decoded.append(lo + step * (code + (random.random() < fraction)))
    return 1e9 * (time.perf_counter() - start) / len(entries)


def time_call(run: Callable[[], object]) -> tuple[float, float]:
    """Returns the wall and the processor seconds of a call until its results are ready."""
    start, start_processor = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(run())
    seconds = time.perf_counter() - start, time.process_time() - start_processor
    del result
    return seconds


def time_beside_copy(
    run: Callable[[], object], copy: Callable[[], object], num_entries: int, limits: Limits
) -> dict[str, float]:
    """Returns a run's median wall and processor time, and the seconds of the first call.

    Run and copy take turns. The ratio is the median over turns, each relative to the copy of the
    same turn, because other work on the machine slows both. There is at least one turn.
    """
    first, _ = time_call(run)
    time_call(copy)
    turns = []
    while len(turns) < limits.repeats and (not turns or limits.is_time_left()):
        turns.append((*time_call(copy), *time_call(run)))
    copy_seconds, copy_processor, seconds, processor = zip(*turns, strict=True)
    ratios = [a / b for a, b in zip(seconds, copy_seconds, strict=True)]
    return {
        "nanoseconds_per_entry": 1e9 * statistics.median(seconds) / num_entries,
        "ratio_to_copy": statistics.median(ratios),
        "processor_ratio_to_copy": statistics.median(processor) / statistics.median(copy_processor),
        "first_call_seconds": first,
        "turns": len(turns),
    }


def time_loop(copy_nanoseconds: float, limits: Limits) -> dict[str, float]:
    """Returns the time of quantization one by one in Python, with 8 bits."""
    entries = np.random.default_rng(0).standard_normal(NUM_LOOP_ENTRIES).tolist()
    loop = statistics.median(loop_nanoseconds(entries, 8) for _ in range(limits.repeats))
    return {"nanoseconds_per_entry": loop, "ratio_to_copy": loop / copy_nanoseconds}


def measure(path: Path, limits: Limits) -> list[str]:
    """Measures row by row, prints and writes each, and returns the names of skipped rows."""
    print(" ".join(str(value) for value in describe_machine().values()), flush=True)
    key, tree = jax.random.key(0), make_tree(0)
    blocks = jax.block_until_ready(jax.jit(tree_to_blocks)(tree))
    num_entries = sum(x.size for x in jax.tree.leaves(tree))
    runs = {
        **memory_runs(tree, blocks),
        **rows_runs(key, tree, blocks),
        **tree_runs(key, tree),
        **fedjax_runs(key, tree, blocks),
    }
    times, copy = {}, runs["copy"]
    left_out = [*sorted(runs, key=lambda name: "threefry" in name), PYTHON_LOOP]  # slow ones last
    for name in [*left_out]:
        if times and not limits.is_time_left():
            break
        if name == PYTHON_LOOP:
            times[name] = time_loop(times["copy"]["nanoseconds_per_entry"], limits)
        else:
            times[name] = time_beside_copy(runs[name], copy, num_entries, limits)
        left_out.remove(name)
        print_row(name, times[name])
        result = {"machine": describe_machine(), "num_parameters": num_entries, "quantize": times}
        result |= {"not_measured": left_out, "date": time.strftime("%Y-%m-%d")}
        path.write_text(json.dumps(result, indent=2) + "\n")
    return left_out


def print_row(name: str, values: Mapping[str, float]) -> None:
    nanoseconds, ratio = values["nanoseconds_per_entry"], values["ratio_to_copy"]
    print(f"{name:38s} {nanoseconds:9.3f} ns per entry {ratio:9.2f} x a copy", flush=True)


def main() -> None:
    """Measures the rows that fit into the time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="turns of each row, at least 1")
    parser.add_argument("--seconds", type=float, default=math.inf, help="limit of the total time")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    limits = Limits(arguments.repeats, time.perf_counter() + arguments.seconds)
    for name in measure(arguments.output, limits):
        print(f"{name:38s} not measured")


if __name__ == "__main__":
    main()
