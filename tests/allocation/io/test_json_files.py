import dataclasses
import json
import re

import numpy as np
import pytest

from fedjax_diffusion.allocation import allocate, read_problem, write_allocation
from fedjax_diffusion.bits import BIT_WIDTHS
from tests.each import check_each

PLAIN = {
    "compute_cycles": [2e9, 4e9],
    "effective_capacitance": 1e-28,
    "max_frequency_hz": 2e9,
    "channel_gain": [1e-11, 2e-11],
    "bandwidth_hz": 1_000_000,
    "max_power_watts": 0.2,
    "noise_density_watts_per_hz": 4e-21,
    "num_parameters": 267_000,
    "overhead_bits": 512,
    "min_bits": 2,
    "max_bits": [16, 32],
    "error_weight": [1.0, 2.0],
    "error_budget": 1e-3,
    "time_budget_seconds": 6,
}


@pytest.fixture
def write(tmp_path):
    """Returns ``write(text_or_fields) -> path`` of a problem.json."""

    def write_file(content):
        path = tmp_path / "problem.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write_file


@pytest.mark.parametrize("has_tables", [False, True])
def test_reads_back_every_field(make_problem, write, has_tables):
    problem = make_problem(3, 0, overhead_bits=[4096.0] * 16 + [128.0])
    if has_tables:
        table = np.arange(1.0, 1.0 + 3 * len(BIT_WIDTHS)).reshape(3, len(BIT_WIDTHS))
        problem = problem.replace(bit_width_payload_bits=table, bit_width_error=1.0 / table)
    fields = {
        name: None if value is None else value.tolist() for name, value in vars(problem).items()
    }
    found = read_problem(write(fields))
    for name, value in vars(problem).items():
        np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)


def test_numbers_for_all_clients_and_tables_left_out(write):
    problem = read_problem(str(write(PLAIN)))
    assert problem.bandwidth_hz.tolist() == [1e6, 1e6]
    assert problem.max_bits.tolist() == [16, 32]
    assert problem.bit_width_error is None
    assert problem.is_present.tolist() == [True, True]


@pytest.mark.parametrize(("value", "expected"), [(False, [False] * 2), ([True, False], [1, 0])])
def test_clients_that_are_not_present(write, value, expected):
    assert read_problem(write(PLAIN | {"is_present": value})).is_present.tolist() == expected


@pytest.mark.parametrize("budget", ["null", "Infinity", "1e999"])
def test_no_error_budget(write, budget):
    text = json.dumps(PLAIN).replace('"error_budget": 0.001', f'"error_budget": {budget}')
    assert read_problem(write(text)).error_budget == np.inf


BAD_FIELDS = [
    ({"speed": 1}, 'unknown field "speed": must be one of compute_cycles, '),
    ({"is_present": 1}, "is_present = 1.0: must be true or false"),
    ({"is_present": [True, None]}, "is_present[1] = null: must be true or false"),
    ({"bandwidth_hz": True}, "bandwidth_hz = true: must be a number or a list of numbers"),
    ({"bandwidth_hz": [1e6, False]}, "bandwidth_hz[1] = false: must be a number"),
    ({"bandwidth_hz": "wide\nband"}, r'bandwidth_hz = "wide\nband": must be a number'),
    ({"bandwidth_hz": None}, "bandwidth_hz = null: must be a number or a list"),
    ({"bandwidth_hz": {"a": 1}}, 'bandwidth_hz = {"a": 1.0}: must be a number'),
    ({"bandwidth_hz": [1e6, [1e6]]}, "bandwidth_hz[1] = [1000000.0]: must be a number"),
    ({"bandwidth_hz": [1e6, float("nan")]}, "bandwidth_hz[1] = nan: must be > 0 and finite"),
    ({"bandwidth_hz": [1e6, 10**400]}, "bandwidth_hz[1] = inf: must be > 0 and finite"),
    (
        {"bandwidth_hz": [1e6] * 3},
        "bandwidth_hz has 3 clients, compute_cycles has 2: the numbers must be",
    ),
    ({"time_budget_seconds": float("inf")}, "time_budget_seconds = inf: must be > 0"),
    ({"time_budget_seconds": [6]}, "time_budget_seconds has shape (1,): must be one number"),
    ({"error_budget": float("nan")}, "error_budget = nan: must be >= 0, or infinity"),
    ({"error_budget": float("-inf")}, "error_budget = -inf: must be >= 0, or infinity"),
    ({"min_bits": [2, 17]}, "min_bits[1] = 17: must be 1..16 or 32"),
    (
        {"bit_width_error": 1},
        "bit_width_error = 1.0: must be null or a list, one row per client",
    ),
    (
        {"bit_width_error": [[1] * 17, [1] * 16]},
        "bit_width_error[1]: must be 17 numbers, one per",
    ),
    (
        {"bit_width_error": [[1] * 17, 1]},
        "bit_width_error[1]: must be 17 numbers, one per bit width",
    ),
    (
        {"bit_width_error": [[1] * 17, [1] * 16 + [None]]},
        "bit_width_error[1][16] = null: must be a",
    ),
    (
        {"bit_width_error": [[1] * 17]},
        "bit_width_error has shape (1, 17): must be 2 rows of 17 numbers",
    ),
]


def test_bad_fields_are_named(write):
    def check(fields, message):
        check_refused(write(PLAIN | fields), message)

    check_each(BAD_FIELDS, check)


@pytest.fixture
def clients(tmp_path):
    """Returns ``clients(text) -> path`` of a clients.csv."""

    def write_file(text):
        (tmp_path / "clients.csv").write_text(text)
        return tmp_path / "clients.csv"

    return write_file


def without(*names, **fields):
    return {name: value for name, value in PLAIN.items() if name not in names} | fields


def test_columns_take_the_place_of_fields(write, clients):
    columns = ("compute_cycles", "channel_gain", "max_bits", "min_bits")
    rows = zip(PLAIN["compute_cycles"], PLAIN["channel_gain"], PLAIN["max_bits"], strict=True)
    table = clients("\n".join([",".join(columns), *(f"{a},{b},{c},2" for a, b, c in rows)]))
    found = read_problem(write(without(*columns)), str(table))
    for name, value in vars(read_problem(write(PLAIN))).items():
        np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)


@pytest.mark.parametrize(
    ("fields", "table", "message"),
    [
        ({}, "min_bits\n2\n2\n", "min_bits is given here and in {}: must be in one of them"),
        (
            without("min_bits", "num_parameters"),
            "min_bits\n2\n2\n",
            "missing num_parameters, here or as a column of {}",
        ),
        (
            without("min_bits"),
            "min_bits\n2\n2\n2\n",
            "compute_cycles has 2 clients, {} has 3: the numbers must be equal, or one for all",
        ),
        (
            without("min_bits"),
            "min_bits\n2\n",
            "compute_cycles has 2 clients, {} has 1: the numbers must be equal, or one for all",
        ),
        (
            without("min_bits", bit_width_error=[[1.0] * 17] * 3),
            "min_bits\n2\n2\n",
            "bit_width_error has 3 clients, {} has 2: the numbers must be equal, or one for all",
        ),
    ],
)
def test_columns_and_fields_that_do_not_fit(write, clients, fields, table, message):
    table = clients(table)
    path = write(fields or PLAIN)
    with pytest.raises(ValueError, match="^" + re.escape(f"{path}: {message.format(table)}")):
        read_problem(path, table)


def test_a_bad_table_is_named_by_its_own_path(write, clients):
    table = clients("min_bits\n0\n")
    with pytest.raises(ValueError, match="^" + re.escape(f"{table}: line 2 (client 0): min_bits")):
        read_problem(write(without("min_bits")), table)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON: Expecting value: line 1 column 1"),
        ('{"min_bits": }', "is not JSON: Expecting value: line 1 column 14"),
        ("[" * 100_000, "is not JSON: "),
        ("[1, 2]", "must be an object with the fields compute_cycles, "),
        ('{"min_bits": 1, "max_bits": 2, "min_bits": 3}', '"min_bits" is given more than once'),
        (
            {name: value for name, value in PLAIN.items() if not name.endswith("bits")},
            "missing overhead_bits, min_bits, max_bits",
        ),
    ],
)
def test_bad_files_are_explained(write, content, message):
    check_refused(write(content), message)


def test_a_file_that_cannot_be_read(tmp_path):
    check_refused(tmp_path / "none.json", "cannot be read: No such file or directory")
    check_refused(tmp_path, "cannot be read: Is a directory")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    check_refused(tmp_path / "binary.json", "is not UTF-8 text: byte 0")


def check_refused(path, message):
    with pytest.raises(ValueError, match="^" + re.escape(f"{path}: {message}")) as caught:
        read_problem(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("method", ["on_demand", "relaxed", "full_precision"])
def test_an_allocation_is_written_field_by_field(make_problem, tmp_path, method):
    problem = make_problem(5, 0, min_bits=4, max_bits=16, error_budget=np.inf)
    problem.channel_gain[1] = 1e-25
    allocation = allocate(problem, method)
    path = tmp_path / "allocation.json"
    path.write_text("what was there before")
    write_allocation(path, allocation)
    content = json.loads(path.read_text())
    assert content.pop("status") == ["optimal", "infeasible_time"] + ["optimal"] * 3
    fields = {field.name for field in dataclasses.fields(allocation)}
    assert content.keys() == fields - {"status"}
    for name, value in content.items():
        np.testing.assert_array_equal(value, getattr(allocation, name), err_msg=name)
    assert [path.name for path in tmp_path.iterdir()] == ["allocation.json"]


def test_infinity_is_null_and_nan_is_refused(make_problem, tmp_path):
    allocation = allocate(make_problem(3, 0))
    path = tmp_path / "allocation.json"
    write_allocation(path, dataclasses.replace(allocation, multiplier=np.array(np.inf)))
    written = path.read_text()
    assert json.loads(written)["multiplier"] is None
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_allocation(path, dataclasses.replace(allocation, multiplier=np.array(np.nan)))
    assert path.read_text() == written


def test_nothing_is_left_where_an_allocation_cannot_be_written(make_problem, tmp_path):
    allocation = allocate(make_problem(3, 0))
    with pytest.raises(ValueError, match=r"none/a\.json: cannot be written: No such file"):
        write_allocation(tmp_path / "none" / "a.json", allocation)
    for name in ("folder.json", "folder.csv"):
        (tmp_path / name).mkdir()
        with pytest.raises(ValueError, match=f"{name}: cannot be written: Is a directory"):
            write_allocation(tmp_path / name, allocation)
    with pytest.raises(ValueError, match=r"a\.txt: must end in \.json or \.csv"):
        write_allocation(tmp_path / "a.txt", allocation)
    assert {path.name for path in tmp_path.iterdir()} == {"folder.json", "folder.csv"}
