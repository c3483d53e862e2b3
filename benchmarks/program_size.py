"""The size of a round of the 35.7 M model, lowered for a GPU on any machine, in a minute.

    python benchmarks/program_size.py

Counts convolutions, matrix products and lines in the input of a GPU's compiler: of the round by
lowering and by optimizer, and of its parts. Nothing is compiled.
"""

import re
from types import SimpleNamespace

import jax
import numpy as np

from fedjax_diffusion import ImageDataset, load_config, make_client_data, seed_to_key
from fedjax_diffusion.experiment.compute import ComputeConfig
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.experiment.optimizers import make_optimizer
from fedjax_diffusion.experiment.training import Learner

NUM_CLIENTS, NUM_EXAMPLES, IMAGE_SHAPE = 10, 640, (32, 32, 3)
OPTIMIZERS = {"tensor by tensor": "cpu", "one vector": "gpu"}
"""Forms of the client optimizer, and a platform on which a run uses it."""


def lower(function, *shapes) -> str:
    """Returns the text of a function, lowered for CUDA."""
    return jax.jit(function).trace(*shapes).lower(lowering_platforms=("cuda",)).as_text()


def count(text: str, operation: str) -> str:
    """Returns the number of an operation's occurrences, and of those with distinct operands."""
    lines = [line for line in text.splitlines() if f"stablehlo.{operation}" in line]
    return f"{len(lines)} ({len({re.sub('%[^ ]+', '', line) for line in lines})} distinct)"


def make_learner() -> Learner:
    """Returns the model of ``configs/cifar10.py`` on one device."""
    config = load_config("cifar10", {"partition.num_clients": NUM_CLIENTS, "cohort_size": None})
    return Learner(to_run_config(config), IMAGE_SHAPE, None)


def lower_round(learner: Learner, compute: ComputeConfig) -> str:
    """Returns the text of a round on images of zeros."""
    images = np.zeros((NUM_EXAMPLES, *IMAGE_SHAPE), np.uint8)
    dataset = ImageDataset(images, np.zeros(NUM_EXAMPLES, np.int32), 10, "zeros")
    data = make_client_data(dataset, np.split(np.arange(NUM_EXAMPLES), NUM_CLIENTS))
    simulator, key = learner.make_simulator(compute), seed_to_key(0)
    cohort = np.arange(NUM_CLIENTS, dtype=np.int32)
    bits = SimpleNamespace(num_bits=np.full(NUM_CLIENTS, 8))
    state = jax.eval_shape(lambda: simulator.init(key, data))
    return lower(lambda state: simulator.step(key, state, bits, cohort, data), state)


def main() -> None:
    """Prints one line per program."""
    learner, platform_of_jax = make_learner(), jax.default_backend
    for conv in ("stock", "matmul"):
        compute = ComputeConfig("map", None, conv, 1, "resident", "bfloat16")
        for name, platform in OPTIMIZERS.items():
            jax.default_backend = lambda platform=platform: platform
            text = lower_round(learner, compute)
            jax.default_backend = platform_of_jax
            counts = [f"{op} {count(text, op)}" for op in ("convolution", "dot_general")]
            print(f"round, {conv}, {name}: {len(text.splitlines())} lines,", ", ".join(counts))
    step = learner._make_step(ComputeConfig("map", None, "stock", 1, "resident", "bfloat16"))
    text = lower(jax.value_and_grad(step.loss_fn), step.params, step.batch, step.key)
    print(f"loss and gradient: {len(text.splitlines())} lines")
    config = learner.config.client_optimizer
    for name, is_flat in (("tensor by tensor", False), ("one vector", True)):
        optimizer = make_optimizer(config, is_flat=is_flat)
        state = jax.eval_shape(optimizer.init, step.params)
        text = lower(optimizer.update, step.params, state, step.params)
        print(f"optimizer, {name}: {len(text.splitlines())} lines")


if __name__ == "__main__":
    main()
