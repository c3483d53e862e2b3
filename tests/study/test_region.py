import pytest

from fedjax_diffusion.study import Cell, find_goal, play_points, to_cells
from tests.study.scenarios import scenario_of, study_of

CELLS = [
    Cell(8.0, 50.0, 40.0, 45.0, True),
    Cell(20.0, 50.0, 83.6, 90.0, False),
    Cell(8.0, 500.0, 80.0, 85.0, True),
    Cell(20.0, 500.0, 95.0, 94.0, False),
    Cell(1.0, 500.0, None, None, False),
]


def test_cells_hold_the_savings_of_their_points():
    points = play_points(scenario_of(), study_of(rounds=2, time_budgets_seconds=(3.4, 20.0)))
    cells = to_cells(points)
    region = [point for point in points if point.sweep == "region"]
    assert len(cells) == len(region) == 6
    for cell, point in zip(cells, region, strict=True):
        assert cell[:2] == point[1:3]
        assert cell.saved_percent == point.row("on_demand").saved_percent_full_precision
        assert cell.floor_percent == point.row("fixed_bits:1").saved_percent_full_precision
        assert cell.is_late == (point.row("full_precision").late > 0)
    assert len({cell.is_late for cell in cells}) == 2


@pytest.mark.parametrize(
    ("percent", "reached", "missed", "out_of_reach"),
    [
        (83.6, [1, 3], [0, 2], [0]),
        (84.0, [3], [0, 1, 2], [0]),
        (94.5, [3], [0, 1, 2], [0, 1, 2]),
        (96.0, [], [0, 1, 2, 3], [0, 1, 2, 3]),
        (1.0, [0, 1, 2, 3], [], []),
    ],
)
def test_a_goal_is_reached_missed_or_out_of_reach(percent, reached, missed, out_of_reach):
    goal = find_goal(CELLS, percent)
    expected = ([CELLS[i] for i in places] for places in (reached, missed, out_of_reach))
    assert goal[1:] == tuple(expected)
