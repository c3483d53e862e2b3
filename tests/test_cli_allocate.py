import json

import pytest

from fedjax_diffusion import cli

PROBLEM = {
    "compute_cycles": [2e9, 4e9],
    "effective_capacitance": 1e-28,
    "max_frequency_hz": 2e9,
    "channel_gain": 1e-11,
    "bandwidth_hz": 1e6,
    "max_power_watts": 0.2,
    "noise_density_watts_per_hz": 4e-21,
    "num_parameters": 267_000,
    "overhead_bits": 512,
    "min_bits": 2,
    "max_bits": 16,
    "error_weight": [1.0, 2.0],
    "error_budget": 1e-3,
    "time_budget_seconds": 6.0,
}


@pytest.fixture
def allocate(tmp_path, capsys):
    """Returns ``allocate(fields, *arguments) -> (exit code, answer or None, stdout, stderr)``."""

    def run(fields, *arguments):
        problem, output = tmp_path / "problem.json", tmp_path / "allocation.json"
        problem.write_text(json.dumps(PROBLEM | fields))
        command = ["allocate", "--problem", str(problem), "--output", str(output)]
        code = cli.main([*command, *arguments])
        answer = json.loads(output.read_text()) if output.exists() else None
        return code, answer, *capsys.readouterr()

    return run


def test_a_problem_is_solved_shown_and_written(allocate):
    code, answer, out, err = allocate({})
    assert (code, err) == (0, "")
    assert answer["num_bits"] == [6, 6]
    assert answer["status"] == ["optimal", "optimal"]
    assert answer["error"] <= 1e-3
    assert len(out.splitlines()) == 2 + 2 + 3


def test_without_output_nothing_is_written(tmp_path, capsys):
    problem = tmp_path / "problem.json"
    problem.write_text(json.dumps(PROBLEM))
    assert cli.main(["allocate", f"--problem={problem}"]) == 0
    assert "relative gap" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [problem]


@pytest.mark.parametrize(
    ("method", "num_bits"),
    [("demand", [2, 2]), ("fixed_bits:8", [8, 8]), ("full_precision:max_frequency", [32, 32])],
)
def test_methods(allocate, method, num_bits):
    code, answer, _, _ = allocate({"time_budget_seconds": 60}, "--method", method)
    assert code == 0
    assert answer["num_bits"] == num_bits


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({"channel_gain": [1e-11, 1e-25]}, "infeasible_time", "time: client 1 cannot deliver 2"),
        ({"max_bits": [16, 1]}, "infeasible_demand", "demand: client 1: min_bits 2 is above"),
        ({"error_budget": 1e-12}, "infeasible_error", "error: clients 0, 1 cannot meet error"),
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
        ({"channel_gain": [1e-11, -1]}, (), "channel_gain[1] = -1: must be > 0 and finite"),
        ({}, ("--method", "best"), "method = 'best': must be one of on_demand"),
        ({}, ("--method", "fixed_bits:17"), "B is 1..16 or 32"),
        ({}, ("--problem", "none.json"), "none.json: cannot be read: No such file"),
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
