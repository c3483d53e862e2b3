"""Quantization errors on real uploads: bits per tensor, uniform bits, and other quantizers.

Trains the digits default for a few rounds at full precision, takes one client's upload (its update
with Adam, with plain SGD, and its model), and prints the squared error at equal bytes.

    python benchmarks/tensor_bits.py
"""

import argparse
import functools
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion import (
    UNetConfig,
    ddpm_loss,
    load_config,
    load_images,
    make_client_data,
    make_denoiser,
    make_schedule,
    partition_iid,
    seed_to_key,
)
from fedjax_diffusion.data import draw_batch
from fedjax_diffusion.experiment.compute import describe_machine
from fedjax_diffusion.experiment.optimizers import OptimizerConfig, make_optimizer
from fedjax_diffusion.federated import (
    ClientInputs,
    LocalTraining,
    LocalWork,
    SharedInputs,
)
from fedjax_diffusion.quantization import (
    QUANTIZERS,
    blocks_squared_norm,
    payload_bytes,
    quantize,
    tree_to_blocks,
)

NUM_CLIENTS = 8
LOCAL_STEPS = 20
BITS = range(1, 9)
SGD = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.0, "weight_decay": 0.0}


def make_uploads(num_rounds: int) -> dict:
    """Returns the possible uploads of client 0 after ``num_rounds`` rounds, by name."""
    config = load_config("configs/digits.py")
    dataset = load_images("digits", "train")
    data = make_client_data(dataset, partition_iid(dataset.labels, NUM_CLIENTS, seed=0))
    denoiser = make_denoiser(UNetConfig(**config.model), (8, 8, 1), conv="plain")
    loss_fn = functools.partial(ddpm_loss, denoiser.apply, make_schedule(**config.diffusion))
    work = LocalWork(batch_size=32, local_steps=LOCAL_STEPS)
    batch_fn = functools.partial(draw_batch, batch_size=work.batch_size)

    def make_train(optimizer):
        train = make_train(LocalTraining(loss_fn, batch_fn, make_optimizer(optimizer), work))

        @jax.jit
        def run(params, round, client):
            shared = SharedInputs(seed_to_key(0), round, params, data)
            steps = jnp.int32(LOCAL_STEPS)
            inputs = ClientInputs(client, client, jnp.float32(1), jnp.int32(32), steps)
            return train(shared, inputs)[0]

        return run

    train = make_train(OptimizerConfig(**config.client_optimizer))
    params = jax.jit(denoiser.init)(seed_to_key(0))
    for round in range(num_rounds):
        models = [train(params, jnp.int32(round), jnp.int32(k)) for k in range(NUM_CLIENTS)]
        params = jax.tree.map(lambda *x: sum(x) / NUM_CLIENTS, *models)
    last = (params, jnp.int32(num_rounds), jnp.int32(0))
    by_adam, by_sgd = train(*last), make_train(OptimizerConfig(**SGD))(*last)
    subtract = functools.partial(jax.tree.map, jnp.subtract)
    return {
        "update, adam": subtract(by_adam, params),
        "update, sgd": subtract(by_sgd, params),
        "model": by_adam,
    }


@functools.cache
def make_squared_error(name: str, bits_per_tensor: bool):
    """Returns ``(key, tree, num_bits) -> ||Q(x) - x||^2``, one program for all uploads."""

    @jax.jit
    def squared_error(key, tree, num_bits):
        blocks = tree_to_blocks(tree)
        quantized = quantize(
            QUANTIZERS[name], key, blocks, tree, num_bits, bits_per_tensor=bits_per_tensor
        )
        return blocks_squared_norm(quantized.decoded - blocks, tree)

    return squared_error


def measure(name: str, bits_per_tensor: bool, tree, num_draws: int) -> list[float]:
    """Returns the mean of ``||Q(x) - x||^2 / ||x||^2`` at each of ``BITS``."""
    squared_error = make_squared_error(name, bits_per_tensor)
    keys = jax.random.split(jax.random.key(0), num_draws)
    scale = float(blocks_squared_norm(tree_to_blocks(tree), tree))
    errors = [[squared_error(key, tree, jnp.int32(b)) for key in keys] for b in BITS]
    return (np.mean(errors, axis=1) / scale).tolist()


def main() -> None:
    """Measures every quantizer on every upload and writes the JSON beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=6, help="rounds of training before the upload"
    )
    parser.add_argument("--draws", type=int, default=10)
    arguments = parser.parse_args()
    result = {"machine": describe_machine(), "date": time.strftime("%Y-%m-%d"), "bits": [*BITS]}
    for upload, tree in make_uploads(arguments.rounds).items():
        print(f"{upload}: ||Q(x) - x||^2 / ||x||^2 at bits of")
        print(" " * 22 + "".join(f"{b:10d}" for b in BITS))
        errors = {}
        for name, quantizer in QUANTIZERS.items():
            for bits_per_tensor in (False, True) if quantizer.min_bits <= 16 else (False,):
                row = f"{name}, {'per tensor' if bits_per_tensor else 'uniform'}"
                errors[row] = measure(name, bits_per_tensor, tree, arguments.draws)
                print(f"{row:22s}" + "".join(f"{e:10.2e}" for e in errors[row]))
        uniform, split = (errors[f"stochastic, {way}"] for way in ("uniform", "per tensor"))
        ratios = [a / b for a, b in zip(split, uniform, strict=True)]
        print(f"{'split / uniform':22s}" + "".join(f"{ratio:10.3f}" for ratio in ratios))
        result[upload] = {
            "relative_error": errors,
            "split_over_uniform": ratios,
            "message_bytes": [payload_bytes(tree, b) for b in BITS],
        }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
