"""Wrong answers made from right ones, and what the verifier says of them."""

import dataclasses

import numpy as np

from fedjax_diffusion.allocation import verify


def fields_found(problem, allocation, **keywords):
    """Returns the fields that the verifier names, as ``field`` or ``field[client]``."""
    found = verify(problem, allocation, **keywords)
    assert found.is_valid == (not found.violations)
    assert all(": must be " in line for line in found.violations)
    return {line.split(" = ")[0] for line in found.violations}


def scale_entry(allocation, name, client, factor):
    """Returns the allocation with one number of a field multiplied."""
    values = np.array(getattr(allocation, name), copy=True)
    if values.ndim:
        values[client] *= factor
    else:
        values = values * factor
    return allocation.replace(**{name: values})


def leave_out(allocation, client, status):
    """Returns the allocation with a client left out properly, at this status."""
    per_client = [
        field.name
        for field in dataclasses.fields(allocation)
        if np.ndim(getattr(allocation, field.name)) and field.name != "requested_bits"
    ]
    zeroed = {name: np.array(getattr(allocation, name), copy=True) for name in per_client}
    for values in zeroed.values():
        values[client] = 0
    zeroed["status"][client] = status
    return allocation.replace(**zeroed)
