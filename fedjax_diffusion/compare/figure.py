"""Figure of a comparison: quality over joules and over bytes."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fedjax_diffusion.compare.rows import RunRow, VariantRow
from fedjax_diffusion.host.figure_labels import Label, label_points
from fedjax_diffusion.host.figure_style import (
    BLACK,
    GREEN,
    Look,
    make_looks,
    to_label,
    use_log_scale,
)
from fedjax_diffusion.host.figures import default_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Cost = Callable[[RunRow | VariantRow], float]
_MIN_SEEDS = 3
"""Seeds from which on intervals are drawn; those of two hide everything else."""


@default_style()
def draw_comparison(
    variants: Sequence[VariantRow], runs: Sequence[RunRow], tolerance_percent: float
) -> "Figure":
    """Draws the Fréchet distance of every run and variant over its joules and its megabytes.

    A faint dot per run, the mean of each variant, from three seeds on with its 95 % interval;
    shaded: within the tolerance of the reference, which is black; dashed: held-out real images.

    Args:
      variants: the reference first.
      runs: of the same comparison.
      tolerance_percent: of the reference's distance.
    """
    from matplotlib.figure import Figure

    reference, *others = (variant.variant for variant in variants)
    looks = {reference: Look(BLACK, "o", "-"), **make_looks(others)}
    figure = Figure(figsize=(9.0, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    costs: list[_Cost] = [lambda row: row.total_joules, _count_megabytes]
    labels = {}
    for axes, cost in zip(panels, costs, strict=True):
        labels[axes] = [
            _draw_variant(axes, variant, runs, cost, looks[variant.variant]) for variant in variants
        ]
        _draw_marks(axes, variants[0].distance.mean, runs, tolerance_percent)
        use_log_scale(axes.xaxis)
        axes.margins(x=0.1)
    panels[0].set(xlabel="energy of a run, J", ylabel=f"{runs[0].distance_name}, smaller is better")
    panels[1].set_xlabel("uploaded in a run, MB")
    intervals = "bars: 95 % intervals; " if variants[0].num_seeds >= _MIN_SEEDS else ""
    figure.suptitle(
        f"{variants[0].num_seeds} seeds; {intervals}shaded: at most {tolerance_percent:g} % above "
        f"{to_label(reference)}; dashed: held-out real images",
        fontsize="medium",
    )
    label_points(labels)
    return figure


def _count_megabytes(row: RunRow | VariantRow) -> float:
    return row.uplink_bytes / 1e6 if isinstance(row, RunRow) else row.megabytes


def _draw_variant(
    axes: "Axes", variant: VariantRow, runs: Sequence[RunRow], cost: _Cost, look: Look
) -> Label:
    """Draws a variant and its runs, and returns its name at its mean."""
    own = [run for run in runs if run.variant == variant.variant]
    dots = look.dot | {"markersize": 3, "alpha": 0.4}
    axes.plot([cost(run) for run in own], [run.distance for run in own], **dots)
    mean, low, high = variant.distance
    if variant.num_seeds >= _MIN_SEEDS:
        axes.plot([cost(variant)] * 2, [max(low, 0.0), high], color=look.color, linewidth=1.0)
    axes.plot([cost(variant)], [mean], **look.dot, markersize=6)
    return Label(cost(variant), mean, to_label(variant.variant), look.color)


def _draw_marks(
    axes: "Axes", reference: float, runs: Sequence[RunRow], tolerance_percent: float
) -> None:
    """Draws the tolerance of the reference, and the held-out images where they are near."""
    low, high = axes.get_ylim()
    top = reference * (1 + tolerance_percent / 100)
    axes.axhspan(0, top, color=GREEN, alpha=0.1, linewidth=0)
    floors = [run.floor for run in runs if run.floor is not None]
    if floors:
        axes.axhline(sum(floors) / len(floors), color="gray", linestyle="--", linewidth=1)
        low = min(low, sum(floors) / len(floors) * 0.95)
    axes.set_ylim(low, high)
