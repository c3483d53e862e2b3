"""Allocation problem of one round: devices, channel, payload, error budget and deadline."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from fedjax_diffusion.allocation.float64 import float64_on_cpu
from fedjax_diffusion.bits import BIT_WIDTHS, UNIFORM_ERROR_CURVE, bit_width_index
from fedjax_diffusion.edge import costs
from fedjax_diffusion.types import Array

PER_CLIENT = (
    "compute_cycles",
    "effective_capacitance",
    "max_frequency_hz",
    "channel_gain",
    "bandwidth_hz",
    "max_power_watts",
    "min_bits",
    "max_bits",
    "error_weight",
    "is_present",
)
"""Fields of a problem that may differ between clients, without the tables per bit width."""
_SCALARS = (
    "noise_density_watts_per_hz",
    "num_parameters",
    "error_budget",
    "time_budget_seconds",
)
_BIT_WIDTHS = np.array(BIT_WIDTHS)
_LEAST, _MOST, _LEAST_GAIN = 1e-60, 1e60, 1e-300
"""Limits of positive numbers, whose squares and cubes float64 then holds."""
_MAX_WHOLE = 2**53
_MAY_BE_ZERO = ("error_weight", "overhead_bits", "bit_width_error")


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False)
class AllocationProblem:
    """Minimization of the energy of one round, subject to its deadline and its error budget.

    ``min sum_k kappa_k C_k^3 / tau_k^2 + t_k p_k(t_k, S_k(b_k))`` over b, tau, t subject to
    ``sum_k c_k / (2^{b_k} - 1)^2 <= eps``, ``tau_k + t_k <= T``, ``C_k / tau_k <= F_k``, ``p_k <=
    P_k`` and ``min_bits_k <= b_k <= max_bits_k``.

    Numbers, lists and arrays are accepted; a field per client may be one number for all. They are
    stored as float64 NumPy arrays of the shapes below, ``is_present`` as bool. The class is a
    pytree: pass it to a jitted function, or stack several along a leading axis and ``vmap`` over
    them (a rebuilt pytree is not validated again).

    Attributes:
      compute_cycles: [K] > 0, C, CPU cycles of the round's local training. Numbers > 0 lie in
        [1e-60, 1e60].
      effective_capacitance: [K] > 0, kappa, J s^2 / cycle^3.
      max_frequency_hz: [K] > 0, F.
      channel_gain: [K] > 0, h, linear power gain, in [1e-300, 1e60].
      bandwidth_hz: [K] > 0, W.
      max_power_watts: [K] > 0, P.
      noise_density_watts_per_hz: [] > 0, N0.
      num_parameters: [] whole number in 1..2^53, d.
      overhead_bits: [] or [B] >= 0, bits of one upload beyond its codes, for all bit widths or for
        each.
      min_bits: [K] in BIT_WIDTHS, the bit width that the client demands.
      max_bits: [K] in BIT_WIDTHS, the largest that it can handle. If it is below ``min_bits``, the
        client is infeasible; no error is raised.
      error_weight: [K] >= 0, c, its aggregation weight squared times the scale of its squared
        quantization error.
      error_budget: [] >= 0, eps; infinity or None for no budget.
      time_budget_seconds: [] > 0, T.
      bit_width_payload_bits: [K, B] > 0 or None; replaces the payload ``8 ceil(d b / 8) +
        overhead``.
      bit_width_error: [K, B] >= 0 or None; replaces the client's term of the error, ``c_k / (2^b -
        1)^2``, so it holds the aggregation weight squared already.
      is_present: bool [K]; a client that is not present never participates. Its status is
        INFEASIBLE_DEMAND, or INFEASIBLE_TIME from a method that ignores demands. Its part of a
        shared band goes to the others.

    Raises:
      ValueError: a field is out of range or its shape does not fit the others.

    Source: arXiv 2403.04430, problem P2; the statement is this project's own.
    """

    compute_cycles: Any
    effective_capacitance: Any
    max_frequency_hz: Any
    channel_gain: Any
    bandwidth_hz: Any
    max_power_watts: Any
    noise_density_watts_per_hz: Any
    num_parameters: Any
    overhead_bits: Any
    min_bits: Any
    max_bits: Any
    error_weight: Any
    error_budget: Any
    time_budget_seconds: Any
    bit_width_payload_bits: Any = None
    bit_width_error: Any = None
    is_present: Any = True

    def __post_init__(self):
        for name, value in _validate(vars(self)).items():
            object.__setattr__(self, name, value)

    @property
    def num_clients(self) -> int:
        """K."""
        return self.compute_cycles.shape[-1]

    def replace(self, **fields: Any) -> "AllocationProblem":
        """Returns a copy with some fields changed, validated like a new one."""
        return dataclasses.replace(self, **fields)

    def tree_flatten_with_keys(self):
        """Returns the fields in their order, with their names."""
        return [(key, getattr(self, key.name)) for key in _KEYS], _NAMES

    @classmethod
    def tree_unflatten(cls, names, leaves):
        """Rebuilds the problem without validation: a transformation's leaves are not numbers."""
        problem = object.__new__(cls)
        for name, leaf in zip(names, leaves, strict=True):
            object.__setattr__(problem, name, leaf)
        return problem


_NAMES = tuple(field.name for field in dataclasses.fields(AllocationProblem))
_KEYS = tuple(map(jax.tree_util.GetAttrKey, _NAMES))


def with_leaves(problem: AllocationProblem, **leaves: Array) -> AllocationProblem:
    """Returns the problem with some fields changed; not validated, so they may be traced."""
    named, names = problem.tree_flatten_with_keys()
    kept = [leaf for _, leaf in named]
    changed = [leaves.get(name, leaf) for name, leaf in zip(names, kept, strict=True)]
    return AllocationProblem.tree_unflatten(names, changed)


def pass_by_absent(problem: AllocationProblem) -> AllocationProblem:
    """Returns the problem with limits that leave absent clients no bit width.

    They demand the most bits and handle the least, so that a reader of the limits excludes them.
    To be called under float64.
    """
    most, least = float(BIT_WIDTHS[-1]), float(BIT_WIDTHS[0])
    return with_leaves(
        problem,
        min_bits=jnp.where(problem.is_present, problem.min_bits, most),
        max_bits=jnp.where(problem.is_present, problem.max_bits, least),
    )


def bit_width_payload(problem: AllocationProblem, index: Array) -> Array:
    """Returns each client's payload in bits, float64 [K], at ``BIT_WIDTHS[index]``, int [K]."""
    if problem.bit_width_payload_bits is not None:
        return _take_bit_width(problem.bit_width_payload_bits, index)
    num_bits = jnp.array(BIT_WIDTHS, jnp.float64)
    overhead_bits = jnp.broadcast_to(problem.overhead_bits, num_bits.shape)
    return costs.payload_bits(problem.num_parameters, num_bits, overhead_bits)[index]


def bit_width_error(problem: AllocationProblem, index: Array) -> Array:
    """Returns each client's term of the squared error, float64 [K], at ``BIT_WIDTHS[index]``."""
    if problem.bit_width_error is not None:
        return _take_bit_width(problem.bit_width_error, index)
    return problem.error_weight * jnp.array(UNIFORM_ERROR_CURVE[:, 0], jnp.float64)[index]


@float64_on_cpu
def uplink_bits(problem: AllocationProblem, num_bits: Array | np.ndarray) -> Array:
    """Returns the bits that each client uploads, float64 [..., K] whole numbers; 0 at 0 bits.

    Args:
      problem: K clients.
      num_bits: int32 [..., K], 0, 1..16 or 32: the ``num_bits`` of an allocation, or its
        ``requested_bits``; of several, stacked.
    """

    def count(bits: Array) -> Array:
        payload = bit_width_payload(problem, bit_width_index(jnp.maximum(bits, 1)))
        return jnp.where(bits > 0, payload, 0.0)

    return jnp.vectorize(count, signature="(k)->(k)")(num_bits)


def _take_bit_width(table: Array, index: Array) -> Array:
    return jnp.take_along_axis(table, index[:, None], axis=1)[:, 0]


def _validate(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields as arrays of their stored shapes and types, or raises ValueError."""
    arrays: dict[str, Any] = {name: _to_array(name, value) for name, value in fields.items()}
    num_clients = _count_clients(arrays)
    for name in PER_CLIENT:
        arrays[name] = np.broadcast_to(arrays[name], (num_clients,)).copy()
    _check_shape(arrays, _SCALARS, [()])
    _check_shape(arrays, ("overhead_bits",), [(), (len(BIT_WIDTHS),)])
    tables = [
        name for name in ("bit_width_payload_bits", "bit_width_error") if arrays[name] is not None
    ]
    _check_shape(arrays, tables, [(num_clients, len(BIT_WIDTHS))])
    for name, array in arrays.items():
        if array is not None:
            _check_range(name, array)
    arrays["is_present"] = arrays["is_present"].astype(bool)
    return arrays


def _to_array(name: str, value: ArrayLike | None) -> np.ndarray | None:
    if value is None:
        return None if name in ("bit_width_payload_bits", "bit_width_error") else _no_value(name)
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} = {value!r}: must be a number or a list of numbers") from None


def _no_value(name: str) -> np.ndarray:
    if name != "error_budget":
        raise ValueError(f"{name} = None: must be a number or a list of numbers")
    return np.asarray(np.inf)


def _count_clients(arrays: dict[str, Any]) -> int:
    """Returns the common length of the fields per client."""
    longest, num_clients = "", 1
    for name in (*PER_CLIENT, "bit_width_payload_bits", "bit_width_error"):
        array = arrays[name]
        if array is None or array.ndim == 0:
            continue
        if array.shape[0] == 0 or (name in PER_CLIENT and array.ndim != 1):
            raise ValueError(f"{name} has shape {array.shape}: must be one number or [K], K >= 1")
        if 1 not in (num_clients, array.shape[0]) and array.shape[0] != num_clients:
            raise ValueError(
                f"{name} has {array.shape[0]} clients, {longest} has {num_clients}: the numbers "
                "must be equal, or one for all"
            )
        if array.shape[0] > num_clients:
            longest, num_clients = name, array.shape[0]
    return num_clients


def _check_shape(arrays: dict[str, Any], names, allowed: list[tuple[int, ...]]) -> None:
    for name in names:
        if arrays[name].shape not in allowed:
            words = " or ".join(map(_describe_shape, allowed))
            raise ValueError(f"{name} has shape {arrays[name].shape}: must be {words}")


def _describe_shape(shape: tuple[int, ...]) -> str:
    rows = f"{shape[0]} rows of " if len(shape) == 2 else ""
    return f"{rows}{shape[-1]} numbers" if shape else "one number"


def _check_range(name: str, array: np.ndarray) -> None:
    """Raises ValueError at the first entry outside the field's range."""
    is_allowed, allowed = is_in_range(name, array)
    if not is_allowed.all():
        index = tuple(int(i) for i in np.argwhere(~is_allowed)[0])
        place = f"[{', '.join(map(str, index))}]" if index else ""
        raise ValueError(f"{name}{place} = {array[index]:.12g}: must be {allowed}")


def is_in_range(name: str, values: np.ndarray) -> tuple[np.ndarray, str]:
    """Returns a mask of the values that a field allows, and its range in words.

    >>> is_in_range("min_bits", np.array([8.0, 20.0]))
    (array([ True, False]), '1..16 or 32')
    """
    if name in ("min_bits", "max_bits"):
        return (values[..., None] == _BIT_WIDTHS).any(-1), "1..16 or 32"
    if name == "is_present":
        return (values == 0) | (values == 1), "0 or 1, for false or true"
    if name == "num_parameters":
        is_whole = (values >= 1) & (values == np.floor(values)) & (values <= _MAX_WHOLE)
        return is_whole, "a whole number >= 1 and <= 2^53"
    if name == "error_budget":
        return values >= 0, ">= 0, or infinity for none"
    if name in _MAY_BE_ZERO:
        return (values >= 0) & np.isfinite(values), ">= 0 and finite"
    least = _LEAST_GAIN if name == "channel_gain" else _LEAST
    return (values >= least) & (values <= _MOST), f"> 0 and finite, in [{least:g}, {_MOST:g}]"
