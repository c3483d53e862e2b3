"""Report of a study: table of methods, savings, and the settings that reach the goals."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedjax_diffusion.experiment.scenario import Scenario
from fedjax_diffusion.host.tables import (
    format_digits,
    format_percent,
    format_span,
    format_table,
)
from fedjax_diffusion.planning.baselines import REFERENCE_BASELINES
from fedjax_diffusion.study.energy import StudyRow
from fedjax_diffusion.study.points import Point, StudyConfig
from fedjax_diffusion.study.region import (
    Cell,
    Goal,
    find_goal,
    format_deadline,
    format_saving,
    to_cells,
)


def summarize(scenario: Scenario, study: StudyConfig, points: Sequence[Point]) -> dict[str, Any]:
    """Returns the content of summary.json: the setting, its methods, and the cells of each goal."""
    cycles, bandwidth_hz = scenario.workload.compute_cycles, scenario.devices.bandwidth_hz
    cells = to_cells(points)
    return {
        "method": scenario.allocator.method,
        "num_clients": len(scenario.num_examples),
        "clients_per_round": scenario.cohort_size or len(scenario.num_examples),
        "num_parameters": scenario.workload.num_parameters,
        "compute_cycles": [float(cycles.min()), float(cycles.max())],
        "bandwidth_hz": [float(bandwidth_hz.min()), float(bandwidth_hz.max())],
        "time_budget_seconds": float(scenario.allocator.time_budget_seconds),
        "error_budget_as_fixed_bits": scenario.allocator.error_budget.as_fixed_bits,
        "rounds": study.rounds,
        "setting": [row._asdict() for row in points[0].rows],
        "region": [cell._asdict() for cell in cells],
        "goals": [_goal_to_json(find_goal(cells, percent)) for percent in study.goals_percent],
    }


def describe_setting(summary: Mapping[str, Any]) -> str:
    """Returns the setting of a study in one line: clients, model, cycles, band, budget."""
    budget = summary["error_budget_as_fixed_bits"]
    error = "no error budget" if budget is None else f"error budget of {budget} bits for all"
    clients = f"{summary['clients_per_round']} clients"
    if summary["clients_per_round"] < summary["num_clients"]:
        clients = f"{summary['clients_per_round']} of {summary['num_clients']} clients a round"
    return (
        f"{clients}, {summary['num_parameters']:,} parameters, "
        f"{_span_in(1e9, summary['compute_cycles'])} G cycles, "
        f"{_span_in(1e3, summary['bandwidth_hz'])} kHz each, "
        f"{error}, mean of {summary['rounds']} rounds"
    )


def format_study(summary: Mapping[str, Any], points: Sequence[Point]) -> str:
    """Returns a study as text."""
    own, deadline = summary["method"], format_deadline(summary["time_budget_seconds"])
    return "\n".join(
        [
            describe_setting(summary),
            "",
            f"Deadline {deadline}, clients at their own distances:",
            "",
            format_table([_row_to_cells(row) for row in points[0].rows]),
            "",
            "Each method serves the same clients over the same channels before the same deadline.",
            "It splits the time optimally; with ':max_frequency' it computes at full frequency.",
            "A late upload is charged at full frequency and full power.",
            f"saved A: against {REFERENCE_BASELINES[0]} with the optimal split; "
            f"B: against {REFERENCE_BASELINES[1]};",
            "A, on time: like A, only for the uploads that are on time under every method.",
            _left_out(points[0].rows[0]),
            "",
            f"Percent saved by {own}, then by one bit for every client, against "
            f"{REFERENCE_BASELINES[0]} with",
            "the optimal split; rounded down; in brackets if full precision is late for a client:",
            "",
            format_table(_region_to_rows(to_cells(points))),
            "",
            *describe_goals(summary, points),
        ]
    )


def describe_goals(summary: Mapping[str, Any], points: Sequence[Point]) -> list[str]:
    """Returns a sentence for each saving that a study looks for: the settings that reach it."""
    cells = to_cells(points)
    return [_goal_to_text(find_goal(cells, goal["percent"])) for goal in summary["goals"]]


def _left_out(own: StudyRow) -> str:
    number = own.infeasible + own.client_rounds
    return (
        f"Left out by {own.method}, and therefore by all methods: "
        f"{own.infeasible} of {number} clients."
    )


def _row_to_cells(row: StudyRow) -> dict[str, Any]:
    return {
        "method": row.method,
        "bits": format_digits(row.mean_bits, 2),
        "computing J": row.compute_joules_per_round,
        "transmitting J": row.transmit_joules_per_round,
        "J a round": row.joules_per_round,
        "MB a round": row.uplink_bytes_per_round / 1e6,
        "late": f"{row.late}/{row.client_rounds}",
        "error/budget": format_digits(row.error_over_budget, 3),
        "saved A": format_percent(row.saved_percent_full_precision),
        "saved B": format_percent(row.saved_percent_full_precision_max_frequency),
        "A, on time": format_percent(row.on_time_saved_percent_full_precision),
    }


def _region_to_rows(cells: Sequence[Cell]) -> list[dict[str, str]]:
    """Returns one row per distance, one column per deadline."""
    rows: dict[float, dict[str, str]] = {}
    for cell in cells:
        row = rows.setdefault(cell.distance_meters, {"distance": f"{cell.distance_meters:g} m"})
        saved, floor = (
            format_saving(percent, cell.is_late)
            for percent in (cell.saved_percent, cell.floor_percent)
        )
        row[format_deadline(cell.time_budget_seconds)] = f"{saved} {floor}"
    return list(rows.values())


def _goal_to_text(goal: Goal) -> str:
    number = len(goal.reached) + len(goal.missed)
    text = f"A saving of {goal.percent:g} % is reached in {len(goal.reached)} of {number} settings"
    on_time = sum(not cell.is_late for cell in goal.reached)
    text += f", in {on_time} of them with full precision on time;"
    if not goal.out_of_reach:
        return f"{text} one bit for every client reaches it in all settings."
    floors = [cell.floor_percent or 0.0 for cell in goal.out_of_reach]
    return (
        f"{text} no number of bits reaches it in {len(goal.out_of_reach)}, where one bit saves "
        f"{min(floors):.1f} to {max(floors):.1f} %."
    )


def _goal_to_json(goal: Goal) -> dict[str, Any]:
    def places(cells: Sequence[Cell]) -> list[list[float]]:
        return [[cell.time_budget_seconds, cell.distance_meters] for cell in cells]

    return {
        "percent": goal.percent,
        "against": REFERENCE_BASELINES[0],
        "reached": places(goal.reached),
        "missed": places(goal.missed),
        "out_of_reach": places(goal.out_of_reach),
    }


def _span_in(unit: float, values: Sequence[float]) -> str:
    texts = (f"{value / unit:,.{0 if value >= 100 * unit else 2}f}" for value in values)
    return format_span(*texts)
