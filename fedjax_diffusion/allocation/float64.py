"""Evaluation of pure functions on the CPU in float64, which an accelerator may not have."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import jax
import numpy as np

from fedjax_diffusion.host.own_names import check_names
from fedjax_diffusion.host.platforms import cpu_device

TINY = 1e-300
"""Least denominator, used where the true one may be zero."""
P = ParamSpec("P")
R = TypeVar("R")


def float64_on_cpu(fn: Callable[P, R], static_argnames: tuple[str, ...] = ()) -> Callable[P, R]:
    """Returns ``fn`` jitted on the CPU in float64; its result has NumPy arrays as leaves.

    Args:
      fn: pure; takes and returns pytrees of host arrays.
      static_argnames: arguments that are not arrays; each of their values compiles once per shape.
    """
    jitted = jax.jit(fn, static_argnames=static_argnames)

    @wraps(fn)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        check_names()
        with jax.enable_x64(True), jax.default_device(cpu_device()):
            return jax.tree.map(np.asarray, jitted(*args, **kwargs))

    return run
