"""Text report of a comparison."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedjax_diffusion.compare.rows import RunRow, VariantRow
from fedjax_diffusion.host.tables import format_digits, format_percent, format_table
from fedjax_diffusion.planning.baselines import REFERENCE_BASELINES
from fedjax_diffusion.sweep.pairs import MIN_DECIDING_SEEDS, Interval, count_seeds_to_decide

_LEAST_FOR_FORECAST = 3
"""Pairs of runs: from two numbers nothing can be said of the spread of others."""


def format_comparison(
    variants: Sequence[VariantRow], runs: Sequence[RunRow], tolerance_percent: float
) -> str:
    """Returns a comparison as text: table, explanation of columns, and a verdict per variant."""
    name = runs[0].distance_name
    floors = [run.floor for run in runs if run.floor is not None]
    floor = f"; held-out real images: {sum(floors) / len(floors):.2f}" if floors else ""
    return "\n".join(
        [
            "",
            format_table([_row_to_cells(row, name) for row in variants]),
            "",
            f"Means of a run over {variants[0].num_seeds} seeds, the same clients, channels and "
            "batches for every variant.",
            f"saved A: joules against {REFERENCE_BASELINES[0]} with the optimal split; "
            f"B: against {REFERENCE_BASELINES[1]};",
            "both charged for exactly the client-rounds of the variant. "
            f"C: against {variants[0].variant}'s own runs. A negative saving is a cost.",
            f"{name}: mean and 95 % interval{floor}.",
            f"difference: of {name} from {variants[0].variant}'s with the same seed, mean and "
            "95 % interval.",
            "",
            *(verdict(row, variants[0].variant, tolerance_percent) for row in variants[1:]),
        ]
    )


def verdict(row: VariantRow, reference: str, tolerance_percent: float) -> str:
    """Returns a sentence on whether a variant keeps the quality of the reference."""
    assert row.difference_percent is not None
    low, high = row.difference_percent[1:]
    if row.num_seeds < MIN_DECIDING_SEEDS and (
        high <= tolerance_percent or low > tolerance_percent
    ):
        side = "below" if high <= tolerance_percent else "above"
        said = (
            f"not decided: the interval is {side} {tolerance_percent:g} %, but {row.num_seeds} "
            f"seeds only show a difference; {MIN_DECIDING_SEEDS} are needed"
        )
    elif high <= tolerance_percent:
        said = f"within {tolerance_percent:g} % of {reference}"
    elif low > tolerance_percent:
        said = f"worse than {reference} by more than {tolerance_percent:g} %"
    elif row.num_seeds < _LEAST_FOR_FORECAST:
        said = (
            f"not decided: the interval contains {tolerance_percent:g} %; "
            f"{row.num_seeds} seeds are too few to say how many would decide"
        )
    else:
        number = count_seeds_to_decide(row.difference_percent, row.num_seeds, tolerance_percent)
        needed = "more than 1,000" if number is None else f"about {number}"
        said = (
            f"not decided: the interval contains {tolerance_percent:g} %; {needed} seeds would "
            "decide if mean and spread do not change"
        )
    return f"{row.variant}: {said} ({_percent_interval(row.difference_percent)})"


def _row_to_cells(row: VariantRow, distance_name: str) -> Mapping[str, Any]:
    return {
        "variant": row.variant,
        "bits": format_digits(row.mean_bits, 2),
        "computing J": row.compute_joules,
        "transmitting J": row.transmit_joules,
        "total J": row.total_joules,
        "saved A": format_percent(row.saved_joules_percent),
        "saved B": format_percent(row.saved_joules_percent_max_frequency),
        "saved C": format_percent(row.less_joules_than_reference_percent),
        "MB": row.megabytes,
        "upload saved": format_percent(row.saved_bytes_percent),
        "upload saved C": format_percent(row.less_bytes_than_reference_percent),
        distance_name: "{:.2f} ({:.2f} to {:.2f})".format(*row.distance),
        "difference": row.difference_percent and _percent_interval(row.difference_percent),
        "precision": f"{row.precision:.3f}",
        "recall": f"{row.recall:.3f}",
    }


def _percent_interval(interval: Interval) -> str:
    return f"{interval.mean:+.1f} % ({interval.low:+.1f} to {interval.high:+.1f})"
