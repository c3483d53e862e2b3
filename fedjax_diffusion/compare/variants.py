"""Runs of a comparison: every variant with every seed."""

import hashlib
import json
from typing import NamedTuple

from fedjax_diffusion.experiment.compare_config import Variant, parse_variant
from fedjax_diffusion.experiment.config import (
    GivenConfig,
    load_config,
    to_run_config,
    with_overrides,
)
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.host.old_names import to_old_name

_OF_A_MACHINE = (
    "seed",
    "data.data_dir",
    "evaluation.inception_weights",  # known by their SHA-256
    *("evaluation.every_rounds", "evaluation.num_samples_along"),
    "sampling.every_rounds",
    "sampling.num_samples",
    *(f"compute.{name}" for name in ("client_map", "chunk_size", "conv", "cpu_devices", "data")),
    *(f"compute.{name}" for name in ("remat", "tune", "tune_seconds")),
)
_OF_NO_RUN = ("compare.", "study.", "checkpoint.")
"""Settings that may differ between the runs of one variant."""


class Play(NamedTuple):
    """One run of a comparison.

    Attributes:
      variant: its name.
      seed: of the run; the same seed gives every variant the same clients, channels and batches.
      config: of the run.
    """

    variant: str
    seed: int
    config: RunConfig


def list_plays(config: GivenConfig) -> list[Play]:
    """Returns all runs, seed by seed, so that every finished seed can be compared.

    Raises:
      ValueError: a setting is invalid.
    """
    config = to_run_config(config)
    alone = load_config("default").compare  # a run does not depend on the comparison
    base = with_overrides(config, {f"compare.{key}": value for key, value in alone.items()})
    variants = [parse_variant(text) for text in config.compare.variants]
    return [
        Play(variant.name, seed, _vary(base, variant, seed))
        for seed in range(config.seed, config.seed + config.compare.num_seeds)
        for variant in variants
    ]


def _vary(base: RunConfig, variant: Variant, seed: int) -> RunConfig:
    try:
        return with_overrides(base, {**variant.overrides, "seed": seed})
    except ValueError as error:
        raise ValueError(f"variant {variant.name}: {error}") from None


def fingerprint_settings(config: RunConfig) -> str:
    """Returns a fingerprint of the config without its seed and machine settings, 16 hex digits."""
    settings = {
        to_old_name("config", key): value  # fingerprints of earlier versions stay valid
        for key, value in config.flatten().items()
        if key not in _OF_A_MACHINE and not key.startswith(_OF_NO_RUN)
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
