"""The time of sampling: 5,000 images of the digits' model, 1,000 of CIFAR-10's, 50 DDIM steps.

python -m benchmarks.session.sampling --output=FOLDER [--tiny]
"""

import dataclasses
import time
from collections.abc import Sequence

import jax

from benchmarks.engines.models import SESSION_MODELS
from benchmarks.session.cases import make_config, make_way
from benchmarks.session.child import end_on_request
from benchmarks.session.record import Part, Values
from benchmarks.session.turns import count_compile_seconds, count_peak_bytes
from fedjax_diffusion import seed_to_key
from fedjax_diffusion.experiment.training import Learner
from fedjax_diffusion.host.platforms import prepare_platforms

CASES = (
    ("digits, 5,000", "0.27M-8x8", 5_000, "float32"),
    ("CIFAR-10, 1,000, bfloat16", "35.7M-32x32", 1_000, "bfloat16"),
    ("CIFAR-10, 1,000, float32", "35.7M-32x32", 1_000, "float32"),
)
TINY_CASES = (
    ("digits, 40", "tiny-8x8", 40, "float32"),
    ("CIFAR-10, 4", "tiny-8x8", 4, "bfloat16"),
)
NUM_STEPS, TINY_STEPS = 50, 2


def draw(model: str, num_samples: int, dtype: str, num_steps: int) -> Values:
    """Returns the times of the first sampling, which compiles, and the second."""
    config = make_config(model)
    sampling = dataclasses.replace(
        config.sampling, num_samples=num_samples, num_steps=num_steps, sampler="ddim"
    )
    config = dataclasses.replace(config, sampling=sampling)
    learner = Learner(config, SESSION_MODELS[model].image_shape, None)
    compute = make_way("map/stock", dtype)
    draw_samples = learner.make_draw_samples(compute)
    params = learner.make_task(compute).denoiser.init(seed_to_key(0))
    seconds, compiled, calls = [], count_compile_seconds(), []
    for counter in range(2):
        calls = []
        start = time.perf_counter()
        images = draw_samples(seed_to_key(0), params, counter, calls.append)
        seconds.append(time.perf_counter() - start)
        assert len(images) == num_samples
    values = {
        "first_call_seconds": seconds[0],
        "compile_seconds": count_compile_seconds() - compiled,
        "whole_seconds": seconds[1],
        "num_calls": len(calls),
        "num_samples": num_samples,
        "num_steps": num_steps,
        "peak_memory_bytes": count_peak_bytes(),
    }
    jax.clear_caches()
    return values


def main(argv: Sequence[str] | None = None) -> None:
    """Draws images from untrained parameters, which take the same time as trained ones."""
    prepare_platforms()
    part = Part.open("sampling", argv)
    num_steps = TINY_STEPS if part.setting.is_tiny else NUM_STEPS
    for name, model, num_samples, dtype in TINY_CASES if part.setting.is_tiny else CASES:
        part.measure(name, lambda m=model, n=num_samples, d=dtype: draw(m, n, d, num_steps))
    part.complete()


if __name__ == "__main__":
    end_on_request()
    main()
