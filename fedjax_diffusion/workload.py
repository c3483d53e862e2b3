"""What one round asks of a device: CPU cycles to compute, bits to upload."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.federated import LocalWork
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.quantization import overhead_bits
from fedjax_diffusion.resources import DeviceParams
from fedjax_diffusion.types import Batch, LossFn, Params


@dataclass(frozen=True)
class Workload:
    """What a round costs before anything is allocated.

    Attributes:
      compute_cycles: float64 [K], CPU cycles of one round's local training.
      num_parameters: d.
      overhead_bits: float64 [17], bits of a message that are not codes, per level.
      noise_density_watts_per_hz: N0.
    """

    compute_cycles: np.ndarray
    num_parameters: int
    overhead_bits: np.ndarray
    noise_density_watts_per_hz: float


class TrainingCost(NamedTuple):
    """What the loss and its gradient of one example cost.

    Attributes:
      flops: floating point operations.
      num_bytes: read and written by all operations, before any is fused.
    """

    flops: float
    num_bytes: float


def make_workload(
    params: Params,
    devices: DeviceParams,
    local_work: LocalWork,
    num_examples: np.ndarray,
    count_cost: Callable[[], TrainingCost],
    *,
    cycles_per_example: float | None,
    noise_density_dbm_per_hz: float,
    scheme: str = "stochastic",
) -> Workload:
    """Returns the workload of a fleet.

    ``C_k = examples processed x cycles per example``; where the latter is not given it is the
    model's counted FLOPs divided by the device's ``flops_per_cycle``, so larger models take longer.

    Args:
      params: the model, or its shapes.
      devices: the fleet, [K].
      local_work: how much a client trains.
      num_examples: int [K].
      count_cost: returns the cost of training on one example; called only if needed.
      cycles_per_example: > 0, or None to count.
      noise_density_dbm_per_hz: N0 in dBm/Hz, -174 for thermal noise.
      scheme: of ``QUANTIZERS``; its messages may carry more than ranges and codes.

    Raises:
      ValueError: ``cycles_per_example`` is not above 0.
    """
    if cycles_per_example is not None and not cycles_per_example > 0:
        raise ValueError(f"cycles_per_example must be above 0 or None, got {cycles_per_example}")
    examples = local_work.num_steps(num_examples).astype(np.float64) * local_work.batch_size
    if cycles_per_example is None:
        cycles = examples * count_cost().flops / devices.flops_per_cycle
    else:
        cycles = examples * cycles_per_example
    return Workload(
        compute_cycles=cycles,
        num_parameters=sum(x.size for x in jax.tree.leaves(params)),
        overhead_bits=overhead_bits(params, scheme),
        noise_density_watts_per_hz=10 ** ((noise_density_dbm_per_hz - 30) / 10),
    )


def count_training_cost(
    loss_fn: LossFn, params: Params, image_shape: tuple[int, ...]
) -> TrainingCost:
    """Returns what one example's loss and gradient cost.

    Counted by XLA on the program as written, before any backend rewrites it, so the count does not
    depend on the machine.

    Args:
      loss_fn: the loss, with convolutions in their stock form.
      params: the model, or its shapes.
      image_shape: (H, W, C).
    """
    batch = jax.eval_shape(
        lambda: Batch(jnp.zeros((1, *image_shape), jnp.float32), jnp.zeros((1,), jnp.int32))
    )
    key = jax.eval_shape(lambda: seed_to_key(0))
    analysis = jax.jit(jax.value_and_grad(loss_fn)).lower(params, batch, key).cost_analysis()
    if analysis is None:
        raise RuntimeError("XLA counted no FLOPs; give workload.cycles_per_example instead")
    return TrainingCost(float(analysis["flops"]), float(analysis["bytes accessed"]))
