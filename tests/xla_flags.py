"""Flags of XLA that the tests set: read before JAX is imported, so this imports none of it."""

import importlib.util
import mmap
import os
import pathlib

_EMITTERS = "xla_cpu_use_fusion_emitters"


def with_fast_emitters():
    """Returns the flags with which programs compile in half the time, beside those that are set.

    Loops are emitted by the older of XLA's two emitters.
    """
    given = os.environ.get("XLA_FLAGS", "")
    if _EMITTERS in given or not _is_known(_EMITTERS):
        return given
    return f"{given} --{_EMITTERS}=false".strip()


def _is_known(flag):
    """Whether the installed XLA has a flag: it ends the process at one that it has not."""
    specification = importlib.util.find_spec("jaxlib")
    library = pathlib.Path(specification.origin).with_name("libjax_common.so")
    if not library.exists():
        return False
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as binary:
        return binary.find(flag.encode()) >= 0
