"""The study folder: everything is computed first, then written, each file whole or not at all."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fedjax_diffusion.data import partition
from fedjax_diffusion.experiment.config import GivenConfig, to_run_config
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.experiment.scenario import Scenario, build_scenario
from fedjax_diffusion.experiment.study_config import StudyConfig
from fedjax_diffusion.host.atomic import write_text
from fedjax_diffusion.host.platforms import cpu_device
from fedjax_diffusion.runs.records import CONFIG, SUMMARY, write_json
from fedjax_diffusion.study.energy import StudyRow
from fedjax_diffusion.study.figures import draw_region, draw_sweep, save_figure
from fedjax_diffusion.study.points import Point, Track, play_points
from fedjax_diffusion.study.region import to_cells
from fedjax_diffusion.study.report import describe_setting, summarize

TABLE = "study.csv"
FIGURES = {
    "time_budget": "energy_by_time_budget.png",
    "distance": "energy_by_distance.png",
    "region": "savings_by_time_budget_and_distance.png",
}


class Study(NamedTuple):
    """A finished study.

    Attributes:
      workdir: its folder.
      points: every setting that was played.
      summary: what summary.json holds.
    """

    workdir: Path
    points: list[Point]
    summary: dict[str, Any]


def run_study(config: GivenConfig, workdir: str | Path, *, track: Track = iter) -> Study:
    """Compares the energy of methods over deadlines and distances; trains nothing, reads no images.

    Leaves ``study.csv`` (a line per setting and method), three figures, ``summary.json`` and
    ``config.json``. An earlier study in the folder is replaced.

    Args:
      config: from ``load_config``, or a ``RunConfig``; its group ``study`` says what is varied.
      workdir: the study folder, made if needed.
      track: wraps the settings as they are played, as ``tqdm`` does.

    Raises:
      ValueError: the config does not fit, nobody can participate anywhere, or the folder holds
        something else than a study. Nothing is written then.

    **Guarantees**: the same config gives the same numbers.
    """
    config, workdir = to_run_config(config), Path(workdir)
    _check_folder(workdir)
    scenario, study = build_study(config)
    points = play_points(scenario, study, track)
    result = Study(workdir, points, summarize(scenario, study, points))
    try:
        _write(result, config)
    except OSError as error:
        raise ValueError(f"{workdir}: cannot be written: {error.strerror}") from None
    return result


def format_paths(workdir: Path) -> str:
    """Returns where the table and the figures of a study lie."""
    names = (TABLE, *FIGURES.values(), SUMMARY)
    return "\n".join(["", *(f"{workdir / name}" for name in names)])


def build_study(config: GivenConfig) -> tuple[Scenario, StudyConfig]:
    """Returns what a config's study plays, and how.

    The examples of each client are counted by partitioning labels as even as ``num_classes``
    allows; no image is read.

    Raises:
      ValueError: a setting does not fit.
    """
    cpu_device()  # a platform that is not there is named first
    config = to_run_config(config)
    study = config.study
    labels = np.arange(study.num_examples) % study.num_classes
    parts = partition(labels, config.partition, seed=config.seed)
    num_examples = np.array([len(part) for part in parts])
    height, width, channels = study.image_shape
    scenario = build_scenario(config, num_examples, (height, width, channels))
    budget = scenario.allocator.error_budget
    if budget.relative is not None or budget.absolute is not None:
        raise ValueError(
            "allocator.error_budget: a study trains nothing, so it knows neither updates nor "
            "ranges; give as_fixed_bits, or None for all three"
        )
    return scenario, study


def _check_folder(workdir: Path) -> None:
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"{workdir} is a file; choose another --workdir")
    if workdir.exists() and any(workdir.iterdir()) and not (workdir / TABLE).exists():
        raise ValueError(f"{workdir} is not empty and no study folder; choose another --workdir")


def _write(study: Study, config: RunConfig) -> None:
    workdir, points, summary = study
    workdir.mkdir(parents=True, exist_ok=True)
    write_text(workdir / TABLE, to_csv(points))
    write_json(workdir / CONFIG, config.to_dict())
    write_json(workdir / SUMMARY, summary)
    title = describe_setting(summary)
    for sweep in ("time_budget", "distance"):
        save_figure(workdir / FIGURES[sweep], draw_sweep(points, sweep, title))
    goals_percent = config.study.goals_percent
    region = draw_region(to_cells(points), summary["method"], goals_percent, title)
    save_figure(workdir / FIGURES["region"], region)


def to_csv(points: Sequence[Point]) -> str:
    """Returns one line per point and method; what is None is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*Point._fields[:-1], *StudyRow._fields))
    for point in points:
        for row in point.rows:
            writer.writerow((*point[:-1], *row))
    return text.getvalue()
