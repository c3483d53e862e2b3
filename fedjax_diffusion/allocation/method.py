"""A method of the allocator as a value: how it chooses, and the facts that others must know."""

from typing import NamedTuple

from fedjax_diffusion.allocation.allocation import ChooseFn


class Method(NamedTuple):
    """One method.

    Attributes:
      choose: how it chooses.
      arguments: what ``choose`` takes besides the problem and the split.
      takes_bits: its name carries one more argument, ``name:B``.
      choose_jointly: how it chooses where the clients share one band; None if it cannot.
      respects_limits: its bits are within the clients' ``min_bits`` and ``max_bits``.
      respects_budget: its error is within the error budget.
      gives_whole_bits: its bits are bit widths, not real numbers.
      can_refine: a search over the bit widths can close the gap of its answer, see ``refine``.
      fallback: the method to use while the clients' errors are unknown; None: this one itself.
    """

    choose: ChooseFn
    arguments: tuple[int, ...] = ()
    takes_bits: bool = False
    choose_jointly: ChooseFn | None = None
    respects_limits: bool = False
    respects_budget: bool = False
    gives_whole_bits: bool = True
    can_refine: bool = False
    fallback: str | None = None
