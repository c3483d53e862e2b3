"""Faults of the simulated world: clients that fail in a round, drawn at random."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.host.platforms import cpu_device
from fedjax_diffusion.keys import Stream, stream_key
from fedjax_diffusion.types import Array, Key
from fedjax_diffusion.values import Probability, Range, check_fields


class Fault(IntEnum):
    """Faults of a client, in the order in which a round meets them; a client has at most one."""

    NONE = 0
    DROPPED_BEFORE_UPLOAD = 1
    DIVERGING = 2
    DROPPED_DURING_UPLOAD = 3
    LATE = 4
    DAMAGED = 5


_KINDS = tuple(fault for fault in Fault if fault != Fault.NONE)
_LOST = (Fault.DROPPED_BEFORE_UPLOAD, Fault.DROPPED_DURING_UPLOAD, Fault.LATE, Fault.DAMAGED)
"""Faults after which the server has no message."""


@dataclass(frozen=True)
class FaultsConfig:
    """Probabilities of faults, each for one client in one round; all zero: there are none.

    Of several faults that are drawn for a client, the first one in the order below happens.

    Attributes:
      dropped_before_upload: in [0, 1], that a device stops while it computes.
      diverging: in [0, 1], that the training of a client diverges.
      dropped_during_upload: in [0, 1], that a device stops while it sends.
      late: in [0, 1], that a whole message arrives after the deadline.
      damaged: in [0, 1], that a message is changed on the way: its CRC-32 does not match.
      diverging_factor: a diverging client's update is multiplied by it, in
        [-3e38, 3e38]; None: the update is NaN.

    Raises:
      ValueError: a value is out of range.
    """

    dropped_before_upload: Probability = 0.0
    diverging: Probability = 0.0
    dropped_during_upload: Probability = 0.0
    late: Probability = 0.0
    damaged: Probability = 0.0
    diverging_factor: Annotated[float, Range(-3e38, 3e38)] | None = None

    def __post_init__(self):
        check_fields(self, "faults")

    @property
    def probabilities(self) -> tuple[float, ...]:
        """Probability of each fault but ``NONE``, in the order of ``Fault``."""
        return tuple(getattr(self, fault.name.lower()) for fault in _KINDS)


class RoundFaults(NamedTuple):
    """Faults of a round and their effects, in the cohort's order.

    Attributes:
      kind: int [M], a ``Fault``; ``NONE`` for a client that does not participate.
      num_bits: int [M], bits of the clients whose message may arrive; 0 for the others. A lost
        message changes nothing, so its training is not simulated.
      compute_share: float64 [M], share of the planned computing that is done, in [0, 1].
      lost_share: float64 [M], share of the planned message that was sent in vain, in [0, 1]; 0 if
        it is not lost.
      update_factor: float32 [M], of each client's update: 1 if it does not diverge; None if no
        client of the run can diverge by a fault.
    """

    kind: np.ndarray
    num_bits: np.ndarray
    compute_share: np.ndarray
    lost_share: np.ndarray
    update_factor: np.ndarray | None

    @property
    def is_lost(self) -> np.ndarray:
        """Whether a client's message never reaches the server whole and on time, bool [M]."""
        return np.isin(self.kind, _LOST)


def make_no_faults(num_bits: np.ndarray) -> RoundFaults:
    """Returns a round without faults, of clients with these bits, int [M]."""
    size = len(num_bits)
    return RoundFaults(np.full(size, Fault.NONE), num_bits, np.ones(size), np.zeros(size), None)


DrawFaults = Callable[[Key, int, np.ndarray, np.ndarray], RoundFaults | None]
"""``draw(run_key, round, cohort [M], num_bits [M]) -> RoundFaults``; None: there are none."""


def make_draw_faults(config: FaultsConfig) -> DrawFaults:
    """Returns the function that draws the faults of a round.

    Guarantees:
      A client's draws depend only on the run's key, the round and the client's id. If every
      probability is 0, nothing is drawn.
    """
    probabilities = np.array(config.probabilities)

    def draw_none(run_key: Key, round: int, cohort: np.ndarray, num_bits: np.ndarray) -> None:
        return None

    def draw(run_key: Key, round: int, cohort: np.ndarray, num_bits: np.ndarray) -> RoundFaults:
        with jax.default_device(cpu_device()):  # so that it does not wait for an accelerator
            drawn = np.asarray(_draw(run_key, np.int32(round), np.asarray(cohort, np.int32)))
        happens = (drawn[:, 1:] < probabilities) & (np.asarray(num_bits) > 0)[:, None]
        kind = np.where(happens.any(axis=1), 1 + happens.argmax(axis=1), Fault.NONE)
        return _to_effects(config, kind, np.asarray(num_bits), drawn[:, 0].astype(np.float64))

    return draw if probabilities.any() else draw_none


def _to_effects(
    config: FaultsConfig, kind: np.ndarray, num_bits: np.ndarray, share: np.ndarray
) -> RoundFaults:
    """Returns the faults with their effects; a device that stops has done ``share`` [M]."""
    lost_share = np.isin(kind, (Fault.LATE, Fault.DAMAGED)).astype(np.float64)
    factor = None
    if config.diverging > 0:
        ruined = np.nan if config.diverging_factor is None else config.diverging_factor
        factor = np.where(kind == Fault.DIVERGING, ruined, 1.0).astype(np.float32)
    return RoundFaults(
        kind=kind,
        num_bits=np.where(np.isin(kind, _LOST), 0, num_bits),
        compute_share=np.where(kind == Fault.DROPPED_BEFORE_UPLOAD, share, 1.0),
        lost_share=np.where(kind == Fault.DROPPED_DURING_UPLOAD, share, lost_share),
        update_factor=factor,
    )


@jax.jit
def _draw(run_key: Key, round: Array, cohort: Array) -> Array:
    """Returns the draws of each client, uniform in [0, 1): a share, and one per fault."""

    def draw_client(client: Array) -> Array:
        key = stream_key(run_key, Stream.FAULT, round, client)
        return jax.random.uniform(key, (len(Fault),), jnp.float32)

    return jax.vmap(draw_client)(cohort)
