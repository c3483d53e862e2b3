"""Pictures of the docs, drawn from committed results or, where that takes minutes, from a command.

    python -m benchmarks.docs_figures                  # all of them: some minutes
    python -m benchmarks.docs_figures --only=theorem   # one group

The groups ``theorem``, ``quantizers``, ``paper_digits_quality`` and ``ablation`` are drawn from the
files beside this one, in seconds. ``study`` and ``paper_digits`` repeat their study first, which
trains nothing; ``digits`` trains the default run.
"""

import argparse
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fedjax_diffusion import load_config, run
from fedjax_diffusion.compare.figure import draw_comparison
from fedjax_diffusion.compare.rows import summarize_variants
from fedjax_diffusion.compare.runs_csv import read_runs
from fedjax_diffusion.host.figure_labels import Label, draw_legend, label_points
from fedjax_diffusion.host.figure_style import (
    BLACK,
    Look,
    make_looks,
    use_log_scale,
)
from fedjax_diffusion.host.figures import default_style, save_figure
from fedjax_diffusion.host.image_files import open_image
from fedjax_diffusion.host.images import read_rows
from fedjax_diffusion.report.source_figures import read_figures
from fedjax_diffusion.report.study_figures import list_study_figures
from fedjax_diffusion.runs.figure import make_figure
from fedjax_diffusion.runs.pictures import STRIP
from fedjax_diffusion.study import run_study

HERE = Path(__file__).resolve().parent
IMAGES = HERE.parent / "docs/images"
NamedFigure = tuple[str, Callable[[], Figure]]
"""A file's name, and what draws it before the next one is asked for."""
EVENLY_SPREAD_RATIO = 2 / 3
"""Error over bound where entries fall evenly between grid values: (1 / 6) / (1 / 4)."""


@default_style()
def draw_theorem(results: Mapping[str, Mapping[str, list[float]]]) -> Figure:
    """Draws the measured error and its bound against the bits, and one divided by the other.

    Args:
      results: error, bound and ratio of each upload at 1, 2, ... bits.
    """
    looks = make_looks(results)
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, row in results.items():
        bits = np.arange(1, len(row["error"]) + 1)
        left.plot(bits, row["bound"], "_", color=looks[name].color, ms=9, markeredgewidth=1.4)
        left.plot(bits, row["error"], **looks[name].dot, markersize=4)
        right.plot(bits, row["ratio"], **looks[name].line, marker=looks[name].marker, ms=4)
    right.axhline(EVENLY_SPREAD_RATIO, color="0.5", linewidth=0.9, linestyle=":")
    for axes in (left, right):
        axes.set(xlabel="bits per parameter", xticks=range(2, 17, 2))
    use_log_scale(left.yaxis)
    left.set(ylabel="squared error / squared norm", title="error, and its bound")
    right.set(ylabel="measured error / bound", title="how close", ylim=(0.6, 1.02))
    dash = {"color": "0.3", "marker": "_", "markersize": 9, "markeredgewidth": 1.4}
    line = {"color": "0.5", "linewidth": 0.9, "linestyle": ":"}
    handles = [
        *(
            Line2D([], [], **look.line, marker=look.marker, ms=4, label=f"{name}: measured")
            for name, look in looks.items()
        ),
        Line2D([], [], linestyle="none", **dash, label="bound of the quantizer stochastic"),
        Line2D([], [], **line, label="2/3, of entries spread evenly"),
    ]
    draw_legend(figure, handles)
    return figure


@default_style()
def draw_quantizers(results: Mapping[str, Mapping[str, Mapping[str, list[float]]]]) -> Figure:
    """Draws the loss against uploaded megabytes, plain and entropy coded.

    Args:
      results: loss and bytes of each seed, by quantizer and bits; ``float32`` has 32 bits.
    """
    reference = np.array(results["float32"]["32"]["loss"])
    looks = {"float32": Look(BLACK, "o", "-")}
    looks |= make_looks(name for name in results if name != "float32")
    looks["qsgd"] = Look("0.45", "X", ":")  # of a seventh name the color would be the first again
    figure = Figure(figsize=(9.4, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    columns = {"uplink_bytes": "uploaded by all clients, MB", "coded_bytes": "entropy coded, MB"}
    labels: dict[Axes, list[Label]] = {}
    for axes, (column, text) in zip(panels, columns.items(), strict=True):
        labels[axes] = []
        for name, by_bits in results.items():
            points = []
            for bits, row in by_bits.items():
                percent = 100 * (np.array(row["loss"]) / reference - 1)
                x, y = float(np.mean(row[column])) / 1e6, float(percent.mean())
                axes.plot([x] * 2, [percent.min(), percent.max()], color=looks[name].color, lw=1.0)
                points.append((x, y))
                labels[axes].append(Label(x, y, bits, looks[name].color))
            style = looks[name].line | {"marker": looks[name].marker, "markersize": 4}
            axes.plot(*zip(*points, strict=True), **style)
        axes.set_xlabel(text)
        use_log_scale(axes.xaxis)
    axes = panels[0]
    axes.set_yscale("symlog", linthresh=1.0, linscale=0.6)
    ticks = (-1, 0, 1, 3, 10, 30, 100)
    axes.set_yticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set(ylabel="held-out loss above that of float32, %", ylim=(-1.5, 120))
    handles = [
        Line2D([], [], **look.line, marker=look.marker, ms=4, label=name)
        for name, look in looks.items()
    ]
    figure.suptitle(
        f"{len(reference)} seeds, each against float32 with the same seed: mean, and smallest to "
        "largest; numbers: bits per parameter",
        fontsize="medium",
    )
    draw_legend(figure, handles)
    label_points(labels)
    return figure


def draw_quality(runs: Path, summary: Mapping[str, Any]) -> Figure:
    """Draws the quality of a comparison's runs over joules and megabytes.

    Args:
      runs: CSV file of the runs.
      summary: of the comparison, with its reference and tolerance.
    """
    rows = read_runs(runs)
    variants = summarize_variants(rows, summary["reference"])
    return draw_comparison(variants, rows, summary["tolerance_percent"])


@default_style()
def draw_strip(path: Path) -> Figure:
    """Draws the strip of a run, its rows named by their rounds."""
    rounds = read_rows(path)
    with open_image(path) as picture:
        pixels = np.asarray(picture)
    height = len(pixels) / len(rounds)
    figure = Figure(figsize=(5.6, 0.4 + 0.65 * len(rounds)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_yticks((np.arange(len(rounds)) + 0.5) * height, [*map(str, rounds)])
    axes.set(ylabel="after round", xticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def read_results(name: str) -> dict[str, Any]:
    """Returns the results of a benchmark."""
    return json.loads((HERE / f"{name}.json").read_text())


def make_theorem() -> Iterator[NamedFigure]:
    """Yields the figure of the bound."""
    results = read_results("theorem")
    names = [name for name, row in results.items() if isinstance(row, dict) and "ratio" in row]
    yield "theorem.png", lambda: draw_theorem({name: results[name] for name in names})


def make_quantizers() -> Iterator[NamedFigure]:
    """Yields the figure of the quantizers."""
    results = read_results("quantizers")["by_quantizer_and_bits"]
    yield "quantizers.png", lambda: draw_quantizers(results)


def make_paper_digits_quality() -> Iterator[NamedFigure]:
    """Yields the figure of the paper's comparison on digits."""
    results = HERE / "paper_digits.csv", read_results("paper_digits")
    yield "paper_digits_quality.png", lambda: draw_quality(*results)


def make_study(config: str, prefix: str) -> Iterator[NamedFigure]:
    """Yields the figures of a study, after it was made."""
    names = {"savings_by_time_budget_and_distance": "savings"}
    with tempfile.TemporaryDirectory() as folder:
        study = run_study(load_config(config), folder)
        for figure in list_study_figures(study):
            yield f"{prefix}_{names.get(figure.name, figure.name)}.png", figure.draw


def make_ablation() -> Iterator[NamedFigure]:
    """Yields figures of the ablations of bit widths and quantizers, from their committed points."""
    bits = {"frontier": "frontier", "differences": "differences", "bit_widths": "loss"}
    names = {"ablation_bits": bits, "ablation_quantizers": {"frontier": "quantizers"}}
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(HERE / "ablations.tar.xz") as archive:
            archive.extractall(folder, filter="data")
        for sweep, chosen in names.items():
            for figure in read_figures(Path(folder) / sweep):
                if figure.name in chosen:
                    yield f"ablation_{chosen[figure.name]}.png", figure.draw
        points = Path(folder) / "ablation_bits/points"
        yield "ablation_samples.png", lambda: draw_samples(points)


@default_style()
def draw_samples(points: Path) -> Figure:
    """Draws the images of seed 0 at each bit width, of updates and of models."""
    methods = {f"fixed-bits-{bits}": f"{bits} bits" for bits in (2, 3, 4, 8)}
    methods = {"fixed-bits-1": "1 bit", **methods, "full-precision": "float32"}
    figure = Figure(figsize=(7.4, 2.7), layout="constrained")
    panels = figure.subplots(2, len(methods))
    for row, mode in zip(panels, ("update", "model"), strict=True):
        for axes, (method, title) in zip(row, methods.items(), strict=True):
            (path,) = points.glob(f"mode-{mode}+method-{method}+seed-0--*/samples/*.png")
            with open_image(path, ("PNG",)) as image:
                axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            if mode == "update":
                axes.set_title(title)
        row[0].set_ylabel(f"{mode}s")
    return figure


def make_digits() -> Iterator[NamedFigure]:
    """Yields the figures of the default run with a strip, which changes no number of it."""
    with tempfile.TemporaryDirectory() as folder:
        run(load_config("configs/digits.py", {"sampling.fixed_noise": True}), folder)
        yield "digits_training.png", lambda: make_figure(Path(folder))
        yield "digits_strip.png", lambda: draw_strip(Path(folder) / STRIP)


GROUPS: dict[str, Callable[[], Iterator[NamedFigure]]] = {
    "theorem": make_theorem,
    "quantizers": make_quantizers,
    "paper_digits_quality": make_paper_digits_quality,
    "study": lambda: make_study("configs/digits.py", "study"),
    "paper_digits": lambda: make_study("configs/paper_digits.py", "paper_digits"),
    "digits": make_digits,
    "ablation": make_ablation,
}
"""Figures by name of their group, in the order in which they are drawn."""


def main() -> None:
    """Draws the chosen groups."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=GROUPS, help="one group (default: all)")
    parser.add_argument("--output", type=Path, default=IMAGES, help="folder of the pictures")
    arguments = parser.parse_args()
    for name in [arguments.only] if arguments.only else GROUPS:
        for file, draw in GROUPS[name]():
            save_figure(arguments.output / file, draw())
            print(arguments.output / file)


if __name__ == "__main__":
    main()
