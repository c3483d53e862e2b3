"""Roots of many increasing scalar functions at once, independent of energy.

The searches take elementwise functions: entry ``i`` of the value depends only on entry ``i`` of the
argument and increases with it. A root outside the bracket is clipped exactly to the nearest end.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fedjax_diffusion.types import Array

_MAX_VALUE = 1e60


def bisect(
    fn: Callable[[Array], Array], lower: Array, upper: Array, num_iterations: int
) -> tuple[Array, Array]:
    """Halves the brackets ``[lower, upper]`` of the roots of increasing functions.

    Args:
      fn: elementwise, any shape to the same shape; not decreasing, a step function is allowed.
      lower: the brackets' lower ends.
      upper: the upper ends, ``lower <= upper``, equal shapes.
      num_iterations: number of halvings; 64 give float64 precision for any bracket within a decade.

    Returns:
      The last bracket ``(lower, upper)`` with ``fn(lower) < 0 <= fn(upper)``. Both ends are
      ``lower`` where ``fn(lower) >= 0`` already, and ``upper`` where ``fn(upper) < 0`` still.

    >>> low, high = bisect(lambda x: x**2 - 2.0, jnp.array(0.0), jnp.array(2.0), 30)
    >>> round(float(high), 5)
    1.41421
    """

    def halve(iteration, bracket):
        lower, upper = bracket
        # The first two evaluations are at the ends: a root beyond them closes the bracket there.
        ends = jnp.where(iteration == 0, lower, upper)
        x = jnp.where(iteration < 2, ends, lower + 0.5 * (upper - lower))
        is_past_root = fn(x) >= 0
        return jnp.where(is_past_root, lower, x), jnp.where(is_past_root, x, upper)

    return jax.lax.fori_loop(0, num_iterations + 2, halve, (lower, upper))


def newton(
    fn_and_slope: Callable[[Array], tuple[Array, Array]],
    lower: Array,
    upper: Array,
    max_iterations: int = 100,
) -> Array:
    """Finds roots of increasing functions by Newton steps; halves if a step leaves the bracket.

    Args:
      fn_and_slope: elementwise, ``x -> (fn(x), fn'(x))``; the slope is positive and finite inside
        the bracket.
      lower: the brackets' lower ends.
      upper: the upper ends, ``lower <= upper``, equal shapes.
      max_iterations: an upper limit; the loop ends once every entry moves only by rounding.

    Returns:
      The roots, shape of ``lower``, to a few units in the last place of the larger end of the
      bracket.

    >>> root = newton(lambda x: (x**2 - 2.0, 2.0 * x), jnp.array(0.5), jnp.array(2.0))
    >>> round(float(root), 5)
    1.41421
    """
    rounding = 64.0 * jnp.finfo(lower.dtype).eps * jnp.maximum(jnp.abs(lower), jnp.abs(upper))

    def step(state):
        lower, upper, x, _, iteration = state
        value, slope = fn_and_slope(x)
        lower, upper = jnp.where(value <= 0, x, lower), jnp.where(value >= 0, x, upper)
        target = x - value / slope
        is_inside = (target >= lower) & (target <= upper)
        target = jnp.where(is_inside, target, lower + 0.5 * (upper - lower))
        # The first two evaluations are at the ends: a root beyond them closes the bracket there.
        target = jnp.where(iteration == 0, upper, target)
        is_moving = (iteration == 0) | jnp.any(jnp.abs(target - x) > rounding)
        return lower, upper, target, is_moving, iteration + 1

    def is_unfinished(state):
        return state[3] & (state[4] < max_iterations)

    state = (lower, upper, lower, jnp.array(True), jnp.array(0, jnp.int32))
    return jax.lax.while_loop(is_unfinished, step, state)[2]


def halley(
    fn: Callable[[Array], tuple[Array, Array, Array]],
    steepest: Callable[[Array], Array],
    lower: Array,
    upper: Array,
    start: Array,
    tolerance: float,
    max_iterations: int = 100,
) -> Array:
    """Solves ``g(x) = 1`` for positive functions of positive x, by Halley's method in ``log x``.

    With ``f = log g`` and its derivatives by ``log x`` a step is
    ``d = -2 f f' / (2 f'^2 - f f'')``.
    Here ``2 (g - 1) / (g + 1) = 2 tanh(f / 2)`` replaces ``f`` and ``(2 + d) / (2 - d)`` replaces
    ``e^d``. They agree to the order of the method, bound the step, and need no logarithm and no
    exponential, which would dominate the cost on a CPU.

    Args:
      fn: elementwise, ``x -> (g, f', f'')`` with ``f' > 0`` and ``|f''| < f'^2 / 2``.
      steepest: elementwise, ``x ->`` a cheap upper bound on ``f'``.
      lower: the brackets' lower ends, > 0.
      upper: the upper ends, equal shapes; where they are below ``lower``, they are the result.
      start: the initial x > 0; clipped to the bracket.
      tolerance: of ``f``; the loop ends once no step changes ``f`` by more. The remaining ``f`` is
        then about a twelfth of the cube of that change.
      max_iterations: an upper limit.

    Returns:
      The roots, shape of ``lower``.

    >>> with jax.enable_x64(True):
    ...     x = jnp.array(1.0)
    ...     root = halley(
    ...         lambda x: (x**2 / 2.0, 2.0, 0.0), lambda x: 2.0, 0.1 * x, 9.0 * x, x, tolerance=1e-4
    ...     )
    >>> round(float(root), 5)
    1.41421
    """

    def step(state):
        x, _, iteration = state
        value, slope, curvature = fn(x)
        value = jnp.minimum(value, _MAX_VALUE)
        above, below = 1.0 + value, 1.0 - value
        whole = slope * slope * above + below * curvature
        target = x * (whole + below * slope) / (whole - below * slope)
        target = jnp.minimum(jnp.maximum(target, lower), upper)
        is_moving = jnp.any(jnp.abs(target - x) * steepest(x) > tolerance * x)
        return target, is_moving, iteration + 1

    def is_unfinished(state):
        return state[1] & (state[2] < max_iterations)

    start = jnp.minimum(jnp.maximum(start, lower), upper)
    return jax.lax.while_loop(
        is_unfinished, step, (start, jnp.array(True), jnp.array(0, jnp.int32))
    )[0]
