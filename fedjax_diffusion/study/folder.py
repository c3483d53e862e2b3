"""Study folder: all results are computed first, then each file is written atomically."""

import csv
import io
import json
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fedjax_diffusion.data import partition
from fedjax_diffusion.experiment.config import GivenConfig, to_run_config
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.experiment.scenario import Scenario, build_scenario
from fedjax_diffusion.experiment.study_config import StudyConfig
from fedjax_diffusion.host.atomic import find_leftovers, remove_leftover, write_text
from fedjax_diffusion.host.figures import pictures_may_fail, save_figure
from fedjax_diffusion.host.file_errors import explain_file_errors
from fedjax_diffusion.host.outputs import check_place
from fedjax_diffusion.host.platforms import cpu_device
from fedjax_diffusion.host.plugins import copy_sources, describe_plugins
from fedjax_diffusion.host.tables import parse_cell
from fedjax_diffusion.runs import environment
from fedjax_diffusion.runs.claims import claim_folder
from fedjax_diffusion.runs.folder import is_unused
from fedjax_diffusion.runs.records import CONFIG, ENVIRONMENT, PLUGINS, SUMMARY, write_json
from fedjax_diffusion.study.energy import StudyRow
from fedjax_diffusion.study.figures import draw_region, draw_sweep
from fedjax_diffusion.study.points import Point, Track, check_anyone, play_points
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
      points: all settings with their results.
      summary: the content of summary.json.
    """

    workdir: Path
    points: list[Point]
    summary: dict[str, Any]


def run_study(config: GivenConfig, workdir: str | Path, *, track: Track = iter) -> Study:
    """Compares the energy of methods over deadlines and distances, without training or images.

    Writes ``study.csv`` (a line per setting and method), three figures, ``summary.json``,
    ``config.json`` and ``environment.json``. An earlier study in the folder is replaced.

    Args:
      config: from ``load_config``, or a ``RunConfig``; its group ``study`` is the study's settings.
      workdir: the study folder, created if needed.
      track: wraps the iteration over the settings, as ``tqdm`` does.

    Raises:
      ValueError: the config is invalid, no client can participate in any setting, the folder holds
        something other than a study or cannot be written to, or another process works in it.
        Nothing is written then, nothing but a claim if a client cannot participate although
        ``on_infeasible`` is ``"stop"``. A figure that cannot be drawn is a warning.
      LostClaimError: another process took the folder over, as this one gave no sign of life.

    Guarantees:
      The same config gives the same numbers.
    """
    config, workdir = to_run_config(config), Path(workdir)
    with explain_file_errors(workdir):
        _check_folder(workdir)
        check_place(workdir)
        scenario, study = build_study(config)
        check_anyone(scenario, study)
        with claim_folder(workdir) as claim:
            points = play_points(scenario, study, track)
            summary = summarize(scenario, study, points)
            if plugins := describe_plugins(config.plugins):
                summary[PLUGINS] = plugins
            result = Study(workdir, points, summary)
            claim.check()
            _write(result, config)
    return result


def read_study(workdir: str | Path) -> Study:
    """Returns the study of a folder.

    Raises:
      ValueError: the folder holds no study, or a damaged one.
    """
    workdir = Path(workdir)
    try:
        summary = dict(json.loads((workdir / SUMMARY).read_bytes()))
        return Study(workdir, _read_csv(workdir / TABLE), summary)
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise ValueError(
            f"{workdir} holds no whole study ({error}); repeat the command of the study"
        ) from None


def format_paths(workdir: Path) -> str:
    """Returns the paths of a study's table and figures as text."""
    names = (TABLE, *FIGURES.values(), SUMMARY)
    return "\n".join(["", *(f"{workdir / name}" for name in names)])


def build_study(config: GivenConfig) -> tuple[Scenario, StudyConfig]:
    """Returns the scenario and the settings of a config's study.

    The examples of each client are counted by partitioning labels, divided as evenly as possible
    among ``num_classes``; no image is read.

    Raises:
      ValueError: a setting is invalid.
    """
    cpu_device()  # a missing platform is reported first
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
            "allocator.error_budget: a study does not train, so it has neither updates nor ranges; "
            "give as_fixed_bits, or None for all three"
        )
    return scenario, study


def _check_folder(workdir: Path) -> None:
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"{workdir} is a file; choose another --workdir")
    if not (workdir / TABLE).exists() and not is_unused(workdir):
        raise ValueError(f"{workdir} is not empty and not a study; choose another --workdir")


def _write(study: Study, config: RunConfig) -> None:
    workdir, points, summary = study
    for path, name in find_leftovers(workdir):
        if name in (TABLE, CONFIG, ENVIRONMENT, SUMMARY, *FIGURES.values()):
            remove_leftover(path)
    write_text(workdir / TABLE, to_csv(points))
    write_json(workdir / CONFIG, config.to_dict())
    write_json(workdir / ENVIRONMENT, environment.describe_host())
    copy_sources(workdir, config.plugins)
    write_json(workdir / SUMMARY, summary)
    title = describe_setting(summary)
    with pictures_may_fail():
        for sweep in ("time_budget", "distance"):
            save_figure(workdir / FIGURES[sweep], draw_sweep(points, sweep, title))
        goals_percent = config.study.goals_percent
        region = draw_region(to_cells(points), summary["method"], goals_percent, title)
        save_figure(workdir / FIGURES["region"], region)


def to_csv(points: Sequence[Point]) -> str:
    """Returns CSV text with one line per point and method; None is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*Point._fields[:-1], *StudyRow._fields))
    for point in points:
        for row in point.rows:
            writer.writerow((*point[:-1], *row))
    return text.getvalue()


def _read_csv(path: Path) -> list[Point]:
    """Returns the points of a file of ``to_csv``."""
    kinds = typing.get_type_hints(StudyRow)
    points: list[Point] = []
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
        if tuple(header) != (*Point._fields[:-1], *StudyRow._fields):
            raise ValueError(f"{path} has the columns {header}")
        for sweep, seconds, meters, *fields in lines:
            place = (sweep, float(seconds), float(meters) if meters else None)
            if not points or points[-1][:-1] != place:
                points.append(Point(*place, []))
            row = [
                parse_cell(text, kind) for text, kind in zip(fields, kinds.values(), strict=True)
            ]
            points[-1] = points[-1]._replace(rows=[*points[-1].rows, StudyRow(*row)])
    return points
