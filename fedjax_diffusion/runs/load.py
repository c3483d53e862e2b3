"""Reading of a run: its experiment and its newest saved state."""

import logging
from pathlib import Path

from fedjax_diffusion.experiment.build import Experiment, ProgramChoice, build
from fedjax_diffusion.experiment.config import with_overrides
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
      ValueError: the folder holds no run, no checkpoint yet, or cannot be read; or the data are
        other ones.
    """
    workdir = Path(workdir)
    changed = {f"sampling.{name}": value for name, value in (sampling or {}).items()}
    if data_dir is not None:
        changed["data.data_dir"] = data_dir
    with explain_file_errors(workdir):
        config = with_overrides(folder.read_config(workdir), changed)
        earlier = environment.read(workdir)
        choice = ProgramChoice(environment.read_compute(earlier, config.compute))
        experiment = build(config, choice)
        environment.check_data(workdir, earlier, experiment.dataset)
        checkpoints = open_checkpoints(workdir, config, experiment.dataset)
        round, reasons = find_newest(checkpoints)
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
        like = experiment.simulator.init(experiment.run_key, experiment.data)
        return experiment, checkpoints.restore(round, like)
