"""Compilation of one program of the large model in a new process; prints its times as JSON.

    python -m benchmarks.session.compile_probe MODEL step|round CONV

``step`` is the loss with its gradient and the optimizer, ``round`` a whole round of ``map``. The
environment sets XLA's flags and the caches.
"""

import collections
import json
import os
import re
import sys
import time
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.session.cases import Case, make_case, make_way
from benchmarks.session.turns import count_compile_seconds, make_step
from fedjax_diffusion.host.platforms import prepare_platforms, read_flags
from fedjax_diffusion.types import Key

_OPERATION = re.compile(r"stablehlo\.(convolution|dot_general|while)\b")
_TYPES = re.compile(r"tensor<[^>]*>")


def count_operations(text: str) -> dict[str, int]:
    """Returns the numbers of convolutions, products and loops in a program, and of distinct ones.

    Two are equal if their operands, their result and their settings are.
    """
    seen: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for line in text.splitlines():
        match = _OPERATION.search(line)
        if match:
            settings = re.sub(r"%[\w#:]+", "%", line[match.start() :])
            seen[match.group(1)][settings] += 1
    counts = {f"num_{name}": sum(lines.values()) for name, lines in seen.items()}
    return counts | {f"distinct_{name}": len(lines) for name, lines in seen.items()}


def lower_step(case: Case, conv: str) -> Any:
    """Returns a training step, lowered."""
    start, step = make_step(case, make_way(f"map/{conv}", "bfloat16"))
    carry = jax.eval_shape(start, jax.eval_shape(lambda: jax.random.key(0)))
    return jax.jit(step).lower(carry, case.data, jnp.int32(0), jnp.int32(0))


def play_round(case: Case, conv: str) -> None:
    """Runs a round of one local step, which compiles the program of a run."""
    simulator = case.learner.make_simulator(make_way(f"map/{conv}", "bfloat16"))
    key: Key = jax.random.key(0)
    state: Any = simulator.init(key, case.data)
    cohort = np.arange(case.num_clients, dtype=np.int32)
    bits = SimpleNamespace(num_bits=np.full(case.num_clients, 8))
    jax.block_until_ready(simulator.step(key, state, bits, cohort, case.data))


def main(model: str, program: str, conv: str) -> None:
    """Prints seconds of lowering and compiling, and the numbers of operations."""
    flags = read_flags()
    prepare_platforms()
    os.environ["XLA_FLAGS"] = flags  # only these, without the package's own flags
    jax.devices()
    case = make_case(model, 2, 1)
    start, compiled = time.perf_counter(), count_compile_seconds()
    counts = {}
    if program == "step":
        lowered = lower_step(case, conv)
        counts["lower_seconds"] = time.perf_counter() - start
        counts |= count_operations(lowered.as_text())
        lowered.compile()
    else:
        play_round(case, conv)
    counts["whole_seconds"] = time.perf_counter() - start
    counts["compile_seconds"] = count_compile_seconds() - compiled
    print(json.dumps({**counts, "xla_flags": flags}))


if __name__ == "__main__":
    main(*sys.argv[1:])
