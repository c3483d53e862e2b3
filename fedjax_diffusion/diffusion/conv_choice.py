"""The measured choice of a lowering for each convolution of a model, shape by shape."""

import math
import re
import statistics
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from fedjax_diffusion.diffusion.conv import CONVS, KERNEL_BARS, ConvTable
from fedjax_diffusion.host.platforms import is_out_of_memory
from fedjax_diffusion.types import Array

_KEY = re.compile(r"(\w+) (\d+)x(\d+)x(\d+) (\d+)x(\d+) (\d+)->(\d+)")
_NUM_STEPS = 4
_REPEATS = 5
_GAIN = 0.95
"""A lowering replaces ``conv`` if it takes less than this share of its time."""


class _Recorder(dict):
    """An empty table that records the requested keys."""

    def __init__(self):
        super().__init__()
        self.asked: dict[str, None] = {}

    def __missing__(self, key: str) -> str:
        self.asked[key] = None
        raise KeyError(key)


def list_convs(trace: Callable[[ConvTable], object]) -> list[str]:
    """Returns the keys that ``trace(table)`` looks up, each once, in order."""
    recorder = _Recorder()
    trace(recorder)
    return list(recorder.asked)


def measure_convs(
    keys: Sequence[str],
    *,
    num_clients: int = 1,
    mesh: Mesh | None = None,
    seconds: float = math.inf,
) -> ConvTable:
    """Returns the fastest lowering of each operation, inside a loop, as in local training.

    Args:
      keys: from ``list_convs``.
      num_clients: number of clients that ``vmap`` maps on a device; 1: one by one.
      mesh: devices that work at the same time, as in the run; None: one device.
      seconds: time after which no further operation is measured.

    Returns:
      A lowering for each measured key; ``conv`` unless another one is clearly faster.
    """
    start, table = time.perf_counter(), {}
    for key in keys:
        if time.perf_counter() - start > seconds:
            break
        table[key] = _fastest(key, num_clients, mesh)
    return table


def _fastest(key: str, num_clients: int, mesh: Mesh | None) -> str:
    trials = {name: _make_trial(key, name, num_clients, mesh) for name in _candidates(key)}
    seconds = {name: [] for name in trials}
    for repeat in range(_REPEATS + 1):
        for name, trial in trials.items():
            start = time.perf_counter()
            is_played = _play(trial)
            if repeat:  # the first call compiles
                seconds[name].append(time.perf_counter() - start if is_played else math.inf)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    fastest = min(medians, key=lambda name: medians[name])
    return fastest if medians[fastest] < _GAIN * medians["conv"] else "conv"


def _play(trial: Callable[[], Array]) -> bool:
    """Returns whether a trial fits into the device's memory."""
    try:
        jax.block_until_ready(trial())
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def _candidates(key: str) -> list[str]:
    """Returns the lowerings to try, on a CPU without the stock gradient, which is slow in loops."""
    names = CONVS if key.startswith("conv ") else KERNEL_BARS
    return [name for name in names if name != "stock" or jax.default_backend() != "cpu"]


def _make_trial(key: str, name: str, num_clients: int, mesh: Mesh | None) -> Callable[[], Array]:
    """Returns a function that repeats the operation a few times, one after the other."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise ValueError(f"conv: {key!r} is not the key of an operation")
    operation, *sizes = match.groups()
    B, H, W, kh, kw, num_inputs, num_outputs = map(int, sizes)
    x, y_bar = jnp.ones((B, H, W, num_inputs)), jnp.ones((B, H, W, num_outputs))
    kernel = jnp.ones((kh, kw, num_inputs, num_outputs))

    def once(x: Array, kernel: Array) -> Array:
        if operation == "conv":
            return CONVS[name](x, kernel)
        return KERNEL_BARS[name](x, y_bar, kernel)

    def repeatedly(clients: Array) -> Array:
        def step(carry: Array, _: None) -> tuple[Array, None]:
            if num_clients == 1:
                return 1e-9 * once(x + carry[0], kernel).max()[None], None
            results = jax.vmap(lambda c: once(x + c, kernel + c).max())(carry)
            return 1e-9 * results, None

        return jax.lax.scan(step, clients, None, length=_NUM_STEPS)[0]

    clients = jnp.zeros(num_clients * (1 if mesh is None else mesh.size))
    if mesh is not None:
        spec = P(mesh.axis_names[0])
        repeatedly = jax.shard_map(
            repeatedly, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False
        )
    compiled = jax.jit(repeatedly)
    return lambda: compiled(clients)
