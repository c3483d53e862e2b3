"""CSV files of clients: a header of names, then one row per client."""

import dataclasses
import os
from pathlib import Path

import numpy as np

from fedjax_diffusion.allocation.allocation import Allocation
from fedjax_diffusion.allocation.problem import PER_CLIENT, is_in_range
from fedjax_diffusion.allocation.status import Status
from fedjax_diffusion.host.atomic import write_text
from fedjax_diffusion.host.csv_table import TableForm, columns_to_csv, read_table

_CLIENT = "client"


def read_clients(path: str | os.PathLike) -> dict[str, list[float]]:
    """Reads fields of an allocation problem that differ between clients, as ``read_table`` does.

    Args:
      path: a file whose header names fields of ``AllocationProblem`` that may differ between
        clients, in any order, followed by one row per client.

    Returns:
      K numbers by field.

    Raises:
      ValueError: the file cannot be read, is empty or is not CSV; a column is unknown or given
        twice; a row is too short or too long; a cell is empty, not a number or out of range. The
        message is one line with the file, the line number, the client, the column, the value and
        its range.
    """
    return read_table(path, _FORM)


def write_clients(path: str | os.PathLike, allocation: Allocation) -> None:
    """Writes the fields per client of an allocation, one row per client, atomically.

    Args:
      path: the file, replaced if it exists; its folder must exist.
      allocation: of K clients. Fields with one number for all of them are left out.

    Raises:
      OSError: the file cannot be written.
    """
    columns = {
        field.name: values.tolist()
        for field in dataclasses.fields(allocation)
        if (values := np.asarray(getattr(allocation, field.name))).ndim == 1
    }
    columns["status"] = [Status(status).name.lower() for status in columns["status"]]
    numbers = list(range(len(columns["status"])))
    write_text(Path(path), columns_to_csv({_CLIENT: numbers, **columns}))


def _check(name: str, value: float) -> tuple[bool, str]:
    is_allowed, allowed = is_in_range(name, np.array([value]))
    return bool(is_allowed.all()), allowed


_FORM = TableForm("client", PER_CLIENT, _check)
