"""The command ``sweep --status``, which does without JAX."""

import time
from pathlib import Path

from fedjax_diffusion.sweep.listing import read_listing
from fedjax_diffusion.sweep.states import read_states
from fedjax_diffusion.sweep.status import format_status

_WATCH_SECONDS = 5.0


def show_status(workdir: str | Path, *, is_watching: bool) -> int:
    """Prints the state of a sweep, again and again until all is done if asked for; returns 0."""
    print(format_status(workdir))
    while is_watching and {"planned", "running", "stale"} & _list_statuses(workdir):
        time.sleep(_WATCH_SECONDS)
        print(f"\n{format_status(workdir)}", flush=True)
    return 0


def _list_statuses(workdir: str | Path) -> set[str]:
    return {state.status for state in read_states(read_listing(workdir))}
