"""Runs of a comparison: every variant with every seed."""

import dataclasses
import hashlib
import json
from typing import NamedTuple

from fedjax_diffusion.experiment.compare_config import Variant, parse_variant
from fedjax_diffusion.experiment.config import GivenConfig, to_run_config
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.host.old_names import to_old_name
from fedjax_diffusion.sweep.identity import NEUTRAL
from fedjax_diffusion.sweep.points import Point, expand

_OF_A_MACHINE = (
    "seed",
    "plugins",  # known by the names that the settings use
    "data.data_dir",
    "evaluation.inception_weights",  # known by their SHA-256
    *("evaluation.every_rounds", "evaluation.num_samples_along"),
    "sampling.every_rounds",
    "sampling.num_samples",
    "sampling.fixed_noise",
    "tensorboard",
    *(f"compute.{name}" for name in ("client_map", "chunk_size", "conv", "cpu_devices", "data")),
    *(f"compute.{name}" for name in ("remat", "tune", "tune_seconds")),
)
_OF_NO_RUN = ("compare.", "sweep.", "study.", "checkpoint.")
"""Settings that may differ between the runs of one variant."""


class Play(NamedTuple):
    """One run of a comparison: a point of its sweep.

    Attributes:
      variant: its name.
      point: the run; the same seed gives every variant the same clients, channels and batches.
    """

    variant: str
    point: Point

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.point.config.seed


def list_plays(config: GivenConfig) -> list[Play]:
    """Returns all runs, seed by seed, so that every finished seed can be compared.

    The label of a point is ``VARIANT+seed-SEED``.

    Raises:
      ValueError: a setting is invalid, or two variants have the same settings.
    """
    base = to_run_config(config)
    variants = [_list_of_variant(base, parse_variant(text)) for text in base.compare.variants]
    names: dict[str, str] = {}
    for play, *_ in variants:
        other = names.setdefault(play.point.hash, play.variant)
        if other != play.variant:
            raise ValueError(
                f"compare.variants: {other} and {play.variant} have the same settings; variants "
                "must differ in a setting that changes numbers"
            )
    return [play for of_a_seed in zip(*variants, strict=True) for play in of_a_seed]


def _list_of_variant(base: RunConfig, variant: Variant) -> list[Play]:
    """Returns the plays of a variant in the order of their seeds."""
    seeds = range(base.seed, base.seed + base.compare.num_seeds)
    overrides = [{**variant.overrides, "seed": seed} for seed in seeds]
    try:
        points = expand(base, lambda _: overrides, is_large_ok=True)
    except ValueError as error:
        raise ValueError(f"variant {variant.name}: {error}") from None
    return [
        Play(variant.name, dataclasses.replace(point, label=f"{variant.name}+seed-{seed}"))
        for point, seed in zip(points, seeds, strict=True)
    ]


def fingerprint_settings(config: RunConfig) -> str:
    """Returns a fingerprint of the config without its seed and machine settings, 16 hex digits."""
    settings = {
        to_old_name("config", key): value  # fingerprints of earlier versions stay valid
        for key, value in config.flatten().items()
        if key not in _OF_A_MACHINE
        and not key.startswith(_OF_NO_RUN)
        and not (key in NEUTRAL and NEUTRAL[key] == value)
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
