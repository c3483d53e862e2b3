"""Bits by round: a list or a straight line, the same for all clients or by their weights."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from fedjax_diffusion.bits import MAX_BITS, BitWidth
from fedjax_diffusion.values import MAX_COUNT, Range, Size, check_fields, shorten


@dataclass(frozen=True)
class BitSchedule:
    """Bits of every round, for ``allocator.method = "schedule"``.

    Attributes:
      bits: bit width by round, 1..16 or 32 each; the last one holds for all later rounds.
      linear_rounds: None, or >= 2: ``bits`` are then (first, last), 1..16, with a straight line
        between them over so many rounds.
      by_weight: clients' steps follow their weights in the aggregate, see ``weigh_steps``; the
        bits must then be 1..16.

    Raises:
      ValueError: a value is out of range.
    """

    bits: Annotated[tuple[BitWidth, ...], Size(0, 1_000_000)] = ()
    linear_rounds: Annotated[int, Range(2, MAX_COUNT)] | None = None
    by_weight: bool = False

    def __post_init__(self):
        check_fields(self, "allocator.schedule")
        is_linear = self.linear_rounds is not None
        if (self.by_weight or is_linear) and max(self.bits, default=0) > MAX_BITS:
            raise ValueError(
                f"allocator.schedule.bits must be 1..{MAX_BITS} each with linear_rounds or "
                f"by_weight, got {shorten(self.bits)}"
            )
        if is_linear and len(self.bits) != 2:
            raise ValueError(
                "allocator.schedule.bits must be (first, last) with linear_rounds, got "
                f"{shorten(self.bits)}"
            )

    def find_bits(self, round: int, num_examples: np.ndarray) -> np.ndarray:
        """Returns the bits of each client, int [K].

        Args:
          round: >= 0.
          num_examples: [K] >= 0, by which the aggregate weighs the clients; 0 for one that is
            left out.
        """
        if self.linear_rounds is None:
            bits = self.bits[min(round, len(self.bits) - 1)]
        else:
            part = min(round / (self.linear_rounds - 1), 1.0)
            bits = int(round_half_up(self.bits[0] + part * (self.bits[1] - self.bits[0])))
        everybody = np.full(len(num_examples), bits, int)
        total = num_examples.sum()
        if not self.by_weight or total == 0:
            return everybody
        steps = weigh_steps(num_examples / total, 2.0**bits - 1)
        weighted = round_half_up(np.log2(steps + 1)).astype(int)
        return np.where(num_examples > 0, np.clip(weighted, 1, MAX_BITS), everybody)

    @property
    def least_bits(self) -> int:
        """The fewest bits that a client may send."""
        return 1 if self.by_weight else min(self.bits)


def weigh_steps(weights: np.ndarray, steps: float) -> np.ndarray:
    """Returns the steps of each client that give the error of equal steps with fewest in sum.

    ``q_k = w_k^(2/3) sqrt(sum_j w_j^(2/3) / sum_j (w_j / q)^2)``.

    Args:
      weights: [K] >= 0, of the clients in the aggregate, with a sum above 0.
      steps: q > 0 between the ends of the grid, ``2^b - 1``, that all clients would have.

    Returns:
      float64 [K].

    Source: Hoenig et al., DAdaQuant (arXiv 2111.00465), Theorem 1.

    >>> weigh_steps(np.array([0.5, 0.3, 0.2]), 8).round(4).tolist()
    [9.7425, 6.9306, 5.289]
    """
    shares = weights ** (2 / 3)
    return shares * np.sqrt(shares.sum() / np.sum((weights / steps) ** 2))


def round_half_up(values: np.ndarray | float) -> np.ndarray:
    """Returns the nearest whole numbers, halves upwards, so that a line has equal steps."""
    return np.floor(np.asarray(values) + 0.5)
