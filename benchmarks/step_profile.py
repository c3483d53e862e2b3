"""The time of a client-step's parts, from the step and the step without one part.

    python benchmarks/step_profile.py [--models=0.27M-8x8,...] [--turns=5]

Each variant is local training as the engine maps it, one client per core at a time; the time saved
without a part is that part's share. Parts overlap (XLA fuses them), so the sum of the shares is not
one. Convolutions and matrix products of the same sizes are also timed alone, in the same kind of
loop. All variants take turns; medians and fastest turns are recorded. The fastest are more reliable
if the machine had other work.
"""

import argparse
import contextlib
import functools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import flax.linen as nn  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import optax  # noqa: E402

from benchmarks.engines.convolutions import (  # noqa: E402
    count_convs,
    count_flops,
    make_convolution,
    make_product,
    make_turn,
)
from benchmarks.engines.models import LEARNING_RATE, MODELS  # noqa: E402
from benchmarks.engines.plain import make_ingredients  # noqa: E402
from fedjax_diffusion import seed_to_key  # noqa: E402
from fedjax_diffusion.diffusion import layers, q_sample, unet  # noqa: E402
from fedjax_diffusion.experiment.compute import (  # noqa: E402
    ComputeConfig,
    describe_machine,
    make_mesh,
    start_backend,
)
from fedjax_diffusion.federated import (  # noqa: E402
    ClientInputs,
    ClientMapping,
    LocalTraining,
    LocalWork,
    SharedInputs,
    make_client_map,
    make_train,
)
from fedjax_diffusion.host.machine import count_cores  # noqa: E402
from fedjax_diffusion.types import Batch  # noqa: E402

WHOLE = "whole step"
CONVS_ALONE = "convolutions alone"
PRODUCTS = "matrix products of their sizes"
NUM_STEPS = {"0.27M-8x8": 16, "1.06M-8x8": 8, "1.06M-16x16": 4, "4.24M-32x32": 1}
"""Local steps of each client in a turn."""
Patch = Callable[[], contextlib.AbstractContextManager[object]]


class Affine(nn.Module):
    """A normalization without its statistics: scale and shift."""

    @nn.compact
    def __call__(self, x):
        """Returns the shape of ``x`` [..., C]."""
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        # Ranks are made equal, because rank promotion may be forbidden.
        shape = (1,) * (x.ndim - 1) + x.shape[-1:]
        return (x * scale.reshape(shape) + bias.reshape(shape)).astype(x.dtype)


class Identity(nn.Module):
    """A replacement of attention by the identity."""

    num_groups: int
    dtype: type

    def __call__(self, x):
        """Returns ``x``."""
        return x


@contextlib.contextmanager
def without_normalization():
    """Replaces the normalizations of U-Nets traced in this context by affine maps."""

    def affine(num_groups, x, name, dtype, *, is_activated):
        y = Affine(name=name)(x)
        return nn.silu(y) if is_activated else y

    with (
        mock.patch.object(layers, "group_norm", affine),
        mock.patch.object(unet, "group_norm", affine),
    ):
        yield


def without_attention():
    """Replaces the attention of U-Nets traced in this context by the identity."""
    return mock.patch.object(unet, "SelfAttention", Identity)


def fixed_noise_loss(apply, schedule, params, batch, key):
    """Returns the loss with fixed t and eps, which need no random bits."""
    B = batch.images.shape[0]
    t = jnp.arange(B, dtype=jnp.int32) * schedule.num_steps // B
    eps = batch.images[::-1]
    return jnp.mean(jnp.square(apply(params, q_sample(schedule, batch.images, t, eps), t) - eps))


def fixed_batch(key, data, row, step, batch_size):
    """Returns the same examples for all keys and steps, without permutation and gather."""
    images = data.images[:batch_size].astype(jnp.float32) / 127.5 - 1
    return Batch(images, data.labels[:batch_size])


def make_training(name: str, mesh, replaced=None, patch: Patch = contextlib.nullcontext, **options):
    """Returns a compiled turn of local training in which one part may be replaced.

    Args:
      name: of the model.
      mesh: of all devices.
      replaced: maps (loss, batches, optimizer) to others.
      patch: makes the context in which the network is traced.
      options: of the denoiser.
    """
    num_clients = 1 if mesh is None else mesh.size
    data, loss_fn, batch_fn, optimizer, init = make_ingredients(name, 8, "plain", **options)
    if replaced is not None:
        loss_fn, batch_fn, optimizer = replaced(loss_fn, batch_fn, optimizer)
    work = LocalWork(MODELS[name].batch_size, local_steps=NUM_STEPS[name])
    train = make_train(LocalTraining(loss_fn, batch_fn, optimizer, work))
    client_map = make_client_map(ClientMapping(mesh=mesh))
    clients = jnp.arange(num_clients, dtype=jnp.int32)
    steps = jnp.full(num_clients, NUM_STEPS[name], jnp.int32)
    weights = jnp.ones(num_clients)
    cohort = ClientInputs(clients, clients, weights, jnp.full(num_clients, 8), steps)
    key = seed_to_key(0)
    shared = SharedInputs(key, jnp.int32(0), init(key), data)
    with patch():
        turn = jax.jit(lambda s, c: client_map(train, s, c)).lower(shared, cohort).compile()
    return lambda: turn(shared, cohort)


def make_alone(name: str, mesh, make_operation: Callable) -> Callable:
    """Returns a compiled turn of as many operations as the steps of ``make_training`` have."""
    return make_turn(name, NUM_STEPS[name], mesh, make_operation)


VARIANTS: dict[str, Callable] = {
    WHOLE: make_training,
    "without normalization": functools.partial(make_training, patch=without_normalization),
    "without attention": functools.partial(make_training, patch=without_attention),
    "without clipping": functools.partial(
        make_training, replaced=lambda loss, batch, _: (loss, batch, optax.adam(LEARNING_RATE))
    ),
    "SGD, without clipping": functools.partial(
        make_training, replaced=lambda loss, batch, _: (loss, batch, optax.sgd(LEARNING_RATE))
    ),
    "without random bits": functools.partial(
        make_training,
        replaced=lambda loss, *rest: (functools.partial(fixed_noise_loss, *loss.args), *rest),
    ),
    "without drawing batches": functools.partial(
        make_training,
        replaced=lambda loss, batch, optimizer: (
            loss,
            functools.partial(fixed_batch, **batch.keywords),
            optimizer,
        ),
    ),
    CONVS_ALONE: functools.partial(make_alone, make_operation=make_convolution),
    PRODUCTS: functools.partial(make_alone, make_operation=make_product),
    "bfloat16": functools.partial(make_training, dtype=jnp.bfloat16),
    "remat": functools.partial(make_training, remat=True),
}


def profile(name: str, mesh, num_turns: int) -> dict:
    """Returns milliseconds per client-step of every variant of a model, and rates."""
    load = os.getloadavg()[0]
    turns = {variant: make(name, mesh) for variant, make in VARIANTS.items()}
    seconds = {variant: [] for variant in turns}
    for i in range(num_turns + 1):
        for variant, turn in turns.items():
            start = time.perf_counter()
            jax.block_until_ready(turn())
            if i:  # the first turn uses its memory for the first time
                seconds[variant].append(time.perf_counter() - start)
    num_client_steps = NUM_STEPS[name] * (1 if mesh is None else mesh.size)
    medians = {v: 1e3 * statistics.median(s) / num_client_steps for v, s in seconds.items()}
    fastest = {v: 1e3 * min(s) / num_client_steps for v, s in seconds.items()}
    gigaflops = count_flops(count_convs(name)) / 1e9
    print(f"\n{name}: {gigaflops:.2f} GFLOP in convolutions")
    for variant, ms in medians.items():
        least = fastest[variant]
        print(
            f"  {variant:32s} {ms:9.2f} ms {ms / medians[WHOLE]:5.2f}"
            f"   fastest {least:9.2f} ms {least / fastest[WHOLE]:5.2f}"
        )
    return {
        "model": name,
        "load_before": load,
        "milliseconds_per_client_step": medians,
        "fastest_milliseconds": fastest,
        "saved_share": {v: 1 - ms / medians[WHOLE] for v, ms in medians.items() if v != WHOLE},
        "gigaflop_of_convolutions": gigaflops,
        "gigaflop_per_second": {v: 1e3 * gigaflops / medians[v] for v in (CONVS_ALONE, PRODUCTS)},
    }


def main() -> None:
    """Profiles the models and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    start_backend(ComputeConfig(), num_clients=count_cores())
    mesh = make_mesh(count_cores())
    content = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": describe_machine(),
        "num_turns": arguments.turns,
        "models": [profile(name, mesh, arguments.turns) for name in arguments.models.split(",")],
    }
    arguments.output.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
