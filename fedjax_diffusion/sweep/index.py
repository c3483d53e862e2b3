"""Index of a sweep: one row per point, and one per point and round, read from the folders alone.

``index.csv``, ``index.parquet`` and ``rounds.parquet`` can be removed and made again at any time.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedjax_diffusion.evaluation.quality import DISTANCE_NAMES
from fedjax_diffusion.host.atomic import write_bytes
from fedjax_diffusion.runs import claims, environment
from fedjax_diffusion.runs.ledger import THIS_RUN
from fedjax_diffusion.sweep.folder import Sweep, open_sweep
from fedjax_diffusion.sweep.identity import HASH_DIGITS, read_settings
from fedjax_diffusion.sweep.listing import SWEEP, find_folders
from fedjax_diffusion.sweep.points import Point
from fedjax_diffusion.sweep.reference import SAVED, list_savings
from fedjax_diffusion.sweep.rounds import tabulate_rounds
from fedjax_diffusion.sweep.states import PointState, read_states
from fedjax_diffusion.sweep.typed_table import to_flat, to_table

if TYPE_CHECKING:
    import pyarrow

CSV = "index.csv"
PARQUET = "index.parquet"
ROUNDS = "rounds.parquet"
_PLAYED = ("client_rounds", "left_out")
_SPENT = ("compute_joules", "transmit_joules", "total_joules", "uplink_bytes")
_OF_BASELINE = ("total_joules", "late", "saved_joules_percent", "saved_bytes_percent")
_QUALITY = (
    "quality_name",
    "quality",
    "quality_floor",
    "precision",
    "recall",
    "num_samples",
    "extractor",
    "extractor_fingerprint",
    "measure_version",
)
_BOUNDS = ("rounds_far_above_bound", "largest_error_over_bound")
_RESULTS = (
    *("rounds", *_PLAYED, "loss", "mean_bits", *_SPENT, "downlink_bytes"),
    "full_precision_bytes",
    *_BOUNDS,
    *(*_QUALITY, "simulated_seconds", "wall_seconds"),
)
_INTEGERS = (
    *("rounds", *_PLAYED, "uplink_bytes", "downlink_bytes", "full_precision_bytes"),
    *("num_samples", "rounds_far_above_bound"),
)
_TEXTS = (
    *("hash", "label", "status", "quality_name", "extractor", "extractor_fingerprint"),
    *("measure_version", "host", "device", "version", "error"),
)


_KINDS = {
    **dict.fromkeys((*_RESULTS, *SAVED), "float64"),
    **dict.fromkeys(_INTEGERS, "int64"),
    **dict.fromkeys(_TEXTS, "string"),
}


def read_sweep(workdir: str | Path) -> "pyarrow.Table":
    """Returns the points of a sweep as a table, one row each, from their folders as they are now.

    ``read_sweep(workdir).to_pandas()`` is a data frame.

    Args:
      workdir: the folder of the sweep.

    Returns:
      A table with columns ``hash``, ``label``, ``status``, every swept setting, ``seed``,
      ``rounds``, ``loss``, ``mean_bits``, joules, bytes of both directions, the largest
      quantization error over its bound, ``quality`` with its
      name, number of images and extractor, each baseline's joules and late uploads, savings in
      percent against each baseline and against the reference, simulated and wall seconds, host,
      device, version and error. A value that is not known yet is null.

    Raises:
      ValueError: the folder holds no sweep.
    """
    sweep = open_sweep(workdir)
    return tabulate_points(sweep, find_folders(sweep), read_states(sweep))


def tabulate_points(
    sweep: Sweep, folders: Sequence[Path], states: Sequence[PointState]
) -> "pyarrow.Table":
    """Returns the table of ``read_sweep``.

    Args:
      sweep: an opened sweep, or one made in memory, e.g. of a single run.
      folders: run folder of each point.
      states: of each point.
    """
    return to_table(_read_rows(sweep, folders, states), _KINDS)


def write_index(sweep: Sweep, *, is_new: bool = True) -> None:
    """Writes the files of the index.

    Args:
      sweep: an opened sweep.
      is_new: False writes them only if one is missing or older than the list of points.
    """
    import pyarrow.csv
    import pyarrow.parquet

    if not is_new and _is_current(sweep.workdir):
        return
    folders = find_folders(sweep)
    table = tabulate_points(sweep, folders, read_states(sweep))
    for name, content in ((PARQUET, table), (ROUNDS, tabulate_rounds(sweep.points, folders))):
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(content, buffer)
        write_bytes(sweep.workdir / name, buffer.getvalue())
    buffer = io.BytesIO()
    pyarrow.csv.write_csv(to_flat(table), buffer)
    write_bytes(sweep.workdir / CSV, buffer.getvalue())


def _is_current(workdir: Path) -> bool:
    paths = [workdir / name for name in (CSV, PARQUET, ROUNDS)]
    written = (workdir / SWEEP).stat().st_mtime_ns
    return all(path.exists() and path.stat().st_mtime_ns >= written for path in paths)


def _read_rows(
    sweep: Sweep, folders: Sequence[Path], states: Sequence[PointState]
) -> list[dict[str, Any]]:
    swept = list(dict.fromkeys(key for point in sweep.points for key in point.overrides))
    owners = claims.read_owners(sweep.workdir / claims.FOLDER)
    rows = []
    for point, state, folder in zip(sweep.points, states, folders, strict=True):
        settings = dict(read_settings(point.config))
        name = point.hash[:HASH_DIGITS]
        machine = read_machine(folder)
        rows.append(
            {
                "hash": name,
                "label": point.label,
                "status": state.status,
                **{key: settings.get(key) for key in swept},
                "seed": point.config.seed,
                **dict.fromkeys(_RESULTS),
                **_read_result(point, state),
                "host": owners[name].about.get("host") if name in owners else None,
                "device": machine.get("device"),
                "version": machine.get("fedjax_diffusion"),
                "error": state.error,
            }
        )
    if sweep.reference is not None:
        for row, saved in zip(rows, list_savings(sweep.points, sweep.reference, rows), strict=True):
            row.update(saved)
    return rows


def _read_result(point: Point, state: PointState) -> dict[str, Any]:
    """Returns the result of a point; without a value where it is not known."""
    if state.summary is None:
        return {}
    summary = state.summary
    bills = {row["method"]: row for row in summary["methods"]}
    seconds = summary["num_rounds"] * point.config.allocator.time_budget_seconds
    return {
        "rounds": summary["num_rounds"],
        "client_rounds": summary["client_rounds"],
        "left_out": sum(summary["left_out"].values()),
        "loss": summary["loss"],
        "mean_bits": summary["mean_bits"],
        **{name: bills[THIS_RUN][name] for name in _SPENT},
        "downlink_bytes": summary["downlink_bytes"],
        "full_precision_bytes": summary["full_precision_bytes"],
        **{name: summary.get(name) for name in _BOUNDS},  # earlier versions did not compare
        **_read_quality(state.evaluation),
        "simulated_seconds": float(seconds),
        "wall_seconds": summary["wall_seconds"],
        **{
            f"{name}.{method}": bill[name]
            for method, bill in bills.items()
            if method != THIS_RUN
            for name in _OF_BASELINE
        },
    }


def read_distance(quality: Mapping[str, Any]) -> tuple[str, float]:
    """Returns name and value of the Fréchet distance of a measured run."""
    name, _ = DISTANCE_NAMES[quality["extractor"]]
    return name, quality[name]


def _read_quality(evaluation: Mapping[str, Any] | None) -> dict[str, Any]:
    if evaluation is None:
        return {}
    quality = evaluation["quality"]
    name, distance = read_distance(quality)
    return {
        "quality_name": name,
        "quality": distance,
        "quality_floor": quality.get(f"{name}_floor"),
        "precision": quality["precision"],
        "recall": quality["recall"],
        "num_samples": evaluation["asked"]["num_samples"],
        "extractor": quality["extractor"],
        "extractor_fingerprint": quality["extractor_fingerprint"],
        "measure_version": str(quality["measure_version"]),
    }


def read_machine(folder: Path) -> dict[str, Any]:
    """Returns the content of a point's environment.json; empty if it is missing or damaged."""
    try:
        return environment.read(folder)
    except ValueError:  # damaged
        return {}
