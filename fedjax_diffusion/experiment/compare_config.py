"""Settings of a comparison: variants of a config, and the number of runs of each."""

import re
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from fedjax_diffusion.values import Checked, PathText, Range, Size, check_fields, shorten


class Variant(NamedTuple):
    """A variant of a comparison.

    Attributes:
      name: its name and that of its folder.
      overrides: changed values of the config, by dotted key.
    """

    name: str
    overrides: dict[str, str]


def parse_variant(text: str) -> Variant:
    """Returns a variant from its line.

    Raises:
      ValueError: the line is not a name with settings, or it sets the seed.

    >>> parse_variant("two_bits: allocator.method=fixed_bits:2, federated.mode=update").overrides
    {'allocator.method': 'fixed_bits:2', 'federated.mode': 'update'}
    """
    name, colon, settings = (part.strip() for part in text.partition(":"))
    parts = re.split(r",(?![^(]*\))", settings)  # not at a comma in parentheses
    pairs = [setting.partition("=") for setting in parts if setting.strip()]
    is_name = name.replace("_", "").isalnum()
    if not colon or not is_name or not all(equals for _, equals, _ in pairs):
        raise ValueError(
            f"{shorten(text)} must be 'NAME: key=value, key=value' with a name of letters, digits "
            "and underscores"
        )
    overrides = {key.strip(): value.strip() for key, _, value in pairs}
    if "seed" in overrides:
        raise ValueError(f"{name} must not set the seed: all use the same seeds")
    return Variant(name, overrides)


@dataclass(frozen=True)
class CompareConfig:
    """Runs of ``fedjax-diffusion compare`` and its criterion of quality.

    Attributes:
      variants: each ``"NAME: key=value, key=value"``, a name and its changes to the config.
      num_seeds: runs of each variant, in 2..10,000, with consecutive seeds from the config's on.
      tolerance_percent: a variant keeps the quality if the 95 % interval of its paired relative
        difference from the reference ends below this, in (0, 1e6].
      reference: the variant with which the others are compared; None: the first.

    Raises:
      ValueError: a value is out of range, or a name occurs twice.
    """

    variants: Annotated[
        tuple[Annotated[str, Checked("'NAME: key=value, key=value'", parse_variant)], ...],
        Size(2, 1000),
    ]
    num_seeds: Annotated[int, Range(2, 10_000)]
    tolerance_percent: Annotated[float, Range(0, 1e6, is_above=True)]
    reference: PathText | None = None

    def __post_init__(self):
        check_fields(self, "compare")
        names = [variant.name for variant in map(parse_variant, self.variants)]
        if len({*names}) < len(names):
            raise ValueError(f"compare.variants must each be named once, got {shorten(names)}")
        if self.reference not in (None, *names):
            raise ValueError(
                f"compare.reference must be one of {', '.join(names)}, "
                f"got {shorten(self.reference)}"
            )
