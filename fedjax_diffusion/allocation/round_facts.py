"""Facts of a round that are not in its allocation problem, for methods that users register."""

import flax.struct
import numpy as np

from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.types import Array


@flax.struct.dataclass
class RoundFacts:
    """A round and the measurements before it, of the clients of its problem.

    Attributes:
      round: [], its number, from 0.
      num_examples: float64 [K], the clients' examples, by which the aggregate weighs them.
      is_error_known: bool [], whether the errors of the problem are known yet.
      bit_width_error: float64 [K, 17], bound on the squared error of each client's last upload at
        each of ``BIT_WIDTHS``, unweighted, in squared parameter units; the mean of the others'
        for a client that has not uploaded yet; 0 while none is known.
      update_squared_norm: float64 [], squared norm of the last mean update; 0 before the first.
    """

    round: Array | np.ndarray
    num_examples: Array | np.ndarray
    is_error_known: Array | np.ndarray
    bit_width_error: Array | np.ndarray
    update_squared_norm: Array | np.ndarray


def first_round(num_clients: int) -> RoundFacts:
    """Returns the facts of a first round of K clients with equal data; nothing is measured."""
    return RoundFacts(
        round=np.zeros((), np.int32),
        num_examples=np.ones(num_clients),
        is_error_known=np.zeros((), bool),
        bit_width_error=np.zeros((num_clients, len(BIT_WIDTHS))),
        update_squared_norm=np.zeros(()),
    )
