"""Figures of a study, named for a report."""

import functools

from fedjax_diffusion.report.figures import NamedFigure
from fedjax_diffusion.study import Study, to_cells
from fedjax_diffusion.study.figures import draw_region, draw_sweep
from fedjax_diffusion.study.report import describe_setting

_ENERGY = (
    "Joules per client and round of each method: mean of {rounds} rounds, band from the 10th to "
    "the 90th percentile. Hollow dots: some upload is late. Below: late uploads, in percent."
)
_REGION = (
    "Percent of the energy saved against full precision with the optimal split of the time, "
    "rounded down; in brackets where full precision is late for some client. Frames: {goals}."
)


def list_study_figures(study: Study) -> list[NamedFigure]:
    """Returns the figures of a study: energy by deadline and by distance, and savings by both."""
    summary = study.summary
    title = describe_setting(summary)
    goals_percent = [goal["percent"] for goal in summary["goals"]]
    energy = _ENERGY.format(rounds=summary["rounds"])
    goals = ", ".join(f"at least {percent:g} %" for percent in goals_percent)
    draw = functools.partial(draw_sweep, study.points, title=title)
    return [
        NamedFigure(
            "energy_by_time_budget", "Energy by deadline", energy, lambda: draw(sweep="time_budget")
        ),
        NamedFigure(
            "energy_by_distance", "Energy by distance", energy, lambda: draw(sweep="distance")
        ),
        NamedFigure(
            "savings_by_time_budget_and_distance",
            "Savings by deadline and distance",
            _REGION.format(goals=goals),
            lambda: draw_region(to_cells(study.points), summary["method"], goals_percent, title),
        ),
    ]
