"""Schemes against each other: the same clients, channels and seeds, quality beside its cost."""

from fedjax_diffusion.compare.folder import Comparison, run_comparison
from fedjax_diffusion.compare.pairs import Interval, mean_interval, paired_percent
from fedjax_diffusion.compare.rows import RunRow, SchemeRow, read_run, summarize_schemes
from fedjax_diffusion.compare.schemes import (
    CompareConfig,
    Play,
    Scheme,
    list_plays,
    parse_scheme,
)
from fedjax_diffusion.compare.table import format_comparison, verdict

__all__ = [
    "CompareConfig",
    "Comparison",
    "Interval",
    "Play",
    "RunRow",
    "Scheme",
    "SchemeRow",
    "format_comparison",
    "list_plays",
    "mean_interval",
    "paired_percent",
    "parse_scheme",
    "read_run",
    "run_comparison",
    "summarize_schemes",
    "verdict",
]
