"""Which runs a comparison plays: every variant with every seed."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import NamedTuple

from fedjax_diffusion.experiment.config import Config, flatten, load_config, with_overrides

_OF_A_MACHINE = (
    "seed",
    "data.data_dir",
    "evaluation.inception_weights",  # known by their SHA-256
    "sampling.every_rounds",
    "sampling.num_samples",
    *(f"compute.{name}" for name in ("client_map", "chunk_size", "conv", "cpu_devices", "data")),
    *(f"compute.{name}" for name in ("remat", "tune", "tune_seconds")),
)
_OF_NO_RUN = ("compare.", "study.", "checkpoint.")
"""Settings in which runs may differ and still be seeds of one variant."""


@dataclass(frozen=True)
class CompareConfig:
    """What ``fedjax-diffusion compare`` plays.

    Attributes:
      variants: each ``"NAME: key=value, key=value"``, a name and what it changes in the config.
      num_seeds: runs of each variant, >= 2: with the config's seed, the next one, and so on.
      tolerance_percent: a variant keeps the quality if the 95 % interval of its paired relative
        difference from the reference ends below this, > 0.
      reference: the variant that the others are held against; None: the first.

    Raises:
      ValueError: a value outside of these, or a name that occurs twice.
    """

    variants: tuple[str, ...]
    num_seeds: int
    tolerance_percent: float
    reference: str | None = None

    def __post_init__(self):
        if self.num_seeds < 2:
            raise ValueError(f"compare.num_seeds must be at least 2, got {self.num_seeds}")
        if not self.tolerance_percent > 0:
            raise ValueError(
                f"compare.tolerance_percent must be above 0, got {self.tolerance_percent}"
            )
        names = [variant.name for variant in map(parse_variant, self.variants)]
        if len(names) < 2 or len({*names}) < len(names):
            raise ValueError(f"compare.variants must be two or more, each named once, got {names}")
        if self.reference not in (None, *names):
            raise ValueError(
                f"compare.reference must be one of {', '.join(names)}, got {self.reference!r}"
            )


class Variant(NamedTuple):
    """A variant of a comparison.

    Attributes:
      name: also of its folder.
      overrides: of the config, by dotted key.
    """

    name: str
    overrides: dict[str, str]


def parse_variant(text: str) -> Variant:
    """Returns a variant from its line.

    Raises:
      ValueError: the line is no name with settings, or sets the seed.

    >>> parse_variant("two_bits: allocator.method=fixed_bits:2, federated.mode=update").overrides
    {'allocator.method': 'fixed_bits:2', 'federated.mode': 'update'}
    """
    name, colon, settings = (part.strip() for part in text.partition(":"))
    parts = re.split(r",(?![^(]*\))", settings)  # not at a comma in parentheses
    pairs = [setting.partition("=") for setting in parts if setting.strip()]
    is_name = name.replace("_", "").isalnum()
    if not colon or not is_name or not all(equals for _, equals, _ in pairs):
        raise ValueError(
            f"compare.variants: {text!r} must be 'NAME: key=value, key=value', "
            "the name of letters, digits and underscores"
        )
    overrides = {key.strip(): value.strip() for key, _, value in pairs}
    if "seed" in overrides:
        raise ValueError(f"compare.variants: {name} must leave the seed alone, all have the same")
    return Variant(name, overrides)


class Play(NamedTuple):
    """One run of a comparison.

    Attributes:
      variant: its name.
      seed: of the run: the same clients, channels and batches for every variant.
      config: of the run.
    """

    variant: str
    seed: int
    config: Config


def list_plays(config: Config) -> list[Play]:
    """Returns all runs, seed by seed, so that every finished seed can be compared.

    Raises:
      ValueError: a setting does not fit.
    """
    settings = CompareConfig(**config.compare)
    variants = [parse_variant(text) for text in settings.variants]
    alone = dict(load_config("default").compare)  # a run does not depend on what it is compared to
    base = with_overrides(config, {f"compare.{key}": value for key, value in alone.items()})
    return [
        Play(variant.name, seed, with_overrides(base, {**variant.overrides, "seed": seed}))
        for seed in range(config.seed, config.seed + settings.num_seeds)
        for variant in variants
    ]


def fingerprint_settings(config: Config) -> str:
    """Returns what two runs have in common that differ in seed and machine alone, 16 hex digits."""
    settings = {
        key: value
        for key, value in flatten(config).items()
        if key not in _OF_A_MACHINE and not key.startswith(_OF_NO_RUN)
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
