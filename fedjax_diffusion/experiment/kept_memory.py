"""Memory that a run keeps beside its training: error feedback, and averages of all updates."""

import jax

from fedjax_diffusion.experiment.compute import count_memory_bytes
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.federated import Averaging, empty_client_memory
from fedjax_diffusion.quantization import tree_to_blocks
from fedjax_diffusion.types import Params

_AVERAGE_COPIES = 2
"""Of a cohort's updates: as they were sent, and sorted."""


def count_average_bytes(average: str, params: Params, cohort_size: int) -> int:
    """Returns the memory that a device needs for the updates of a cohort; 0 for the mean.

    Args:
      average: one of ``AVERAGES``.
      params: the model, or its shapes.
      cohort_size: M.
    """
    if not Averaging(average).keeps_updates:
        return 0
    update = jax.eval_shape(tree_to_blocks, params)
    return _AVERAGE_COPIES * cohort_size * update.size * update.dtype.itemsize


def check_kept_memory(
    config: RunConfig, params: Params, num_clients: int, cohort_size: int, num_devices: int
) -> None:
    """Checks that what a run keeps takes at most half of the memory.

    Args:
      config: of the run.
      params: the model, or its shapes.
      num_clients: K.
      cohort_size: M.
      num_devices: on which the run is played; those of a CPU share one memory.

    Raises:
      ValueError: it takes more.
    """
    num_copies = num_devices if jax.default_backend() == "cpu" else 1
    if config.quantization.error_feedback:
        memory = jax.eval_shape(
            lambda: empty_client_memory(config.quantization, params, num_clients)
        )
        _check(
            "quantization.error_feedback keeps a model per client",
            num_copies * memory.size * memory.dtype.itemsize,
            f"{num_clients} clients on {num_devices} devices",
            "set it to False, or lower partition.num_clients",
        )
    average = config.federated.average
    _check(
        f"federated.average = {average!r} keeps the updates of a cohort twice",
        num_copies * count_average_bytes(average, params, cohort_size),
        f"{cohort_size} clients on {num_devices} devices",
        "set it to 'mean', or lower cohort_size",
    )


def _check(what: str, needed: int, size: str, advice: str) -> None:
    there = count_memory_bytes()
    if needed > there // 2:
        raise ValueError(
            f"{what}, {needed / 2**30:.1f} GiB for {size}: more than half of the memory, "
            f"{there / 2**31:.1f} GiB; {advice}"
        )
