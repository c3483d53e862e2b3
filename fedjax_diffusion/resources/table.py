"""An allocation as text."""

import numpy as np

from fedjax_diffusion.resources.allocation import Allocation
from fedjax_diffusion.resources.status import Status

_MAX_CLIENTS = 30
_ROW = "{:>6}  {:>5}  {:>10}  {:>10}  {:>10}  {:>12}  {:>14}  {}"
_HEADER = (
    "client",
    "bits",
    "compute s",
    "upload s",
    "power W",
    "computing J",
    "transmitting J",
    "status",
)


def allocation_table(allocation: Allocation) -> str:
    """Returns an allocation as an aligned table: a line per client, the total, the certificate.

    Args:
      allocation: K clients; beyond the first 30 they are counted, not listed. The total is over
        all of them.
    """
    listed = range(min(len(allocation.status), _MAX_CLIENTS))
    lines = [_ROW.format(*_HEADER), *(_client_line(allocation, client) for client in listed)]
    if len(allocation.status) > len(listed):
        lines.append(f"{'...':>6}  and {len(allocation.status) - len(listed)} more clients")
    compute_joules = float(np.sum(allocation.compute_joules))
    transmit_joules = float(np.sum(allocation.transmit_joules))
    joules = (f"{compute_joules:.4g}", f"{transmit_joules:.4g}")
    total = _ROW.format("total", "", "", "", "", *joules, f"{allocation.total_joules:.4g} J")
    rule = "-" * max(map(len, lines))
    certificate = (
        f"error {float(allocation.error):.4g}, dual bound {float(allocation.dual_bound_joules):.4g}"
        f" J, relative gap {float(allocation.relative_gap):.2g}"
    )
    return "\n".join([lines[0], rule, *lines[1:], rule, total, certificate])


def _client_line(allocation: Allocation, client: int) -> str:
    numbers = (
        allocation.num_bits,
        allocation.compute_seconds,
        allocation.upload_seconds,
        allocation.transmit_power_watts,
        allocation.compute_joules,
        allocation.transmit_joules,
    )
    status = Status(int(allocation.status[client])).name.lower()
    return _ROW.format(client, *(f"{float(values[client]):.4g}" for values in numbers), status)
