"""Comparison of variants with the same clients, channels and seeds: quality and its cost."""

from fedjax_diffusion.compare.folder import open_comparison
from fedjax_diffusion.compare.rows import RunRow, VariantRow, summarize_variants
from fedjax_diffusion.compare.runner import Comparison, conclude, read_comparison, run_comparison
from fedjax_diffusion.compare.runs_csv import read_runs, write_runs
from fedjax_diffusion.compare.table import format_comparison, verdict
from fedjax_diffusion.compare.variants import Play, list_plays
from fedjax_diffusion.experiment.compare_config import CompareConfig, Variant, parse_variant
from fedjax_diffusion.sweep.pairs import (
    Interval,
    count_seeds_to_decide,
    mean_interval,
    paired_percent,
)

__all__ = [
    "CompareConfig",
    "Comparison",
    "Interval",
    "Play",
    "RunRow",
    "Variant",
    "VariantRow",
    "conclude",
    "count_seeds_to_decide",
    "format_comparison",
    "list_plays",
    "mean_interval",
    "open_comparison",
    "paired_percent",
    "parse_variant",
    "read_comparison",
    "read_runs",
    "run_comparison",
    "summarize_variants",
    "verdict",
    "write_runs",
]
