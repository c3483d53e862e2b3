"""Maximum of a concave bound over the price of a shared resource, independent of energy."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from fedjax_diffusion.allocation.search.select import select
from fedjax_diffusion.types import Array

M = TypeVar("M")

_MAX_EVALUATIONS = 60
_CLOSE_ENOUGH = 1e-9
_FIRST_STEP, _MAX_STEP = 0.5, 8.0


class Tried(NamedTuple):
    """Evaluation at one price mu, [] each.

    Attributes:
      bound: ``D(mu)``.
      slope: ``dD / dmu``; at a kink one of its slopes.
      known: an upper limit on the bound at any price.
    """

    bound: Array
    slope: Array
    known: Array


class _Line(NamedTuple):
    """A supporting line of the bound: log mu, D and dD / dmu at its point of contact."""

    log_price: Array
    bound: Array
    slope: Array


class _State(NamedTuple):
    low: _Line
    high: _Line
    best: Array
    target: Array
    step: Array
    is_open: Array
    num_evaluations: Array


def search_price(evaluate: Callable[[Array, M], tuple[Tried, M]], log_price: Array, memory: M) -> M:
    """Tries prices until the best bound is within 1e-9 of the greatest possible one.

    Two supporting lines enclose the maximum. Their crossing is the next price to try and bounds the
    maximum from above (Kelley's cutting planes, in one dimension).

    Args:
      evaluate: ``(log mu, memory) -> (tried, memory)``, the bound concave in mu > 0; the memory is
        a pytree for its results.
      log_price: [], the first price.
      memory: the initial memory.

    Returns:
      The last memory.
    """

    def advance(carried):
        state, memory = carried
        tried, memory = evaluate(state.target, memory)
        line = _Line(state.target, tried.bound, tried.slope)
        rises = line.slope > 0
        low, high = select(rises, line, state.low), select(rises, state.high, line)
        best = jnp.maximum(tried.bound, state.best)
        is_enclosed = jnp.isfinite(low.log_price) & jnp.isfinite(high.log_price)
        crossing, ceiling = _cross(low, high)
        outward = jnp.where(rises, state.step, -state.step)
        target = jnp.where(is_enclosed, crossing, line.log_price + outward)
        ceiling = jnp.minimum(jnp.where(is_enclosed, ceiling, jnp.inf), tried.known)
        is_open = ceiling - best > _CLOSE_ENOUGH * jnp.abs(best)
        step = jnp.minimum(2.0 * state.step, _MAX_STEP)
        return _State(low, high, best, target, step, is_open, state.num_evaluations + 1), memory

    def is_unfinished(carried):
        state, _ = carried
        return state.is_open & (state.num_evaluations < _MAX_EVALUATIONS)

    zero, infinity = jnp.zeros_like(log_price), jnp.full_like(log_price, jnp.inf)
    start = _State(
        low=_Line(-infinity, zero, zero),
        high=_Line(infinity, zero, zero),
        best=-infinity,
        target=log_price,
        step=jnp.full_like(log_price, _FIRST_STEP),
        is_open=jnp.array(True),
        num_evaluations=jnp.array(0, jnp.int32),
    )
    return jax.lax.while_loop(is_unfinished, advance, (start, memory))[1]


def _cross(low: _Line, high: _Line) -> tuple[Array, Array]:
    """Returns log mu and the value at the crossing of two supporting lines."""
    low_price, high_price = jnp.exp(low.log_price), jnp.exp(high.log_price)
    bend = low.slope - high.slope
    rise = high.bound - low.bound + low.slope * low_price - high.slope * high_price
    price = jnp.clip(rise / jnp.where(bend > 0, bend, 1.0), low_price, high_price)
    ceiling = jnp.minimum(
        low.bound + low.slope * (price - low_price), high.bound + high.slope * (price - high_price)
    )
    return jnp.log(jnp.maximum(price, jnp.finfo(price.dtype).tiny)), ceiling
