"""Reading of a run: its experiment or its sampler, and its newest saved state."""

import logging
from pathlib import Path
from typing import Any

from fedjax_diffusion.experiment.build import ProgramChoice, build, build_sampler
from fedjax_diffusion.experiment.checkpoints import Checkpoints
from fedjax_diffusion.experiment.compute import ComputeConfig
from fedjax_diffusion.experiment.config import with_overrides
from fedjax_diffusion.experiment.experiment import Experiment
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.experiment.sampling import DrawSamples
from fedjax_diffusion.host.file_errors import explain_file_errors
from fedjax_diffusion.runs import environment, folder
from fedjax_diffusion.runs.records import SUMMARY, read_summary
from fedjax_diffusion.runs.resumption import find_newest, open_checkpoints
from fedjax_diffusion.simulator import SimulationState

_LOG = logging.getLogger(__name__)


def load_run(
    workdir: str | Path, sampling: dict | None = None, data_dir: str | None = None
) -> tuple[Experiment, SimulationState]:
    """Returns the experiment of a run folder and its newest saved state.

    Args:
      workdir: a run folder.
      sampling: changed settings of ``SamplingConfig``.
      data_dir: another place of the run's data, which must be the same; None: as the run has it.

    Raises:
      ValueError: the folder holds no run, no checkpoint yet, or cannot be read; the data are other
        ones; or a plug-in is not imported, or is another one.
    """
    workdir = Path(workdir)
    with explain_file_errors(workdir):
        config, earlier, compute = _read(workdir, sampling, data_dir)
        experiment = build(config, ProgramChoice(compute))
        environment.check_data(workdir, earlier, experiment.dataset)
        checkpoints = open_checkpoints(workdir, config, experiment.dataset)
        return experiment, _restore(workdir, config, checkpoints, experiment.describe_state())


def load_sampler(
    workdir: str | Path, sampling: dict | None = None, data_dir: str | None = None
) -> tuple[DrawSamples, SimulationState]:
    """Returns the function that draws images of a run, and its newest saved state.

    The run's data are not read, except for a run of an earlier version, which did not note the
    shape of its images.

    Args:
      workdir: see ``load_run``.
      sampling: see ``load_run``.
      data_dir: see ``load_run``.

    Raises:
      ValueError: see ``load_run``.
    """
    workdir = Path(workdir)
    with explain_file_errors(workdir):
        config, earlier, compute = _read(workdir, sampling, data_dir)
        image_shape = environment.read_image_shape(earlier)
        if image_shape is None or compute is None:
            experiment, state = load_run(workdir, sampling, data_dir)
            return experiment.draw_samples, state
        draw_samples, like = build_sampler(config, compute, image_shape)
        checkpoints = open_checkpoints(workdir, config, dataset=None)
        return draw_samples, _restore(workdir, config, checkpoints, like)


def _read(
    workdir: Path, sampling: dict | None, data_dir: str | None
) -> tuple[RunConfig, dict[str, Any], ComputeConfig | None]:
    """Returns the config of a run with changed settings, its environment and compute settings."""
    changed = {f"sampling.{name}": value for name, value in (sampling or {}).items()}
    if data_dir is not None:
        changed["data.data_dir"] = data_dir
    earlier = environment.read(workdir)
    environment.check_plugins(workdir, earlier)
    config = with_overrides(folder.read_config(workdir), changed)
    return config, earlier, environment.read_compute(earlier, config.compute)


def _restore(
    workdir: Path, config: RunConfig, checkpoints: Checkpoints, like: SimulationState
) -> SimulationState:
    """Returns the newest saved state that is good, as a state like the given one."""
    round, reasons = find_newest(checkpoints)
    if round is None and not reasons and folder.is_finished(workdir, config):
        raise ValueError(
            f"{workdir} has no checkpoint any more, as with sweep.keep = 'none'; remove the folder "
            "and play it again with sweep.keep = 'last'"
        )
    if round is None and not reasons:
        raise ValueError(f"{workdir} has no checkpoint yet; continue the run until it has one")
    last = read_summary(workdir)["num_rounds"] if folder.is_finished(workdir, config) else 0
    if round is None or round < last:
        raise ValueError(
            f"{workdir}: the last checkpoint is damaged or missing ({reasons or 'missing'}); "
            f"remove {SUMMARY}, if it is there, and repeat the command of the run"
        )
    if reasons:
        _LOG.warning("%s; taking the checkpoint of round %d", reasons, round)
    return checkpoints.restore(round, like)
