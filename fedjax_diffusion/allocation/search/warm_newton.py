"""Newton's method with a start, a bracket, and data carried from one evaluation to the next.

Independent of energy. For roots that are searched repeatedly, each near the last one, when
intermediate results of the function are needed as well.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from fedjax_diffusion.types import Array

C = TypeVar("C")
_MAX_ITERATIONS = 200
_ROUNDING = 1e-14


def newton_from(
    look: Callable[[Array, C], tuple[Array, Array, C]],
    start: Array,
    lower: Array,
    upper: Array,
    carry: C,
) -> tuple[Array, C]:
    """Finds roots of increasing functions by Newton steps that stay in their shrinking brackets.

    A step that would leave the bracket, or that is not at most half as long as the one before,
    halves the bracket instead: plain Newton steps can cycle.

    Args:
      look: ``(x, carry) -> (fn(x), fn'(x), carry)``, elementwise in x. A value of exactly 0 says
        that x is the root up to rounding. Infinite values and slopes of 0 are allowed.
      start: the first x; clipped to the bracket.
      lower: the brackets' lower ends, finite.
      upper: the upper ends, ``lower <= upper``, equal shapes. A root outside is clipped.
      carry: a pytree of arrays, passed from each evaluation to the next.

    Returns:
      The roots, and the last carry. Its evaluation was one step of about rounding,
      ``1e-14 max(|x|, 1)``, away from the roots.

    >>> def look(x, num_looks):
    ...     return x**2 - 2.0, 2.0 * x, num_looks + 1
    >>> root, num_looks = newton_from(look, jnp.array(1.5), jnp.array(0.0), jnp.array(2.0), 0)
    >>> round(float(root), 5), int(num_looks) < 8
    (1.41421, True)
    """

    def step(state):
        x, lower, upper, last_step, carry, _, iteration = state
        value, slope, carry = look(x, carry)
        lower, upper = jnp.where(value <= 0, x, lower), jnp.where(value >= 0, x, upper)
        target = x - value / slope
        rounding = _ROUNDING * jnp.maximum(jnp.abs(x), 1.0)
        is_short = jnp.abs(target - x) <= jnp.maximum(0.5 * last_step, rounding)
        is_sound = is_short & (target >= lower) & (target <= upper)
        target = jnp.where(is_sound, target, lower + 0.5 * (upper - lower))
        last_step = jnp.abs(target - x)
        return target, lower, upper, last_step, carry, jnp.any(last_step > rounding), iteration + 1

    def is_unfinished(state):
        *_, is_moving, iteration = state
        return is_moving & (iteration < _MAX_ITERATIONS)

    x = jnp.clip(start, lower, upper)
    anything = jnp.full_like(x, jnp.inf)
    state = (x, lower, upper, anything, carry, jnp.array(True), jnp.array(0, jnp.int32))
    x, _, _, _, carry, _, _ = jax.lax.while_loop(is_unfinished, step, state)
    return x, carry
