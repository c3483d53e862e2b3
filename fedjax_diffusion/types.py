"""Type aliases, and the legend of shapes for all docstrings.

======  ==========================================================================
letter  axis
======  ==========================================================================
S       runs of a sweep: ``jax.vmap`` of ``Simulator.pure_step`` over keys and states
K       clients (edge devices) of the federation
M       cohort: the clients selected for one round, ``M <= K``
N       examples; ``N_max`` is the largest number that one client has
B       batch of one local step of one client. In ``allocation``: bit widths
H W C   height, width, channels of an image
T       diffusion steps. In ``allocation``: the round's deadline, a scalar
L       tensors (leaves) of a model
d       parameters of a model, summed over its tensors
======  ==========================================================================

``[K]`` is a vector with one entry per client, ``[]`` a scalar. Units are part of
the name: ``_joules _seconds _hz _bits _watts``.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import flax.struct
import jax

Array: TypeAlias = jax.Array
Key: TypeAlias = jax.Array
"""A typed PRNG key, ``jax.random.key``. A function that takes a key consumes it."""
PyTree: TypeAlias = Any
Params: TypeAlias = PyTree
"""A pytree of float arrays: the L tensors of a model."""


@flax.struct.dataclass
class Batch:
    """The examples of one local step of one client.

    Attributes:
      images: float32 [B, H, W, C] in [-1, 1].
      labels: int32 [B].
    """

    images: Array
    labels: Array


LossFn: TypeAlias = Callable[[Params, Batch, Key], Array]
"""``loss_fn(params, batch, key) -> float32 []``, the mean over the batch."""
BatchFn: TypeAlias = Callable[[Key, Any, Array, Array], Batch]
"""``batch_fn(key, data, row, step) -> Batch``: local step ``step`` of row ``row`` of the data."""
