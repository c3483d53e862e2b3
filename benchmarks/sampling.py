"""Seconds per 1,000 digits, 50 DDIM steps, by the batch size on a CPU device.

python -m benchmarks.sampling [--batch_sizes=32,64,128,256] [--num_images=512] [--repeats=3]
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from fedjax_diffusion import load_config
from fedjax_diffusion.diffusion import UNetConfig, make_denoiser, make_schedule, sample_ddim
from fedjax_diffusion.experiment.compute import make_mesh
from fedjax_diffusion.host.machine import count_cores
from fedjax_diffusion.keys import seed_to_key, step_keys


def make_draw(batch_size: int, num_images: int, num_devices: int):
    """Returns a function that draws the images, batch after batch, on all devices."""
    config = load_config("configs/digits.py")
    schedule = make_schedule(**config.diffusion)
    shape = (batch_size, 8, 8, 1)
    denoiser = make_denoiser(UNetConfig(**config.model), shape[1:], conv="plain")
    params = denoiser.init(seed_to_key(0))

    def draw_batch(key):
        return sample_ddim(
            key,
            lambda x_t, t: denoiser.apply(params, x_t, t),
            schedule,
            shape,
            num_steps=config.sampling.num_steps,
        )

    def draw(keys):
        return jax.lax.map(draw_batch, keys)

    mesh = make_mesh(num_devices)
    if mesh is not None:
        spec = P(mesh.axis_names[0])
        draw = jax.shard_map(draw, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    keys = step_keys(seed_to_key(0), jnp.arange(num_images // batch_size))
    compiled = jax.jit(draw)
    return lambda: jax.block_until_ready(compiled(keys))


def main() -> None:
    """Prints one line per batch size: the smallest and the median time, on CPU devices."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch_sizes", default="32,64,128,256")
    parser.add_argument("--num_images", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    num_devices = count_cores()
    jax.config.update("jax_num_cpu_devices", num_devices)
    batch_sizes = [int(size) for size in arguments.batch_sizes.split(",")]
    draws = [make_draw(size, arguments.num_images, num_devices) for size in batch_sizes]
    seconds = [[] for _ in draws]
    for repeat in range(arguments.repeats + 1):
        for draw, times in zip(draws, seconds, strict=True):
            start = time.perf_counter()
            draw()
            if repeat:  # the first call compiles
                times.append((time.perf_counter() - start) / arguments.num_images * 1000)
    for size, times in zip(batch_sizes, seconds, strict=True):
        median = statistics.median(times)
        print(f"batch {size:4d}  least {min(times):.2f} s  median {median:.2f} s")


if __name__ == "__main__":
    main()
