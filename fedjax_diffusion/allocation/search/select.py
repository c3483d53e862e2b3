"""Choice between two results of a search under ``jit``."""

from typing import TypeVar

import jax
import jax.numpy as jnp

from fedjax_diffusion.types import Array

T = TypeVar("T")


def select(condition: Array, if_true: T, if_false: T) -> T:
    """Returns one of two trees of arrays by a bool that broadcasts to every leaf.

    >>> tuple(map(int, select(jnp.array(False), (1, 2), (3, 4))))
    (3, 4)
    """
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), if_true, if_false)
