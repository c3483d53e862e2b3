"""Random keys: (run key, stream, round, client id) -> key. The only ``fold_in`` of the package.

No key is ever stored. A random draw depends only on the run's seed, stream, round, client and step.
So a resumed run draws the same numbers as an uninterrupted one, and a client draws the same numbers
in a loop, under ``vmap`` and on another device.
"""

from enum import IntEnum
from typing import Annotated, TypeAlias

import jax
import numpy as np
from jax.core import Tracer
from jax.sharding import Sharding

from fedjax_diffusion.types import Array, Key
from fedjax_diffusion.values import Range, check_value


class Stream(IntEnum):
    """Purposes of keys. The numbers determine a run's results: append, never renumber."""

    PARTITION = 0
    FLEET = 1
    INIT = 2
    COHORT = 3
    SHADOWING = 4
    FADING = 5
    BATCH = 6
    LOSS = 7
    QUANTIZE = 8
    SAMPLE = 9
    DOWNLINK = 10
    FAULT = 11


Seed: TypeAlias = Annotated[int, Range(0, 2**32 - 1)]
"""The key of a larger one would be that of another."""


def seed_to_key(seed: int) -> Key:
    """Returns the run's key. It is threefry: its bits do not depend on vmap, loop or sharding.

    Args:
      seed: in 0..2^32 - 1; a traced one is not checked.

    Raises:
      ValueError: the seed is out of range: its key would be that of another.
    """
    if isinstance(seed, Tracer):
        return jax.random.key(seed, impl="threefry2x32")
    check_value("seed", seed, Seed)
    # The same as ``jax.random.key``, without programs to compile.
    return words_to_key(jax.device_put(np.array([0, seed], np.uint32)))


def words_to_key(words: Array) -> Key:
    """Returns the key of ``jax.random.key_data(key)``, uint32 [2], a run's key."""
    return jax.random.wrap_key_data(words, impl="threefry2x32")


def stream_key(
    run_key: Key, stream: Stream, round: Array | int = 0, client: Array | int | None = None
) -> Key:
    """Returns the key of one stream in one round, of one client if one is given.

    Args:
      run_key: [], from ``seed_to_key``.
      stream: the purpose of the key.
      round: int32 [], the federated round (or any counter of the stream), may be traced.
      client: int32 [], the client's id in 0..K-1 (not its place in the cohort), may be traced.

    >>> run_key = seed_to_key(0)
    >>> a, b = (stream_key(run_key, Stream.BATCH, 3, client) for client in (0, 1))
    >>> bool((a == b).all())
    False
    """
    key = jax.random.fold_in(jax.random.fold_in(run_key, int(stream)), round)
    return key if client is None else jax.random.fold_in(key, client)


def step_key(key: Key, step: Array | int) -> Key:
    """Returns the key of one step (a local step, a pass, a tensor) of the stream of ``key``."""
    return jax.random.fold_in(key, step)


def step_keys(key: Key, steps: Array) -> Key:
    """Returns ``step_key`` for each of ``steps`` int32 [n]: keys [n]."""
    return jax.vmap(step_key, in_axes=(None, 0))(key, steps)


def place_key(key: Key, placement: Sharding | None) -> Key:
    """Returns the key on the devices of ``placement``, also those of other processes."""
    words = jax.device_put(jax.random.key_data(key), placement)
    return jax.random.wrap_key_data(words, impl=jax.random.key_impl(key))


def stream_seed(seed: int, stream: Stream) -> list[int]:
    """Returns the seed of one stream on the host, for ``np.random.default_rng``."""
    return [seed, int(stream)]
