"""Workload of a device in one round: CPU cycles to compute and bits to upload."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.edge import DeviceParams
from fedjax_diffusion.federated import LocalWork
from fedjax_diffusion.host.platforms import cpu_device
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.quantization import overhead_bits, own_payload_bits
from fedjax_diffusion.types import Batch, LossFn, Params, PyTree
from fedjax_diffusion.values import Range, check_fields

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkloadConfig:
    """Constants of a round's cost.

    Attributes:
      cycles_per_example: CPU cycles of training on one example, in [1, 1e18]; None: from the
        model's FLOPs.
      noise_density_dbm_per_hz: noise power density N0 in dBm/Hz, in [-300, 100].

    Raises:
      ValueError: a value is out of range.
    """

    cycles_per_example: Annotated[float, Range(1, 1e18)] | None
    noise_density_dbm_per_hz: Annotated[float, Range(-300, 100)]

    def __post_init__(self):
        check_fields(self, "workload")


@dataclass(frozen=True)
class Workload:
    """Cost of a round before the allocation.

    Attributes:
      compute_cycles: float64 [K], CPU cycles of one round's local training.
      num_parameters: d.
      overhead_bits: float64 [17], bits of a message that are not codes, per bit width.
      noise_density_watts_per_hz: N0.
      payload_bits: float64 [17], bits of a whole message at each bit width, of a quantizer with a
        payload of its own; None: codes of b bits each, and ``overhead_bits``.
    """

    compute_cycles: np.ndarray
    num_parameters: int
    overhead_bits: np.ndarray
    noise_density_watts_per_hz: float
    payload_bits: np.ndarray | None = None


def make_workload(
    params: Params,
    devices: DeviceParams,
    local_work: LocalWork,
    num_examples: np.ndarray,
    count_flops: Callable[[], float],
    *,
    cycles_per_example: float | None,
    noise_density_dbm_per_hz: float,
    quantizer: str = "stochastic",
) -> Workload:
    """Returns the workload of a fleet.

    ``C_k = examples processed x cycles per example``. The latter is given by device or for all, or
    the model's counted FLOPs divided by the device's ``flops_per_cycle``, so that larger models
    take longer.

    Args:
      params: the model, or its shapes.
      devices: the fleet, [K].
      local_work: amount of training of a client.
      num_examples: int [K].
      count_flops: returns the FLOPs of training on one example; called only if needed.
      cycles_per_example: as in ``WorkloadConfig``; not used if the devices have their own.
      noise_density_dbm_per_hz: N0 in dBm/Hz, -174 for thermal noise.
      quantizer: of ``QUANTIZERS``; its messages may carry more than ranges and codes.

    Raises:
      ValueError: a constant is out of range.
    """
    WorkloadConfig(cycles_per_example, noise_density_dbm_per_hz)
    examples = local_work.num_steps(num_examples).astype(np.float64) * local_work.batch_size
    if devices.cycles_per_example is not None:
        cycles = examples * devices.cycles_per_example
    elif cycles_per_example is None:
        cycles = examples * count_flops() / devices.flops_per_cycle
    else:
        cycles = examples * cycles_per_example
    return Workload(
        compute_cycles=cycles,
        num_parameters=sum(x.size for x in jax.tree.leaves(params)),
        overhead_bits=overhead_bits(params, quantizer),
        noise_density_watts_per_hz=10 ** ((noise_density_dbm_per_hz - 30) / 10),
        payload_bits=own_payload_bits(params, quantizer),
    )


def count_training_flops(loss_fn: LossFn, params: Params, image_shape: tuple[int, ...]) -> float:
    """Returns the floating point operations of one example's loss and gradient.

    XLA counts them on the CPU, in the program before any backend rewrites it, so that the count
    does not depend on the machine. If XLA counts nothing, the operations of the program are added
    up from their shapes, and a warning is logged.

    Args:
      loss_fn: the loss, with convolutions in their stock form.
      params: the model, or its shapes.
      image_shape: (H, W, C).

    Raises:
      ValueError: neither way gives a count.
    """
    batch = jax.eval_shape(
        lambda: Batch(jnp.zeros((1, *image_shape), jnp.float32), jnp.zeros((1,), jnp.int32))
    )
    key = jax.eval_shape(lambda: seed_to_key(0))
    params = jax.eval_shape(lambda tree: tree, params)
    gradient = jax.value_and_grad(loss_fn)
    flops = _count_by_xla(gradient, params, batch, key)
    if flops is None:
        flops = _count_by_shapes(gradient, params, batch, key)
    return flops


def _count_by_xla(function: Callable, *shapes: PyTree) -> float | None:
    """Returns the FLOPs that XLA counts, or None if it counts none."""
    try:
        with jax.default_device(cpu_device()):
            analysis = jax.jit(function).lower(*shapes).cost_analysis()
        flops = float((analysis or {}).get("flops", 0.0))
    except Exception as error:  # of any type, by backend; shapes are counted then
        _LOG.debug("XLA refuses a cost analysis: %s", error)
        return None
    return flops if 0 < flops < math.inf else None


def _count_by_shapes(function: Callable, *shapes: PyTree) -> float:
    """Returns the FLOPs of all operations before fusion, added up from their shapes."""
    try:
        from jax.experimental import roofline  # experimental: it may move

        _, counted = roofline.roofline(function)(*shapes)
    except Exception as error:
        raise ValueError(
            "workload.cycles_per_example must be given for this model: its FLOPs cannot be "
            f"counted ({' '.join(str(error).split())[:200]})"
        ) from None
    _LOG.warning("XLA counts no FLOPs on this machine; they are counted from the model's shapes")
    return float(counted.unfused_flops)
