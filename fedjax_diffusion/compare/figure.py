"""Figure of a comparison: quality over joules and over bytes."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from fedjax_diffusion.compare.rows import RunRow, VariantRow
from fedjax_diffusion.host.figures import default_style

_COLORS = ("tab:red", "tab:orange", "black", "tab:blue", "tab:green", "tab:purple", "tab:brown")


@default_style()
def draw_comparison(
    variants: Sequence[VariantRow], runs: Sequence[RunRow], tolerance_percent: float
) -> Figure:
    """Draws the Fréchet distance of every run and variant over its joules and its megabytes.

    A dot per run, a bar for the 95 % interval of each variant's mean; shaded: within the tolerance
    of the reference; dashed: held-out real images.

    Args:
      variants: the reference first.
      runs: of the same comparison.
      tolerance_percent: of the reference's distance.
    """
    figure = Figure(figsize=(12, 5.2), layout="constrained")
    joules, megabytes = figure.subplots(1, 2, sharey=True)
    _draw(joules, variants, runs, lambda row: row.total_joules)
    joules.set(xlabel="energy of a run, J", ylabel=f"{runs[0].distance_name} (smaller is better)")
    _draw(
        megabytes,
        variants,
        runs,
        lambda row: row.uplink_bytes / 1e6 if isinstance(row, RunRow) else row.megabytes,
    )
    megabytes.set(xlabel="uploaded in a run, MB")
    reference = variants[0].distance.mean
    for axes in (joules, megabytes):
        top = reference * (1 + tolerance_percent / 100)
        axes.axhspan(0, top, color="tab:green", alpha=0.08, linewidth=0)
        floors = [run.floor for run in runs if run.floor is not None]
        if floors:
            axes.axhline(sum(floors) / len(floors), color="gray", linestyle="--", linewidth=1)
        axes.set(xscale="log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
    megabytes.legend(fontsize="small")
    figure.suptitle(
        f"{variants[0].num_seeds} seeds; shaded: at most {tolerance_percent:g} % above "
        f"{variants[0].variant}; dashed: held-out real images",
        fontsize="medium",
    )
    return figure


def _draw(
    axes: Axes,
    variants: Sequence[VariantRow],
    runs: Sequence[RunRow],
    cost: Callable[[RunRow | VariantRow], float],
) -> None:
    for i, variant in enumerate(variants):
        color = _COLORS[i % len(_COLORS)]
        own = [run for run in runs if run.variant == variant.variant]
        axes.scatter([cost(run) for run in own], [r.distance for r in own], s=9, color=color)
        mean, low, high = variant.distance
        axes.errorbar(
            cost(variant),
            mean,
            yerr=[[mean - low], [high - mean]],
            fmt="o",
            color=color,
            capsize=4,
            label=variant.variant,
        )
