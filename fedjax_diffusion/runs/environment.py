"""environment.json: versions, machine, data and compute settings of a run."""

import dataclasses
import functools
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedjax_diffusion.data import ImageDataset
from fedjax_diffusion.data.report import identify
from fedjax_diffusion.experiment.compute import AUTO, ComputeConfig, describe_machine
from fedjax_diffusion.experiment.experiment import Experiment
from fedjax_diffusion.host.plugins import check_recorded, describe_plugins
from fedjax_diffusion.host.processes import is_primary
from fedjax_diffusion.host.weight_source import find_hash, find_path
from fedjax_diffusion.runs.hook import CHANGE, describe_change
from fedjax_diffusion.runs.records import ENVIRONMENT, PLUGINS, write_json

_HAS_CHECKPOINT = "has_checkpoint"
_IMAGE_SHAPE = "image_shape"
_LANES = "lanes"


def describe_host() -> dict[str, Any]:
    """Returns versions, machine and start as plain values, where nothing is trained."""
    from fedjax_diffusion.host.version import __version__

    return {
        "fedjax_diffusion": __version__,
        "git_commit": _git_commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **describe_machine(),
    }


def describe(experiment: Experiment) -> dict[str, Any]:
    """Returns versions, machine, data, compute settings, plug-ins and start as plain values."""
    dataset, source = experiment.dataset, experiment.config.init_from
    described = {
        **describe_host(),
        "data": {**identify(dataset), _IMAGE_SHAPE: list(dataset.images.shape[1:])},
        "compute": dataclasses.asdict(experiment.compute),
        _HAS_CHECKPOINT: False,
        **_describe_lanes(experiment),
        **({PLUGINS: found} if (found := describe_plugins(experiment.config.plugins)) else {}),
    }
    if source is not None:
        described["init_from"] = {"path": find_path(source), "sha256": find_hash(source)}
    if experiment.changed is not None:
        described[CHANGE] = describe_change(experiment.changed[1])
    return described


def _describe_lanes(experiment: Experiment) -> dict[str, Any]:
    return {} if experiment.lanes is None else {_LANES: experiment.lanes}


def update_lanes(environment: dict[str, Any], experiment: Experiment) -> dict[str, Any]:
    """Returns the environment of a run that goes on, perhaps among other runs than before."""
    kept = {name: value for name, value in environment.items() if name != _LANES}
    return kept | _describe_lanes(experiment)


def count_lanes(environment: dict[str, Any]) -> int:
    """Returns the number of runs whose rounds were played together with a run's, itself too.

    Args:
      environment: of ``read``.
    """
    return environment.get(_LANES, {}).get("num_lanes", 1)


def read(workdir: Path, *, is_run: bool = True) -> dict[str, Any]:
    """Returns the content of a folder's environment.json; empty if there is none.

    Args:
      workdir: the folder.
      is_run: whether it is a run folder, whose file has the compute settings, too.

    Raises:
      ValueError: it is damaged; names the file and the remedy.
    """
    path = workdir / ENVIRONMENT
    if not path.exists():
        return {}
    try:
        content = dict(json.loads(path.read_bytes()))
        if is_run:
            ComputeConfig(**content["compute"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        again = "start the run again with --restart" if is_run else "repeat the command"
        raise ValueError(
            f"{path} is damaged ({type(error).__name__}: {error}); restore it from a copy, or "
            f"{again}"
        ) from error
    return content


def read_compute(environment: dict[str, Any], asked: ComputeConfig) -> ComputeConfig | None:
    """Returns the resolved compute settings with which a run goes on; None: it has not begun.

    Args:
      environment: of ``read``.
      asked: settings of the config, of which only the place of the data is taken.
    """
    if not environment:
        return None
    begun = ComputeConfig(**environment["compute"])
    return begun if asked.data == AUTO else dataclasses.replace(begun, data=asked.data)


def read_image_shape(environment: dict[str, Any]) -> tuple[int, int, int] | None:
    """Returns the shape (H, W, C) of a run's images; None: an earlier version did not note it.

    Args:
      environment: of ``read``.
    """
    match environment.get("data"):
        case {"image_shape": [int(height), int(width), int(channels)]}:
            return height, width, channels
    return None


def mark_checkpoint(workdir: Path) -> None:
    """Records that a run has saved a checkpoint: from then on it is missed if there is none."""
    environment = read(workdir) if is_primary() else {}
    if environment and not environment.get(_HAS_CHECKPOINT):
        write_json(workdir / ENVIRONMENT, environment | {_HAS_CHECKPOINT: True})


def had_checkpoint(workdir: Path) -> bool | None:
    """Returns whether a run has ever saved a checkpoint; None: an earlier version did not say."""
    return read(workdir).get(_HAS_CHECKPOINT)


def record_change(workdir: Path, compute: ComputeConfig, change: str) -> None:
    """Records new compute settings of a run, and the reason for the change."""
    if not is_primary():
        return
    environment = read(workdir)
    changes = [*environment.get("compute_changes", []), change]
    environment |= {"compute": dataclasses.asdict(compute), "compute_changes": changes}
    write_json(workdir / ENVIRONMENT, environment)


def check_data(workdir: Path, environment: dict[str, Any], dataset: ImageDataset) -> None:
    """Raises ValueError if a run began with other images, e.g. another version of its data."""
    earlier = environment.get("data")
    if earlier is None:  # a new run, or one of an earlier version
        return
    for key, value in identify(dataset).items():
        if earlier.get(key) != value:
            raise ValueError(
                f"{workdir} was trained on other data ({key}: {earlier.get(key)} there, {value} "
                "here); set data.data_dir to their folder, or choose another --workdir"
            )


def check_plugins(workdir: Path, environment: dict[str, Any]) -> None:
    """Raises ValueError if a run began with another source of an imported plug-in."""
    check_recorded(workdir, environment.get(PLUGINS, {}))


@functools.cache
def _git_commit() -> str | None:
    """Returns the commit of the source checkout, or None for an installed package; asks once."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return answer.stdout.strip() or None
