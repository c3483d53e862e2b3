"""Whether a process that left its name in a file is still alive, as far as this machine can say."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PROC = Path("/proc")  # of Linux; elsewhere nothing is said about other processes
_PLACE = ("host", "boot_id", "pid_namespace")


def describe_process() -> dict[str, Any]:
    """Returns the facts that tell this process from all others, None where there is no /proc."""
    found = _read_stat(os.getpid())
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_start": found and found[1],
        "pid_namespace": _read_link(_PROC / "self" / "ns" / "pid"),
        "boot_id": _read_text(_PROC / "sys" / "kernel" / "random" / "boot_id"),
    }


def is_surely_dead(process: Mapping[str, Any]) -> bool:
    """Returns whether a process has ended; False where that cannot be known from here.

    A number is given to one process after another: a process is known by its number and the time
    of its start, within one PID namespace, since one boot of one host.

    Args:
      process: of ``describe_process``, perhaps from another machine, perhaps damaged.
    """
    here = describe_process()
    if any(here[name] is None or process.get(name) != here[name] for name in _PLACE):
        return False
    pid, start = process.get("pid"), process.get("process_start")
    if type(pid) is not int or pid <= 0 or start is None:
        return False
    try:
        os.kill(pid, 0)  # asks whether it is there
    except ProcessLookupError:
        return True
    except OSError:
        pass  # it is another user's
    found = _read_stat(pid)
    return found is not None and (found[0] in "ZX" or found[1] != start)


def _read_stat(pid: int) -> tuple[str, int] | None:
    """Returns state and start, in ticks since boot, of a process; None where it cannot be read."""
    text = _read_text(_PROC / str(pid) / "stat")
    if text is None:
        return None
    fields = text.rpartition(")")[2].split()  # before it stands the command, of any characters
    return fields[0], int(fields[19])


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _read_link(path: Path) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None
