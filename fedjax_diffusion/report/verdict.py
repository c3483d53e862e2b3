"""Question and verdict of a report, in sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedjax_diffusion.compare import verdict
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.host.tables import describe_saving, format_cell, format_percent
from fedjax_diffusion.report.front import find_front
from fedjax_diffusion.report.settings import Setting, list_settings, split_by_measure
from fedjax_diffusion.report.sources import Source
from fedjax_diffusion.report.statistics import LESS, MORE, compare_settings
from fedjax_diffusion.report.tables import ReportTables
from fedjax_diffusion.study import Study
from fedjax_diffusion.study.report import describe_goals, describe_setting
from fedjax_diffusion.sweep.pairs import MIN_DECIDING_SEEDS
from fedjax_diffusion.sweep.states import PointState, format_counts

_MANY = 8
"""Most names in a sentence."""
_OPEN = {
    "planned": "no process plays it now",
    "running": "a process plays it",
    "stale": "its process gives no sign of life",
}
"""Clauses about a run that is not finished, by its status."""
_SAVED = {
    "full_precision": "saved_percent_full_precision",
    "full_precision:max_frequency": "saved_percent_full_precision_max_frequency",
}
"""Column of a study by the baseline against which it states the saving."""
_OF_IMAGES = {LESS: "better", MORE: "worse"}
"""Words for a distance from the real images that is smaller or larger."""


def ask(source: Source) -> list[str]:
    """Returns the question of a report: the points, the swept settings, data, clients, rounds."""
    config, tables = source.config, source.tables
    if source.study is not None:
        return [
            "Energy of methods over deadlines and distances, without training: "
            f"{describe_setting(source.study.summary)}."
        ]
    data = _describe_setting(config, tables.axes)
    if tables.kind == "run":
        return [f"One run with seed {config.seed}.", data]
    varied = [f"{key} ({_count(tables, key)} values)" for key in tables.axes]
    if tables.kind == "comparison":
        names = dict.fromkeys(tables.index["variant"].to_pylist())
        seeds = _count(tables, "seed")
        asked = f"{len(names)} variants ({_join(names)}) with {seeds} seeds each."
    else:
        asked = f"{tables.index.num_rows} points; varied: {_join(varied) or 'nothing'}."
    return [asked, data]


def _describe_setting(config: RunConfig, varied: Sequence[str]) -> str:
    """Returns data, clients and method in one sentence, without the settings that are varied."""
    clients = f"{config.partition.num_clients} clients"
    if config.cohort_size is not None:
        clients = f"{config.cohort_size} of {clients} in each round"
    facts = {
        "data.split": f"split {config.data.split} of {config.data.name}",
        "partition.num_clients": clients,
        "partition.name": f"divided by {config.partition.name}",
        "num_rounds": f"{config.num_rounds} rounds",
        "allocator.time_budget_seconds": f"deadline {config.allocator.time_budget_seconds:g} s",
        "allocator.method": f"method {config.allocator.method}",
        "quantization.name": f"quantizer {config.quantization.name}",
    }
    text = ", ".join(fact for key, fact in facts.items() if key not in varied)
    return f"{'In common' if varied else 'Setting'}: {text}."


def judge(source: Source) -> list[str]:
    """Returns the verdict of a report: sentences, the most important one first."""
    tables = source.tables
    if source.study is not None:
        return [*_judge_study(source.study)]
    if tables.kind == "run":
        (row,) = tables.rows
        if PointState(row["status"]).is_done:
            return [*_judge_run(row)]
        played = f"{tables.rounds.num_rows} of {source.config.num_rounds} rounds are played"
        status = row["status"]
        return [f"The run is not finished: {played}, {_OPEN.get(status, f'it is {status}')}."]
    return [
        *_judge_variants(source),
        *_judge_settings(tables),
        *_judge_against_reference(tables),
        f"Points: {format_counts(map(PointState, tables.index['status'].to_pylist()))}.",
        *_name_elsewhere(source.num_elsewhere),
    ]


def _name_elsewhere(number: int) -> Iterator[str]:
    """Yields the sentence on runs of other folders, if there are any."""
    if number:
        yield (
            f"{number} of the compared runs are of other folders: runs.csv holds their results, "
            "which only the verdicts and the table and figure of the variants show."
        )


def _judge_study(study: Study) -> Iterator[str]:
    """Yields the saving of a study's own method at its own deadline, and the goals it reaches."""
    own = study.points[0].rows[0]
    savings = {name: getattr(own, column) for name, column in _SAVED.items()}
    texts = [f"{_less_or_more(p)} than {name}" for name, p in savings.items() if p is not None]
    yield (
        f"At the deadline of {study.summary['time_budget_seconds']:g} s, {own.method} spends "
        f"{format_cell(own.joules_per_round)} J a round"
        + (f": {' and '.join(texts)}." if texts else ".")
    )
    yield (
        f"The savings below, over all deadlines and distances, are against {next(iter(savings))} "
        "with the optimal split of the time."
    )
    yield from describe_goals(study.summary, study.points)


def _judge_run(row: Mapping[str, Any]) -> Iterator[str]:
    """Yields the sentences on a finished run."""
    if row["status"] == "diverged":
        yield "The run diverged: its last rounds did not change the model."
    yield (
        f"After {row['rounds']} rounds the training loss is {format_cell(row['loss'])}; clients "
        f"sent {format_cell(row['mean_bits'])} bits per parameter on average."
    )
    yield (
        f"Energy: {format_cell(row['total_joules'])} J, of which "
        f"{format_cell(row['compute_joules'])} J for computing and "
        f"{format_cell(row['transmit_joules'])} J for transmitting."
    )
    for column, value in row.items():
        name = column.removeprefix("saved_joules_percent.")
        if name != column and value is not None:
            late = row[f"late.{name}"]
            charged = f"; {late} of its uploads are late" * bool(late)
            yield (
                f"That is {_less_or_more(value)} than {name} on the same clients and channels "
                f"({format_cell(row[f'total_joules.{name}'])} J{charged})."
            )
    if row["full_precision_bytes"]:
        share = 100 * (1 - row["uplink_bytes"] / row["full_precision_bytes"])
        yield (
            f"Uploaded: {row['uplink_bytes'] / 1e6:.4g} MB, {_less_or_more(share)} than the same "
            "uploads in float32."
        )
    if row["left_out"]:
        yield f"{row['left_out']} of {row['client_rounds']} possible uploads did not take place."
    if row["quality"] is None:
        yield "The images are not measured; fedjax-diffusion evaluate measures them."
    else:
        floor = row["quality_floor"]
        of_real = "" if floor is None else f"; held-out real images have {format_cell(floor)}"
        yield (
            f"Quality: {row['quality_name']} {format_cell(row['quality'])} with "
            f"{row['num_samples']} images (smaller is better{of_real}), precision "
            f"{format_cell(row['precision'])}, recall {format_cell(row['recall'])}."
        )


def _less_or_more(percent_less: float) -> str:
    return f"{format_percent(abs(percent_less))} {'less' if percent_less >= 0 else 'more'}"


def _judge_variants(source: Source) -> Iterator[str]:
    """Yields the verdicts of a comparison."""
    comparison = source.comparison
    if comparison is None:
        return
    if not comparison.variants:
        yield "No verdict yet: it needs two seeds that all variants have finished."
        return
    reference, *others = comparison.variants
    tolerance_percent = source.config.compare.tolerance_percent
    for row in others:
        joules = describe_saving(row.less_joules_than_reference_percent, "energy")
        uploads = describe_saving(row.less_bytes_than_reference_percent, "uploaded bytes")
        said = verdict(row, reference.variant, tolerance_percent)
        verb = joules.partition(" ")[0]  # said once if it is the same
        yield f"{said}; it {joules} and {uploads.removeprefix(f'{verb} ')}."


def _judge_settings(tables: ReportTables) -> Iterator[str]:
    """Yields the settings with the least energy, the fewest bytes and the best images."""
    done = [s for s in list_settings(tables) if s.values("total_joules")]
    if not done:
        yield "No point of this folder is finished yet."
        return
    yield _name_best(done, "total_joules", "Least energy", 1.0, "J a run")
    yield _name_best(done, "uplink_bytes", "Fewest uploaded bytes", 1e-6, "MB a run")
    measured = split_by_measure(tables)
    for name, part in [*measured.items()][:1]:
        settings = [s for s in list_settings(part) if s.values("quality")]
        yield _name_best(settings, "quality", f"Best images ({name}, smaller is better)", 1.0, "")
        costs, qualities = ([s.mean(c) for s in settings] for c in ("total_joules", "quality"))
        front = [settings[number].name for number in find_front(costs, qualities)]
        yield (
            f"Front of images and energy, where no other setting is better in both: {_join(front)}."
        )
    if len(measured) > 1:
        yield (
            f"Images were measured in {len(measured)} ways ({_join(measured)}), which are not "
            "comparable; the sentence above is about the first one."
        )
    seeds = min(len(setting.values("total_joules")) for setting in done)
    if seeds < MIN_DECIDING_SEEDS:
        yield (
            f"With {seeds} seed{'s' * (seeds > 1)} of a setting, differences are shown, not "
            f"decided: {MIN_DECIDING_SEEDS} are needed, 8 for a claim."
        )


def _judge_against_reference(tables: ReportTables) -> Iterator[str]:
    """Yields the settings that differ from the reference of a sweep, in energy and in quality."""
    measured = split_by_measure(tables)
    parts = {"Energy": (tables, "total_joules", {})}
    for name, part in [*measured.items()][:1]:
        parts[f"Images ({name})"] = (part, "quality", _OF_IMAGES)
    for what, (part, column, words) in parts.items():
        settings = list_settings(part)
        groups: dict[str, list[str]] = {}
        for difference in compare_settings(settings, column):
            groups.setdefault(difference.verdict, []).append(difference.setting)
        if groups:
            reference = next(setting.name for setting in settings if setting.is_reference)
            texts = [
                f"{words.get(verdict, verdict).capitalize()}: {_join(names)}."
                for verdict, names in groups.items()
            ]
            yield (
                f"{what} against {reference}, paired by seed, adjusted by Holm for the number of "
                f"settings. {' '.join(texts)}"
            )


def _name_best(settings: Sequence[Setting], column: str, title: str, unit: float, name: str) -> str:
    """Returns a sentence on the setting with the smallest mean of a column, and on the largest."""
    best, worst = (choose(settings, key=lambda s: s.mean(column)) for choose in (min, max))
    if len(settings) > 1 and best.mean(column) == worst.mean(column):
        return f"{title}: the same for all settings, {_format(best, column, unit, name)}."
    number = len(best.values(column))
    text = f"{title}: {best.name}, {_format(best, column, unit, name)}"
    text += f" (mean of {number} seeds)" * (number > 1)
    if worst is not best:
        text += f"; largest: {worst.name}, {_format(worst, column, unit, name)}"
    return f"{text}."


def _format(setting: Setting, column: str, unit: float, name: str) -> str:
    return f"{format_cell(setting.mean(column) * unit)} {name}".rstrip()


def _count(tables: ReportTables, key: str) -> int:
    return len({repr(value) for value in tables.index[key].to_pylist()})


def _join(names: Sequence[str] | Mapping[str, Any]) -> str:
    """Returns names as text, the first of many; a semicolon parts names that hold commas.

    >>> _join(["fixed_bits:1", "on_demand"]), _join(["update, fixed_bits:1", "on_demand"])
    ('fixed_bits:1, on_demand', 'update, fixed_bits:1; on_demand')
    """
    listed = [*names]
    more = f" and {len(listed) - _MANY} more" * (len(listed) > _MANY)
    comma = "; " if any("," in name for name in listed[:_MANY]) else ", "
    return comma.join(listed[:_MANY]) + more
