"""Events for TensorBoard: the numbers of each round of a run, written as it is played."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fedjax_diffusion.host.processes import is_primary
from fedjax_diffusion.runs.records import EVENTS, find_mean_bits
from fedjax_diffusion.runs.rounds import OnRecord

_NUMBERS = (
    *("loss", "compute_joules", "transmit_joules", "total_joules", "uplink_bytes"),
    *("downlink_bytes", "quantization_error", "relative_gap", "wall_seconds"),
)


def check_tensorboard() -> None:
    """Raises ValueError unless the package that writes the events is installed."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise ValueError(
            "tensorboard = True needs one more package: pip install -e '.[tensorboard]' in the "
            "project's folder"
        ) from None


@contextlib.contextmanager
def write_events(workdir: Path, first: int, on_record: OnRecord | None) -> Iterator[OnRecord]:
    """Yields a callback of records that writes their numbers as events, by completed rounds.

    Args:
      workdir: the run folder.
      first: number of the first round that is played; later events of an earlier part are void.
      on_record: called too.
    """
    if not is_primary():
        yield on_record or (lambda record: None)
        return
    from tensorboardX import SummaryWriter

    def write(record: dict) -> None:
        for name, value in _list_numbers(record):
            writer.add_scalar(name, value, record["round"] + 1)
        writer.flush()
        if on_record is not None:
            on_record(record)

    place, suffix = str(workdir / EVENTS), f".{first}"  # two parts may begin in one second
    with SummaryWriter(place, purge_step=first + 1, filename_suffix=suffix) as writer:
        yield write


def _list_numbers(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    yield from ((name, record[name]) for name in _NUMBERS if record[name] is not None)
    yield "clients", len(record["participants"])
    if (mean_bits := find_mean_bits(record)) is not None:
        yield "mean_bits", mean_bits
