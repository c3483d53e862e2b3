"""What one client-step costs: mappings and lowerings against plain steps without a federation.

Trains the digits default (0.27 M parameters, 8x8, batch 32, 8 clients) for a few local steps in
each way, in turn, in one process, and prints medians and ratios.

    python benchmarks/client_step.py
"""

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fedjax_diffusion import (
    LocalWork,
    UNetConfig,
    ddpm_loss,
    load_config,
    load_images,
    make_client_data,
    make_denoiser,
    make_schedule,
    make_simulator,
    partition_iid,
    seed_to_key,
)
from fedjax_diffusion.data import draw_batch
from fedjax_diffusion.hardware import ComputeConfig, describe_machine, make_mesh, start_backend

NUM_CLIENTS = 8
WAYS = {  # name: (client_map, lowering, devices)
    "map, plain, 2 devices": ("map", "plain", 2),
    "map, plain": ("map", "plain", 1),
    "map, matmul": ("map", "matmul", 1),
    "vmap, matmul": ("vmap", "matmul", 1),
    "map, stock": ("map", "stock", 1),
}


class AllBits:
    """Eight bits for everybody."""

    num_bits = np.full(NUM_CLIENTS, 8)


def make_plain_steps(num_steps: int) -> Callable[[], object]:
    """Returns plain training steps of one model, jitted one by one: the limit."""
    data, loss_fn, batch_fn, optimizer, init = ingredients("stock")

    @jax.jit
    def step(params, opt_state, i):
        batch = batch_fn(seed_to_key(0), data, i % NUM_CLIENTS, i)
        grads = jax.grad(loss_fn)(params, batch, jax.random.key(i))
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    def run():
        params = init(seed_to_key(0))
        carry = (params, optimizer.init(params))
        for i in range(num_steps * NUM_CLIENTS):
            carry = step(*carry, jnp.int32(i))
        return jax.block_until_ready(carry)

    return run


def make_round(way: str, num_steps: int) -> Callable[[], object]:
    """Returns one federated round, quantization and aggregation included."""
    client_map, conv, num_devices = WAYS[way]
    data, loss_fn, batch_fn, optimizer, init = ingredients(conv)
    simulator = make_simulator(
        init,
        loss_fn,
        batch_fn,
        local_work=LocalWork(batch_size=32, local_steps=num_steps),
        client_optimizer=optimizer,
        client_map=client_map,
        mesh=make_mesh(num_devices),
    )
    key = seed_to_key(0)
    state = simulator.init(key, data)
    cohort = jnp.arange(NUM_CLIENTS)
    return lambda: jax.block_until_ready(simulator.step(key, state, AllBits, cohort, data))


@functools.cache
def ingredients(conv: str):
    """Returns data, loss, batches, optimizer and initialization of the digits default."""
    config = load_config("configs/digits.py")
    dataset = load_images("digits", "train")
    data = make_client_data(dataset, partition_iid(dataset.labels, NUM_CLIENTS, seed=0))
    denoiser = make_denoiser(UNetConfig(**config.model), (8, 8, 1), conv=conv)
    loss_fn = functools.partial(ddpm_loss, denoiser.apply, make_schedule(**config.diffusion))
    batch_fn = functools.partial(draw_batch, batch_size=32)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(2e-3))
    return data, loss_fn, batch_fn, optimizer, jax.jit(denoiser.init)


def main() -> None:
    """Times every way in turn and writes the JSON beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5, help="local steps per client")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    start_backend(ComputeConfig(), NUM_CLIENTS)
    runs = {"plain steps, no federation": make_plain_steps(arguments.steps)}
    runs |= {way: make_round(way, arguments.steps) for way in WAYS}
    seconds = {name: [] for name in runs}
    for repeat in range(arguments.repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repeat:  # the first one compiles
                seconds[name].append(time.perf_counter() - start)
    num_client_steps = arguments.steps * NUM_CLIENTS
    medians = {n: 1e3 * statistics.median(s) / num_client_steps for n, s in seconds.items()}
    limit = medians["plain steps, no federation"]
    for name, milliseconds in medians.items():
        print(f"{name:28s} {milliseconds:8.2f} ms per client-step  {milliseconds / limit:6.2f} x")
    result = {"machine": describe_machine(), "milliseconds_per_client_step": medians}
    result["ratio_to_plain_steps"] = {name: ms / limit for name, ms in medians.items()}
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(result | {"date": time.strftime("%Y-%m-%d")}, indent=2) + "\n")


if __name__ == "__main__":
    main()
