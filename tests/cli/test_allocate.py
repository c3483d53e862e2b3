"""``fedjax-diffusion allocate``, as a user types it."""

import csv
import dataclasses
import json
import pathlib
import re

import chex
import pytest

from fedjax_diffusion import AllocationProblem
from fedjax_diffusion.allocation import example_problem, read_problem, solution
from fedjax_diffusion.cli.main import main
from tests.allocation.methods.test_on_demand import brute_force
from tests.reliability import drawn_problems
from tests.reliability.drawn_values import MAX_LINE, play

PROBLEM = drawn_problems.PROBLEM | {
    "compute_cycles": [2e9, 4e9, 3e9, 2.5e9, 3.5e9],
    "error_weight": [1.0, 2.0, 1.0, 1.0, 1.0],
    "error_budget": 2e-3,
}
"""With five clients, as in the tests of allocation: one worker plays both."""


@pytest.fixture
def allocate(tmp_path, capsys):
    """Returns ``allocate(fields, *arguments) -> (exit code, answer or None, stdout, stderr)``."""

    def run(fields, *arguments):
        problem, output = tmp_path / "problem.json", tmp_path / "allocation.json"
        problem.write_text(json.dumps(PROBLEM | fields))
        command = ["allocate", "--problem", str(problem), "--output", str(output)]
        code = main([*command, *arguments])
        answer = json.loads(output.read_text()) if output.exists() else None
        return code, answer, *capsys.readouterr()

    return run


def test_a_problem_is_solved_shown_and_written(allocate):
    code, answer, out, err = allocate({})
    assert (code, err) == (0, "")
    narrow = AllocationProblem(**PROBLEM | {"min_bits": 4, "max_bits": 9})
    assert answer["num_bits"] == brute_force(narrow)[1]
    assert answer["status"] == ["optimal"] * 5
    assert answer["error"] <= 2e-3
    assert len(out.splitlines()) == 2 + 5 + 4
    assert out.endswith("verified: every limit and cost recomputed\n")


def test_an_answer_is_verified_and_a_changed_one_is_not(allocate, tmp_path, capsys):
    _, answer, *_ = allocate({})
    command = ["verify", f"--problem={tmp_path}/problem.json"]
    command.append(f"--allocation={tmp_path}/allocation.json")
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("valid: ")
    answer["compute_joules"][0] *= 0.5
    (tmp_path / "allocation.json").write_text(json.dumps(answer))
    assert main(command) == 1
    assert "compute_joules[0] = " in capsys.readouterr().out
    assert main([*command, "--method=best"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_without_output_nothing_is_written(tmp_path, capsys):
    problem = tmp_path / "problem.json"
    problem.write_text(json.dumps(PROBLEM))
    assert main(["allocate", f"--problem={problem}"]) == 0
    assert "energy at least " in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [problem]


@pytest.mark.parametrize(
    ("method", "num_bits"),
    [("demand", 2), ("fixed_bits:8", 8), ("full_precision:max_frequency", 32)],
)
def test_methods(allocate, method, num_bits):
    code, answer, _, _ = allocate({"time_budget_seconds": 60}, "--method", method)
    assert code == 0
    assert answer["num_bits"] == [num_bits] * 5


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        (
            {"channel_gain": [1e-11, 1e-25, 1e-11, 1e-11, 1e-11]},
            "infeasible_time",
            "time: client 1 cannot deliver 2",
        ),
        (
            {"max_bits": [16, 1, 16, 16, 16]},
            "infeasible_demand",
            "demand: client 1: min_bits 2 is above",
        ),
        (
            {"error_budget": 1e-12},
            "infeasible_error",
            "error: clients 0, 1, 2, 3, 4 cannot meet error",
        ),
    ],
)
def test_an_infeasible_client_is_explained_and_the_answer_written(allocate, fields, status, reason):
    code, answer, out, err = allocate(fields)
    assert code == 3
    assert answer["status"][1] == status
    assert answer["num_bits"][1] == 0
    assert status in out
    (line,) = err.splitlines()
    assert line.startswith(reason)


@pytest.mark.parametrize(
    ("fields", "arguments", "message"),
    [
        ({"speed": 1}, (), 'unknown field "speed"'),
        ({"min_bits": "two"}, (), 'min_bits = "two": must be a number'),
        (
            {"channel_gain": [1e-11, -1, 1e-11, 1e-11, 1e-11]},
            (),
            "channel_gain[1] = -1: must be > 0 and finite",
        ),
        ({}, ("--method", "best"), "method = 'best': must be one of on_demand"),
        ({}, ("--method", "fixed_bits:17"), "B is 1..16 or 32"),
        ({}, ("--problem", "none.json"), "none.json: cannot be read: No such file"),
        ({}, ("--clients", "none.csv"), "none.csv: cannot be read: No such file"),
        ({}, ("--output", "answer.txt"), "answer.txt: must end in .json or .csv"),
        ({}, ("--refine", "--method=demand"), "method = 'demand': must be one of on_demand"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(allocate, fields, arguments, message):
    code, answer, out, err = allocate(fields, *arguments)
    assert (code, answer, out) == (2, None, "")
    (line,) = err.splitlines()
    assert line.startswith("fedjax-diffusion: ")
    assert message in line


def test_an_output_that_cannot_be_written_is_one_line(allocate, tmp_path):
    code, answer, _, err = allocate({}, "--output", str(tmp_path / "none" / "answer.json"))
    assert (code, answer) == (2, None)
    (line,) = err.splitlines()
    assert line.endswith("answer.json: cannot be written: No such file or directory")


def test_clients_come_from_a_table_and_go_to_one(allocate, tmp_path):
    """The same numbers as from JSON alone, whatever the order of the columns."""
    code, expected, shown, _ = allocate({})
    fields = {n: v for n, v in PROBLEM.items() if n not in ("compute_cycles", "error_weight")}
    (tmp_path / "fields.json").write_text(json.dumps(fields))
    (tmp_path / "clients.csv").write_text(
        "error_weight,compute_cycles\n1,2e9\n2,4e9\n1,3e9\n1,2.5e9\n1,3.5e9\n"
    )
    files = {n: str(tmp_path / f) for n, f in (("problem", "fields.json"), ("output", "a.csv"))}
    code, _, out, err = allocate(
        {},
        *(f"--{name}={path}" for name, path in files.items()),
        f"--clients={tmp_path / 'clients.csv'}",
    )
    assert (code, err, out) == (0, "", shown)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == expected["status"]
    for name in ("num_bits", "compute_seconds", "transmit_power_watts", "requested_bits"):
        assert [float(row[name]) for row in rows] == expected[name]


def test_a_field_that_is_given_twice_is_named(allocate, tmp_path):
    (tmp_path / "clients.csv").write_text("min_bits\n" + 5 * "2\n")
    code, answer, out, err = allocate({}, f"--clients={tmp_path / 'clients.csv'}")
    assert (code, answer, out) == (2, None, "")
    assert re.fullmatch(r".*problem\.json: min_bits is given here and in .*clients\.csv: .*\n", err)


def test_refining_closes_the_gap(allocate):
    fields = {"compute_cycles": [1e9, 2e9, 3e9, 4e9, 5e9], "error_weight": 1.0}
    fields["error_budget"] = 2e-3
    _, start, _, _ = allocate(fields)
    code, refined, out, _ = allocate(fields, "--refine")
    assert code == 0
    assert refined["relative_gap"] <= 1e-9
    joules = [
        sum(answer["compute_joules"] + answer["transmit_joules"]) for answer in (start, refined)
    ]
    assert joules[1] <= joules[0]
    assert out.endswith("verified: every limit and cost recomputed\n")


@pytest.mark.parametrize(
    "method", ["relaxed", "demand", "fixed_bits:1", "largest", "demand:joint_bandwidth"]
)
def test_every_method_is_verified_by_what_it_promises(allocate, method):
    """Bits outside of the limits, an error above the budget: as far as the method allows them."""
    code, _, out, err = allocate(
        {"min_bits": 2, "max_bits": [6, 16, 6, 16, 16]}, "--method", method
    )
    assert (code, err) == (0, "")
    assert "verified" in out


def test_an_answer_that_fails_the_check_is_not_written(allocate, monkeypatch):
    honest = solution.allocate

    def cheat(problem, method):
        answer = honest(problem, method)
        return dataclasses.replace(answer, compute_joules=0.5 * answer.compute_joules)

    monkeypatch.setattr(solution, "allocate", cheat)
    code, answer, out, err = allocate({})
    assert (code, answer, out) == (1, None, "")
    assert "compute_joules[0] = " in err


def test_the_help_names_every_field_and_shows_the_example_problem(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["allocate", "--help"])
    text = capsys.readouterr().out
    for field in dataclasses.fields(AllocationProblem):
        assert field.name in text or field.name.startswith("bit_width_")
    shown = tmp_path / "problem.json"
    shown.write_text(re.search(r"\{.*\}", text, re.DOTALL)[0])
    chex.assert_trees_all_equal(read_problem(shown), example_problem())
    assert main(["allocate", f"--problem={shown}"]) == 0


def refuse(constant):
    raise ValueError(constant)


def check_drawn(drawn, capsys):
    """Checks exit code, output and answer of one drawn input, in the current folder."""
    content, table, arguments = drawn
    pathlib.Path("problem.json").write_bytes(content)
    if table is not None:
        pathlib.Path("clients.csv").write_bytes(table)
        arguments = [*arguments, "--clients=clients.csv"]
    code = main(["allocate", "--problem=problem.json", *arguments])
    out, err = capsys.readouterr()
    (output,) = (pathlib.Path(text[9:]) for text in arguments if text.startswith("--output="))
    assert output.exists() == (code != 2), err
    if code == 2:
        assert re.fullmatch(r"fedjax-diffusion: .+\n", err)
        assert len(err) < MAX_LINE
        assert out == ""
        return
    assert code in (0, 3), err
    assert out.endswith("verified: every limit and cost recomputed\n")
    lines = err.splitlines()
    assert bool(lines) == (code == 3)
    assert all(line.startswith(("time: ", "demand: ", "error: ")) for line in lines)
    assert not re.search(r"\b(nan|NaN)\b", out + err + output.read_text())
    if output.suffix == ".json":
        json.loads(output.read_text(), parse_constant=refuse)
    output.unlink()


def test_a_few_drawn_inputs_are_solved_or_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    play(15, drawn_problems.draw_problem(), lambda drawn: check_drawn(drawn, capsys))


@pytest.mark.slow
@pytest.mark.parametrize("piece", range(1, 11))
def test_1000_drawn_inputs_are_solved_or_refused(piece, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    play(100, drawn_problems.draw_problem(), lambda drawn: check_drawn(drawn, capsys), piece)
