"""Description of an allocator method: its functions and its properties."""

from typing import NamedTuple

from fedjax_diffusion.allocation.allocation import ChooseFn


class Method(NamedTuple):
    """One allocator method.

    Attributes:
      choose: the function that chooses the bits.
      arguments: arguments of ``choose`` besides the problem and the split.
      takes_bits: whether its name takes one more argument, ``name:B``.
      choose_jointly: the function for clients that share one band; None if there is none.
      respects_limits: whether its bits are within ``min_bits`` and ``max_bits``.
      respects_budget: whether its error is within the error budget.
      gives_whole_bits: whether its bits are bit widths, not real numbers.
      can_refine: whether ``refine`` can close the gap of its allocation.
      sees_round: whether ``choose`` takes ``RoundFacts`` as its last argument.
      fallback: the method to use while the clients' errors are unknown; None for the same method.
    """

    choose: ChooseFn
    arguments: tuple[int, ...] = ()
    takes_bits: bool = False
    choose_jointly: ChooseFn | None = None
    respects_limits: bool = False
    respects_budget: bool = False
    gives_whole_bits: bool = True
    can_refine: bool = False
    sees_round: bool = False
    fallback: str | None = None
