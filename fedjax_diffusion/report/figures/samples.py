"""Figure of image grids side by side, at equal joules as far as there are pictures."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fedjax_diffusion.host.figure_style import to_label
from fedjax_diffusion.host.figures import default_style
from fedjax_diffusion.host.tables import format_cell
from fedjax_diffusion.report.curves import Curve, read_curves
from fedjax_diffusion.report.figures.marks import choose_shown
from fedjax_diffusion.report.figures.named import NamedFigure
from fedjax_diffusion.report.settings import Setting, list_settings
from fedjax_diffusion.report.tables import ReportTables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PICTURE = re.compile(r"round_(\d+)\.png")
_MAX_PANELS, _COLUMNS = 8, 4
_EQUAL = 0.7
"""Share of the budget from which on joules count as equal."""


class Sample(NamedTuple):
    """Images drawn in one run after some rounds.

    Attributes:
      setting: name of the run's setting.
      path: of the PNG.
      rounds: completed rounds.
      joules: spent in them.
    """

    setting: str
    path: Path
    rounds: int
    joules: float


def list_samples(tables: ReportTables) -> Iterator[NamedFigure]:
    """Yields the figure if two or more settings have pictures of one seed."""
    samples, budget, seed = choose_samples(tables)
    if len(samples) < 2:
        return
    title = "Images at equal energy"
    caption = (
        f"Images of runs with seed {seed}, each the last that were drawn before the run had spent "
        f"{format_cell(budget)} J, the least at which every run has a picture. Above each: its "
        "rounds and joules."
    )
    if min(sample.joules for sample in samples) < _EQUAL * budget:
        title = "Images of each setting"
        caption += " The joules differ: a smaller sampling.every_rounds draws more pictures."
    if len(samples) == _MAX_PANELS < len(list_settings(tables)):
        caption += f" {_MAX_PANELS} of {len(list_settings(tables))} settings."
    yield NamedFigure("samples", title, caption, partial(draw_samples, samples))


def choose_samples(tables: ReportTables) -> tuple[list[Sample], float, int]:
    """Returns pictures of one seed at equal joules.

    Returns:
      The last picture of each setting that was drawn within the budget; the budget, in joules: the
      least at which each setting has a picture; the seed: the lowest with the most settings.
    """
    settings, curves = list_settings(tables), read_curves(tables)
    seeds = sorted({seed for setting in settings for seed in setting.rows})
    by_seed = {seed: _find_samples(settings, tables, curves, seed) for seed in seeds}
    if not by_seed:
        return [], math.nan, 0
    seed = max(seeds, key=lambda seed: len(by_seed[seed]))
    found = by_seed[seed]
    scores = {name: samples[-1].joules for name, samples in found.items()}
    shown = choose_shown(settings, scores, limit=_MAX_PANELS)
    kept = [found[setting.name] for setting in shown]
    budget = max((samples[0].joules for samples in kept), default=math.nan)
    return [[s for s in some if s.joules <= budget][-1] for some in kept], budget, seed


def _find_samples(
    settings: Sequence[Setting], tables: ReportTables, curves: Mapping[str, Curve], seed: int
) -> dict[str, list[Sample]]:
    """Returns the pictures of each setting with one seed, by its name, in the order of rounds."""
    found = {}
    for setting in settings:
        name = setting.hashes.get(seed, "")
        folder, curve = tables.folders.get(name), curves.get(name)
        if folder is None or curve is None:
            continue
        joules = curve.cost("total_joules")
        pictures = {
            int(match[1]): path
            for path in sorted((folder / "samples").glob("*.png"))
            if (match := _PICTURE.fullmatch(path.name))
        }
        samples = [
            Sample(setting.name, path, rounds, float(joules[rounds - 1]))
            for rounds, path in sorted(pictures.items())
            if 0 < rounds <= len(joules)
        ]
        if samples:
            found[setting.name] = samples
    return found


@default_style()
def draw_samples(samples: Sequence[Sample]) -> "Figure":
    """Draws grids of images side by side.

    Args:
      samples: from ``choose_samples``.

    Raises:
      ValueError: a picture cannot be read.
    """
    import numpy as np
    from matplotlib.figure import Figure

    from fedjax_diffusion.host.image_files import open_image

    columns = min(_COLUMNS, len(samples))
    rows = -(-len(samples) // columns)
    side = 7.4 / columns
    figure = Figure(figsize=(7.4, rows * (side + 0.45)), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, sample in zip(panels.flat, samples, strict=False):
        with open_image(sample.path, ("PNG",)) as image:
            axes.imshow(np.asarray(image.convert("RGB")), interpolation="nearest")
        spent = f"round {sample.rounds}, {format_cell(sample.joules)} J"
        width = 108 // columns
        axes.set_title(f"{to_label(sample.setting, width)}\n{spent}", fontsize="small")
    return figure
