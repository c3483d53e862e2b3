"""Tables of clients: whatever editors and spreadsheets make of them, and what is wrong in them."""

import csv
import re

import numpy as np
import pytest

from fedjax_diffusion.allocation import Status, allocate
from fedjax_diffusion.allocation.io.clients_csv import read_clients, write_clients
from tests.each import check_each

PLAIN = "channel_gain,min_bits\n1e-11,2\n2e-12,4\n"
READ = {"channel_gain": [1e-11, 2e-12], "min_bits": [2.0, 4.0]}


@pytest.fixture
def write(tmp_path):
    """Returns ``write(text or bytes) -> path`` of a clients.csv."""

    def write_file(content):
        path = tmp_path / "clients.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.rstrip("\n"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.replace("\n", "\n\n") + "\n , \n",
        PLAIN.replace(",", " , "),
        PLAIN.replace("1e-11", '"1e-11"').replace("min_bits", '"min_bits"'),
        "min_bits,channel_gain\n2,0.00000000001\n+4.0,2E-12\n",
    ],
    ids=["plain", "no last end", "CRLF", "CR", "BOM", "blank", "spaces", "quotes", "order"],
)
def test_reads_what_editors_write(write, content):
    assert read_clients(str(write(content))) == READ


def test_one_client_and_one_column_will_do(write):
    assert read_clients(write("error_weight\n0\n")) == {"error_weight": [0.0]}


def test_clients_that_are_not_present_have_a_zero(write):
    assert read_clients(write("is_present\n1\n0\n")) == {"is_present": [1.0, 0.0]}


WRONG = [
    ("", "is empty: must have a header with some of compute_cycles, "),
    (" \n\n", "is empty: must have a header"),
    (PLAIN.splitlines()[0], "has a header but no clients: one row per client must follow"),
    ("gain,min_bits\n1,2\n", "line 1, column 1: unknown name 'gain': must be one of compute"),
    ("\nmin_bits,\n1,2\n", "line 2, column 2: unknown name '': must be one of compute_cycles"),
    ("num_parameters\n3\n", "line 1, column 1: unknown name 'num_parameters': must be"),
    ("min_bits;max_bits\n2;8\n", "line 1, column 1: unknown name 'min_bits;max_bits' (columns"),
    ("min_bits,max_bits,min_bits\n", "line 1: column min_bits is given more than once"),
    (PLAIN + "3e-12\n", "line 4 (client 2): 1 cell: must be 2, one per column of line 1"),
    (
        "\n" + PLAIN + "\n3e-12,2,\n",
        "line 6 (client 2): 3 cells: must be 2, one per column of line 2",
    ),
    (PLAIN + "3e-12,\n", "line 4 (client 2): min_bits is empty: must be a number, 1..16 or 32"),
    ("min_bits,channel_gain\n2,x\n", "line 2 (client 0): channel_gain = 'x': must be a number"),
    (PLAIN + "3e-12,17\n", "line 4 (client 2): min_bits = 17: must be 1..16 or 32"),
    (PLAIN + "-3e-12,2\n", "line 4 (client 2): channel_gain = -3e-12: must be > 0 and finite"),
    (PLAIN + "nan,2\n", "line 4 (client 2): channel_gain = nan: must be > 0 and finite"),
    (PLAIN + "1e999,2\n", "line 4 (client 2): channel_gain = 1e999: must be > 0 and finite"),
    ("error_weight\n-1\n", "line 2 (client 0): error_weight = -1: must be >= 0 and finite"),
    ("min_bits\n1_0\n", "line 2 (client 0): min_bits = '1_0': must be a number"),
    ("min_bits\n٣\n", "line 2 (client 0): min_bits = '٣': must be a number"),
    ("min_bits\n" + "9" * 99 + "x\n", f"line 2 (client 0): min_bits = '{'9' * 39}: must be"),
    ('min_bits\n"2\n', "line 2 is not CSV: unexpected end of data"),
    ('min_bits\n"2"x\n', "line 2 is not CSV: "),
    (b"\xff\xfem\x00", "is not UTF-8 text: byte 0"),
]


def test_what_is_wrong_is_named_with_its_line(write):
    def check(content, message):
        path = write(content)
        with pytest.raises(ValueError, match="^" + re.escape(f"{path}: {message}")) as caught:
            read_clients(path)
        assert len(str(caught.value).splitlines()) == 1

    check_each(WRONG, check)


def test_a_file_that_cannot_be_read(tmp_path):
    for path, reason in ((tmp_path / "none.csv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ValueError, match=re.escape(f"{path}: cannot be read: {reason}")):
            read_clients(path)


@pytest.mark.parametrize("method", ["on_demand", "relaxed"])
def test_an_allocation_is_a_row_per_client(make_problem, tmp_path, method):
    problem = make_problem(5, 0, min_bits=4, max_bits=16, error_budget=np.inf)
    problem.channel_gain[1] = 1e-25
    allocation = allocate(problem, method)
    write_clients(tmp_path / "allocation.csv", allocation)
    with (tmp_path / "allocation.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["client"]) for row in rows] == [0, 1, 2, 3, 4]
    per_client = {name for name, values in vars(allocation).items() if np.ndim(values) == 1}
    assert rows[0].keys() == per_client | {"client"}
    assert {"num_bits", "bandwidth_hz", "transmit_joules"} < per_client
    for k, row in enumerate(rows):
        assert row["status"] == Status(allocation.status[k]).name.lower()
        for name in per_client - {"status"}:
            assert float(row[name]) == getattr(allocation, name)[k]
