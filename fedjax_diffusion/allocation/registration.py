"""Registration of a user's own allocator method, with checks of its answers."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.allocation.allocation import Choice
from fedjax_diffusion.allocation.allocator import allocate
from fedjax_diffusion.allocation.example import example_problem
from fedjax_diffusion.allocation.float64 import float64_on_cpu
from fedjax_diffusion.allocation.method import Method
from fedjax_diffusion.allocation.method_spec import METHODS
from fedjax_diffusion.allocation.methods.fixed import fixed_bit_widths, list_usable
from fedjax_diffusion.allocation.problem import AllocationProblem
from fedjax_diffusion.allocation.round_facts import RoundFacts, first_round
from fedjax_diffusion.allocation.search.time_split import SplitFn, optimal_split, time_bracket
from fedjax_diffusion.allocation.status import client_status
from fedjax_diffusion.allocation.verification.verification import verify
from fedjax_diffusion.bits import BIT_WIDTHS, bit_width_index
from fedjax_diffusion.host.measurement_cache import measure_once
from fedjax_diffusion.host.own_names import add_name, check_names, digest_source, explain_trial
from fedjax_diffusion.host.platforms import has_started
from fedjax_diffusion.host.version import __version__
from fedjax_diffusion.types import Array

_KIND = "method"


class Decision(NamedTuple):
    """The answer of a user's own method.

    Attributes:
      num_bits: int [K], 1..16 or 32.
      compute_seconds: float64 [K], compute times, s; None: the times of least energy. The upload
        takes the rest of the deadline, with the least power that delivers it. A time that is too
        short for the full frequency, or too long for the full power, becomes the nearest possible.
        ``NAME:max_frequency`` ignores them: the same bits, computed at full frequency.
    """

    num_bits: Array
    compute_seconds: Array | None = None


DecideFn = Callable[[AllocationProblem, RoundFacts], Decision]
"""``decide(problem, facts) -> Decision``: pure JAX, traced in float64."""


def register_method(
    name: str,
    decide: DecideFn,
    *,
    respects_limits: bool = True,
    fallback: str | None = "largest",
) -> None:
    """Adds an allocator method of your own: ``allocate``, runs, baselines and studies know it.

    As soon as JAX has started, it is tried on small problems with late and absent clients, in a
    first and a later round, and its allocations are verified.

    Args:
      name: letters, digits and underscores, beginning with a letter.
      decide: ``decide(problem, facts) -> Decision``, a pure function of JAX arrays, float64 [K].
        Clients that are not present may be given any bits.
      respects_limits: bits are moved into ``min_bits..max_bits``, and lowered until they arrive in
        time; a client is late if none do. False: bits are sent as decided, or the client is late.
      fallback: the method while the clients' errors are unknown, as in the first round of mode
        ``update``; None: this one, which then sees errors of 0.

    Raises:
      ValueError: in one line: the name is taken, or an answer has other shapes or types, bits that
        are no bit widths, or an allocation that does not pass ``verify``.
    """
    if fallback is not None and fallback not in METHODS:
        raise ValueError(f"fallback must be one of {', '.join(METHODS)} or None, got {fallback!r}")
    method = Method(
        _OwnMethod(decide, respects_limits),
        respects_limits=respects_limits,
        sees_round=True,
        fallback=fallback,
    )
    digest = digest_source(decide)
    asked = {"method": name, "source": digest, "version": __version__}
    question = {**asked, "respects_limits": respects_limits}

    def check() -> bool:
        return measure_once(question, lambda: _check(name, decide, method))

    add_name(METHODS, _KIND, name, method, digest, check)
    if has_started():
        check_names()


@dataclass(frozen=True)
class _OwnMethod:
    """A user's decision as the choice of a method."""

    decide: DecideFn
    respects_limits: bool

    def __call__(self, problem: AllocationProblem, split: SplitFn, facts: RoundFacts) -> Choice:
        decision = self.decide(problem, facts)
        index = bit_width_index(jnp.asarray(decision.num_bits))
        if self.respects_limits:
            index, status = _keep_limits(problem, index)
            choice = fixed_bit_widths(problem, index)._replace(status=status)
        else:
            choice = fixed_bit_widths(problem, index)
        if decision.compute_seconds is None or split is not optimal_split:
            return choice
        shortest, longest = time_bracket(problem, choice.payload)
        seconds = jnp.clip(decision.compute_seconds, shortest, jnp.maximum(shortest, longest))
        return choice._replace(compute_seconds=seconds)


def _keep_limits(problem: AllocationProblem, index: Array) -> tuple[Array, Array]:
    """Returns indices of the nearest bit widths that are usable, and the clients' status."""
    usable, places = list_usable(problem), jnp.arange(len(BIT_WIDTHS))[:, None]
    is_below = usable & (places <= index[None, :])
    highest_below = len(BIT_WIDTHS) - 1 - jnp.argmax(is_below[::-1], axis=0)
    found = jnp.where(is_below.any(axis=0), highest_below, jnp.argmax(usable, axis=0))
    is_delivered = usable.any(axis=0)
    found = jnp.where(is_delivered, found, bit_width_index(problem.min_bits))
    return found, client_status(problem.min_bits <= problem.max_bits, is_delivered)


def _check_shapes(name: str, decide: DecideFn, problem: AllocationProblem) -> None:
    """Raises ValueError if a decision has other shapes or types than it must."""
    with explain_trial("method", name), jax.enable_x64(True):
        answer = jax.eval_shape(decide, problem, first_round(problem.num_clients))
    if not isinstance(answer, Decision):
        raise ValueError(f"method {name!r} must return a Decision, got {type(answer).__name__}")
    (num_bits, seconds), shape = answer, (problem.num_clients,)
    if num_bits.shape != shape or not jnp.issubdtype(num_bits.dtype, jnp.integer):
        got = f"{num_bits.dtype} {list(num_bits.shape)}"
        raise ValueError(f"method {name!r}: num_bits must be integers [K] = {shape}, got {got}")
    if seconds is not None and seconds.shape != shape:
        raise ValueError(f"method {name!r}: compute_seconds must be [K] = {shape}")


def _check(name: str, decide: DecideFn, method: Method) -> bool:
    """Returns True; raises ValueError if a method gives an allocation that does not hold."""
    problem = example_problem()
    num_clients = problem.num_clients
    later = dataclasses.replace(
        first_round(num_clients),
        round=np.int32(7),
        num_examples=np.arange(1.0, num_clients + 1),
        is_error_known=np.array(True),
        bit_width_error=np.ones((num_clients, len(BIT_WIDTHS))),
        update_squared_norm=np.array(1.0),
    )
    _check_shapes(name, decide, problem)
    answer = float64_on_cpu(decide)
    trials = (
        (problem, first_round(num_clients)),
        (problem.replace(is_present=np.arange(num_clients) != 1), later),
        (problem.replace(time_budget_seconds=3.0, max_bits=[1, 4, 8, 16, 32]), later),
    )
    for tried, facts in trials:
        num_bits, seconds = answer(tried, facts)
        if not np.isin(num_bits, BIT_WIDTHS).all():
            raise ValueError(f"method {name!r}: num_bits must be 1..16 or 32, got {num_bits}")
        if seconds is not None and not (np.isfinite(seconds) & (seconds > 0)).all():
            raise ValueError(f"method {name!r}: compute_seconds must be above 0, got {seconds}")
        found = verify(
            tried,
            allocate(tried, name, facts),
            respects_limits=method.respects_limits,
            respects_budget=False,
        )
        if not found.is_valid:
            raise ValueError(f"method {name!r}: its allocation is not valid: {found.violations[0]}")
    return True
