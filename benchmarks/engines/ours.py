"""A round of ours: broadcast, local training, 8-bit quantization, aggregation.

    python -m benchmarks.engines.ours MODEL NUM_CLIENTS NUM_STEPS CLIENT_MAP CONV DEVICES

CLIENT_MAP is map, vmap or chunked:N, CONV a lowering, auto, or measured: a table for these shapes.
"""

import resource
import sys

from benchmarks.engines.models import MODELS, serve
from benchmarks.engines.plain import make_ingredients


def main(
    name: str, num_clients: str, num_steps: str, client_map: str, conv: str, devices: str
) -> None:
    """Times rounds of ``num_steps`` local steps."""
    import jax
    import numpy as np
    from jax.sharding import NamedSharding, PartitionSpec

    from fedjax_diffusion import (
        ClientMapping,
        LocalTraining,
        LocalWork,
        make_simulator,
        seed_to_key,
    )
    from fedjax_diffusion.experiment.compute import ComputeConfig, make_mesh, resolve, start_backend

    client_map, _, chunk = client_map.partition(":")
    is_measured = conv == "measured"
    conv = "auto" if is_measured else conv
    compute = ComputeConfig(client_map, int(chunk) if chunk else None, conv, devices)
    start_backend(compute, int(num_clients))
    compute = resolve(compute, int(num_clients))
    mesh = make_mesh(int(compute.cpu_devices))
    lowering = measure(name, mesh) if is_measured else compute.conv
    data, loss_fn, batch_fn, optimizer, init = make_ingredients(name, int(num_clients), lowering)
    if mesh is not None:
        data = jax.device_put(data, NamedSharding(mesh, PartitionSpec()))
    work = LocalWork(batch_size=MODELS[name].batch_size, local_steps=int(num_steps))
    simulator = make_simulator(
        init,
        LocalTraining(loss_fn, batch_fn, optimizer, work),
        mapping=ClientMapping(client_map, compute.chunk_size, mesh),
    )
    key = seed_to_key(0)
    state = simulator.init(key, data)
    cohort = np.arange(int(num_clients))

    class Bits:
        num_bits = np.full(int(num_clients), 8)

    def run() -> float:
        _, info = simulator.step(key, state, Bits, cohort, data)
        loss = float(info.loss)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"peak memory {peak} MiB", file=sys.stderr, flush=True)
        return loss

    serve(run)


def measure(name: str, mesh):
    """Returns the measured table of a model's convolutions, and prints it."""
    import jax
    import jax.numpy as jnp

    from fedjax_diffusion.diffusion import list_convs, measure_convs
    from fedjax_diffusion.types import Batch

    def trace(table):
        _, loss_fn, _, _, init = make_ingredients(name, 1, table)
        B, key = MODELS[name].batch_size, jax.random.key(0)
        batch = Batch(jnp.zeros((B, *MODELS[name].image_shape)), jnp.zeros(B, jnp.int32))
        return jax.eval_shape(jax.grad(loss_fn), jax.eval_shape(init, key), batch, key)

    table = measure_convs(list_convs(trace), mesh=mesh)
    print(table, file=sys.stderr, flush=True)
    return table


if __name__ == "__main__":
    main(*sys.argv[1:])
