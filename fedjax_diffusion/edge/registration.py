"""Registration of a user's own fleets."""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.edge.devices import FLEETS, DeviceClass
from fedjax_diffusion.host.own_names import add_name


def register_fleet(name: str, classes: Sequence[DeviceClass]) -> None:
    """Adds a fleet of your own, for ``devices.fleet``.

    Args:
      name: letters, digits and underscores, beginning with a letter.
      classes: kinds of devices, one or more, with different names.

    Raises:
      ValueError: the name is taken, or a field of a class is out of range.
    """
    if not classes or len({each.name for each in classes}) < len(classes):
        raise ValueError(f"fleet {name!r} must have one or more classes with different names")
    for each in classes:
        for field, value in dataclasses.asdict(each).items():
            where = f"fleet {name!r}, class {each.name!r}: {field} = {value!r}"
            if field in ("min_bits", "max_bits"):
                if value not in BIT_WIDTHS:
                    raise ValueError(f"{where}: must be 1..16 or 32")
            elif field != "name" and not 0 < value < np.inf:
                raise ValueError(f"{where}: must be above 0 and finite")
        if each.min_bits > each.max_bits:
            raise ValueError(f"fleet {name!r}, class {each.name!r}: min_bits is above max_bits")
    digest = hashlib.sha256(repr(tuple(classes)).encode()).hexdigest()
    add_name(FLEETS, "fleet", name, tuple(classes), digest)
