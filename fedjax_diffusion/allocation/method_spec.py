"""Allocator methods by name, and the parser of a method's text."""

import dataclasses
from dataclasses import dataclass

from fedjax_diffusion.allocation.allocation import ChooseFn
from fedjax_diffusion.allocation.method import Method
from fedjax_diffusion.allocation.methods.fixed import DEMAND, FIXED_BITS, FULL_PRECISION, LARGEST
from fedjax_diffusion.allocation.methods.on_demand import ON_DEMAND
from fedjax_diffusion.allocation.methods.relaxed import RELAXED
from fedjax_diffusion.allocation.search.time_split import (
    SplitFn,
    max_frequency_split,
    optimal_split,
)
from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.values import shorten

METHODS: dict[str, Method] = {
    "on_demand": ON_DEMAND,
    "relaxed": RELAXED,
    "demand": DEMAND,
    "fixed_bits": FIXED_BITS,
    "full_precision": FULL_PRECISION,
    "largest": LARGEST,
}
"""Allocator methods by name."""
MAX_FREQUENCY = "max_frequency"
JOINT_BANDWIDTH = "joint_bandwidth"


@dataclass(frozen=True)
class MethodSpec:
    """A method with its options; as text, ``name[:bits][:max_frequency | :joint_bandwidth]``.

    Attributes:
      name: a key of ``METHODS``.
      num_bits: 1..16 or 32 for a method that takes bits, else None.
      is_at_max_frequency: clients compute at full frequency, without splitting the time optimally.
      is_joint: clients share one band; not together with ``is_at_max_frequency``.
    """

    name: str
    num_bits: int | None = None
    is_at_max_frequency: bool = False
    is_joint: bool = False

    @property
    def method(self) -> Method:
        """The method without its options."""
        return METHODS[self.name]

    @property
    def choose(self) -> ChooseFn:
        """Function that chooses the bits, and with a shared band the bands."""
        jointly = self.method.choose_jointly if self.is_joint else None
        return jointly or self.method.choose

    @property
    def arguments(self) -> tuple[int, ...]:
        """Arguments of ``choose`` besides the problem and the split."""
        own = self.method.arguments
        return own if self.num_bits is None else (*own, self.num_bits)

    @property
    def split(self) -> SplitFn:
        """Function that divides each client's deadline."""
        return max_frequency_split if self.is_at_max_frequency else optimal_split

    @property
    def division(self) -> str:
        """Division of time and band: ``"max_frequency"``, ``"joint_bandwidth"`` or ``""``."""
        return MAX_FREQUENCY * self.is_at_max_frequency + JOINT_BANDWIDTH * self.is_joint

    @property
    def fallback(self) -> "MethodSpec":
        """Method to use while the clients' errors are unknown, with the same division."""
        return dataclasses.replace(self, name=self.method.fallback or self.name)

    def __str__(self) -> str:
        bits = "" if self.num_bits is None else str(self.num_bits)
        return ":".join(part for part in (self.name, bits, self.division) if part)


def parse_method(method: str) -> MethodSpec:
    """Returns the method of a text ``name[:bits][:max_frequency | :joint_bandwidth]``.

    Raises:
      ValueError: the name, the bits or the option is unknown; the message lists the methods.

    >>> spec = parse_method("fixed_bits:8:max_frequency")
    >>> spec.name, spec.num_bits, spec.is_at_max_frequency, str(spec)
    ('fixed_bits', 8, True, 'fixed_bits:8:max_frequency')
    """
    name, *rest = method.split(":")
    known = ", ".join(f"{key}:B" if entry.takes_bits else key for key, entry in METHODS.items())
    expected = (
        f"must be one of {known}, each optionally with :{MAX_FREQUENCY} or :{JOINT_BANDWIDTH}"
    )
    suffix = rest.pop() if rest[-1:] in ([MAX_FREQUENCY], [JOINT_BANDWIDTH]) else ""
    if name not in METHODS or len(rest) != int(METHODS[name].takes_bits):
        raise ValueError(f"method = {shorten(method)}: {expected}")
    if any(bits not in map(str, BIT_WIDTHS) for bits in rest):
        raise ValueError(f"method = {shorten(method)}: {expected}; B is 1..16 or 32")
    if suffix == JOINT_BANDWIDTH and METHODS[name].choose_jointly is None:
        raise ValueError(f"method = {method!r}: {expected}; {name} has no shared band")
    return MethodSpec(
        name,
        num_bits=int(rest[0]) if rest else None,
        is_at_max_frequency=suffix == MAX_FREQUENCY,
        is_joint=suffix == JOINT_BANDWIDTH,
    )
