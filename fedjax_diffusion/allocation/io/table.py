"""Text table of an allocation."""

import numpy as np
from numpy.typing import ArrayLike

from fedjax_diffusion.allocation.allocation import Allocation
from fedjax_diffusion.allocation.status import Status

_MAX_CLIENTS = 30
_COLUMNS = {
    "num_bits": ("bits", 5),
    "bandwidth_hz": ("band kHz", 10),
    "compute_seconds": ("compute s", 10),
    "upload_seconds": ("upload s", 10),
    "transmit_power_watts": ("power W", 10),
    "compute_joules": ("computing J", 12),
    "transmit_joules": ("transmitting J", 14),
}
"""Heading and column width by field."""
_SCALES = {"bandwidth_hz": 1e-3}


def allocation_table(allocation: Allocation) -> str:
    """Returns an allocation as an aligned table: a line per client, the total, the certificate.

    Args:
      allocation: K clients; only the first 30 are listed, the rest is counted. The total is over
        all of them. Bands are listed if the clients share one.
    """
    names = [n for n in _COLUMNS if n != "bandwidth_hz" or allocation.is_band_shared]
    listed = range(min(len(allocation.status), _MAX_CLIENTS))
    header = [_COLUMNS[name][0] for name in names]
    lines = [
        _line(names, "client", header, "status"),
        *(_client_line(names, allocation, client) for client in listed),
    ]
    if len(allocation.status) > len(listed):
        lines.append(f"{'...':>6}  and {len(allocation.status) - len(listed)} more clients")
    totals = [
        _number(np.sum(getattr(allocation, name))) if name.endswith("joules") else ""
        for name in names
    ]
    total = _line(names, "total", totals, f"{_number(allocation.total_joules)} J")
    rule = "-" * max(map(len, lines))
    certificate = (
        f"squared error {_number(allocation.error)}; energy at least "
        f"{_number(allocation.dual_bound_joules)} J, gap {100 * allocation.relative_gap:.2g} %"
    )
    return "\n".join([lines[0], rule, *lines[1:], rule, total, certificate])


def _client_line(names: list[str], allocation: Allocation, client: int) -> str:
    cells = [
        _number(_SCALES.get(name, 1.0) * float(getattr(allocation, name)[client])) for name in names
    ]
    status = Status(int(allocation.status[client])).name.lower()
    return _line(names, str(client), cells, status)


def _line(names: list[str], first: str, cells: list[str], last: str) -> str:
    widths = [_COLUMNS[name][1] for name in names]
    middle = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
    return f"{first:>6}  {middle}  {last}"


def _number(value: ArrayLike) -> str:
    return f"{float(np.asarray(value)):.4g}"
