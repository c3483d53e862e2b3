"""Quality against bytes: stochastic quantization, its options and other quantizers, on digits.

Trains the digits default (8 Dirichlet(0.5) clients, updates, Adam) with every quantizer, the same
bits for all clients and several seeds. Prints the averaged model's denoising loss on the 300
held-out digits and the uploaded bytes. Equal seeds have equal clients, batches and noise.
``docs_figures`` draws the results.

    python benchmarks/quantizers.py
"""

import argparse
import functools
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion import (
    UNetConfig,
    build,
    ddpm_loss,
    load_config,
    load_images,
    make_denoiser,
    make_schedule,
    seed_to_key,
)
from fedjax_diffusion.experiment.compute import describe_machine
from fedjax_diffusion.federated.traffic import make_count_traffic
from fedjax_diffusion.quantization import QuantizationConfig
from fedjax_diffusion.types import Batch

QUANTIZERS: dict[
    str, tuple[dict[str, Any], tuple[int, ...]]
] = {  # name: options of `config.quantization`, bits
    "float32": ({"name": "none"}, (32,)),
    "stochastic": ({}, (1, 2, 4, 8)),
    "stochastic, per tensor": ({"per_tensor": True}, (2,)),
    "stochastic, error feedback": ({"error_feedback": True}, (1, 2)),
    "nearest": ({"name": "nearest"}, (1, 2, 4)),
    "nearest, error feedback": ({"name": "nearest", "error_feedback": True}, (1, 2)),
    "rotated": ({"name": "rotated"}, (1, 2, 4)),
    "qsgd": ({"name": "qsgd"}, (2, 4, 8)),
}
NUM_DRAWS = 20
"""Draws of time and noise per held-out image; the same for every model."""


@functools.cache
def make_held_out_loss():
    """Returns ``params -> loss`` on the held-out digits."""
    config = load_config("configs/digits.py")
    images = load_images("digits", "test").images
    denoiser = make_denoiser(UNetConfig(**config.model), images.shape[1:], conv="plain")
    batch = Batch(jnp.asarray(images, jnp.float32) / 127.5 - 1.0, jnp.zeros(len(images), jnp.int32))
    schedule = make_schedule(**config.diffusion)

    @jax.jit
    def held_out_loss(params):
        keys = jax.random.split(seed_to_key(123), NUM_DRAWS)
        losses = jax.lax.map(lambda k: ddpm_loss(denoiser.apply, schedule, params, batch, k), keys)
        return losses.mean()

    return held_out_loss


def train(
    options: dict[str, Any], bits: tuple[int, ...], seed: int, num_rounds: int
) -> dict[int, dict]:
    """Returns loss and bytes, plain and entropy coded, at each of ``bits``; one compilation."""
    options = options | {"entropy_coding": True}  # without loss: training is the same
    overrides = {f"quantization.{name}": value for name, value in options.items()}
    experiment = build(load_config("configs/digits.py", overrides | {"seed": seed}))
    cohort = np.arange(len(experiment.parts))
    plain_options: dict[str, Any] = options | {"entropy_coding": False}
    plain = QuantizationConfig(**plain_options)
    rows = {}
    for num_bits in bits:
        everybody = SimpleNamespace(num_bits=np.full(len(cohort), num_bits))
        state = experiment.simulator.init(experiment.run_key, experiment.data)
        count_plain = make_count_traffic(state.params, plain)
        row = {"uplink_bytes": 0, "coded_bytes": 0}
        for _ in range(num_rounds):
            state, info = experiment.simulator.step(
                experiment.run_key, state, everybody, cohort, experiment.data
            )
            clients = jax.device_get(info.clients)
            for key, count in (
                ("uplink_bytes", count_plain),
                ("coded_bytes", experiment.count_traffic),
            ):
                row[key] += int(count(everybody.num_bits, clients).uplink_bytes.sum())
        loss = float(make_held_out_loss()(jax.device_get(state.ema_params)))
        rows[num_bits] = row | {"loss": loss}
    return rows


def main() -> None:
    """Trains everything, prints the table and writes the JSON beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    results: dict[str, dict[str, dict]] = {}
    for name, (options, bits) in QUANTIZERS.items():
        seeds = [train(options, bits, seed, arguments.rounds) for seed in range(arguments.seeds)]
        results[name] = {
            str(b): {key: [rows[b][key] for rows in seeds] for key in seeds[0][b]} for b in bits
        }
        for b, row in results[name].items():
            losses = "  ".join(f"{loss:.4f}" for loss in row["loss"])
            print(
                f"{name:27s} {b:>2s} bits  {np.mean(row['uplink_bytes']) / 1e6:8.2f} MB  ", losses
            )
    result = {
        "machine": describe_machine(),
        "date": time.strftime("%Y-%m-%d"),
        "rounds": arguments.rounds,
        "by_quantizer_and_bits": results,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
