"""The error bound on real uploads: the measured squared error beside it, at every number of bits.

The uploads are those of ``tensor_bits``: one client's update with Adam and its model, and the same
number of evenly spread entries, for which the error is 2/3 of the bound. ``docs_figures`` draws the
results.

    python benchmarks/theorem.py
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tensor_bits import make_uploads

from fedjax_diffusion.experiment.compute import describe_machine
from fedjax_diffusion.quantization import (
    blocks_squared_norm,
    quantization_error_bound,
    stochastic_quantize,
    tree_to_blocks,
)
from fedjax_diffusion.types import PyTree

BITS = range(1, 17)


@jax.jit
def measure(key, tree, num_bits):
    """Returns the squared error of one draw, and the bound, relative to the squared norm."""
    quantized = stochastic_quantize(key, tree, num_bits)
    error = jax.tree.map(jnp.subtract, quantized, tree)
    scale = blocks_squared_norm(tree_to_blocks(tree), tree)
    bound = quantization_error_bound(tree, num_bits)
    return blocks_squared_norm(tree_to_blocks(error), tree) / scale, bound / scale


def measure_all(tree: PyTree, num_draws: int) -> dict[str, list[float]]:
    """Returns the mean error and the bound at each of ``BITS``."""
    keys = jax.random.split(jax.random.key(0), num_draws)
    rows = [[measure(key, tree, jnp.int32(b)) for key in keys] for b in BITS]
    error, bound = np.asarray(rows, float).mean(axis=1).T
    return {"error": error.tolist(), "bound": bound.tolist(), "ratio": (error / bound).tolist()}


def main() -> None:
    """Measures, prints the ratios and writes the JSON beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=6, help="rounds of training before the upload"
    )
    parser.add_argument("--draws", type=int, default=20)
    arguments = parser.parse_args()
    uploads = make_uploads(arguments.rounds)
    even = jax.tree.map(
        lambda x: jnp.linspace(-1.0, 1.0, x.size).reshape(x.shape), uploads["model"]
    )
    chosen = {name: uploads[name] for name in ("update, adam", "model")} | {"spread evenly": even}
    results = {name: measure_all(tree, arguments.draws) for name, tree in chosen.items()}
    for name, row in results.items():
        ratios = "  ".join(f"{ratio:.3f}" for ratio in row["ratio"])
        print(f"{name:14s} error / bound at 1..16 bits: {ratios}")
    result = {"machine": describe_machine(), "date": time.strftime("%Y-%m-%d")} | results
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
