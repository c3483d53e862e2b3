import json

import pytest

from fedjax_diffusion.study import format_study, play_points
from fedjax_diffusion.study.report import describe_setting, summarize
from tests.study.scenarios import METHODS, scenario_of, study_of


@pytest.fixture(scope="module")
def study():
    """A scenario, its study, the points and the summary."""
    scenario, config = scenario_of(), study_of(rounds=2, time_budgets_seconds=(3.4, 20.0))
    points = play_points(scenario, config)
    return points, summarize(scenario, config, points)


def test_the_summary_is_plain_json_and_holds_the_setting(study):
    points, summary = study
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["setting"] == [row._asdict() for row in points[0].rows]
    assert summary["num_parameters"] == 50_000
    assert summary["compute_cycles"] == [1e9, 3e9]
    assert (summary["num_clients"], summary["clients_per_round"], summary["rounds"]) == (6, 6, 2)
    assert (summary["method"], summary["error_budget_as_fixed_bits"]) == ("on_demand", 6)


def test_goals_name_their_baseline_and_their_places(study):
    _, summary = study
    assert [goal["percent"] for goal in summary["goals"]] == [50.0, 99.0]
    for goal in summary["goals"]:
        assert goal["against"] == "full_precision"
        for cell in summary["region"]:
            place = [cell["time_budget_seconds"], cell["distance_meters"]]
            is_reached = cell["saved_percent"] >= goal["percent"]
            assert (place in goal["reached"]) == is_reached
            assert (place in goal["missed"]) != is_reached


def test_the_text_holds_every_method_and_every_place(study):
    points, summary = study
    text = format_study(summary, points)
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line}
    lines["50"] = next(line.split() for line in text.splitlines() if line.startswith("50 m"))
    for row in points[0].rows:
        cells = lines[row.method]
        assert float(cells[1]) == pytest.approx(row.mean_bits, abs=0.005)
        assert float(cells[4]) == pytest.approx(row.joules_per_round, rel=1e-3)
        assert cells[6] == f"{row.late}/{row.client_rounds}"
        assert float(cells[8]) == pytest.approx(row.saved_percent_full_precision, abs=0.05)
    assert {"on_demand", *METHODS} <= lines.keys()
    assert [lines[m][1] for m in ("150", "300")] == ["m"] * 2
    for cell in summary["region"]:
        text_of_cell = f"{int(cell['saved_percent'])}"
        assert any(
            word.strip("()") == text_of_cell for word in lines[f"{cell['distance_meters']:g}"]
        )
    assert "Left out by on_demand, and therefore by all methods: 0 of 12 clients." in text
    assert "50 % is reached in " in text
    assert "99 % is reached in 0 of 6 settings, in 0 of them with full precision on time" in text


def test_the_setting_is_told_in_one_line(study):
    line = describe_setting(study[1])
    assert line == (
        "6 clients, 50,000 parameters, 1.00 to 3.00 G cycles, 100 kHz each, error budget of 6 bits "
        "for all, mean of 2 rounds"
    )
    changed = study[1] | {"clients_per_round": 2, "error_budget_as_fixed_bits": None}
    line = describe_setting(changed | {"compute_cycles": [5e13, 5e13]})
    assert line.startswith("2 of 6 clients a round, 50,000 parameters, 50,000 G cycles, ")
    assert "no error budget" in line


def test_a_study_in_which_hardly_anybody_takes_part_can_be_told():
    config = study_of(rounds=1, time_budgets_seconds=(0.01,), distances_meters=(100.0,))
    scenario = scenario_of()
    points = play_points(scenario, config)
    text = format_study(summarize(scenario, config, points), points)
    assert "50 % is reached in 0 of 0 settings" in text
    assert any(line.split() == ["100", "m", "-", "-"] for line in text.splitlines())
