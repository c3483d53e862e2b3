"""Workers of a sweep as jobs of Slurm, by submitit: the launcher submits them and ends.

Before a job's time is over, and at a preemption if the cluster is set so, Slurm sends SIGUSR2. Then
the worker finishes its round, saves and ends, and its job goes back into the queue.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedjax_diffusion.host.interruption import EXIT_INTERRUPTED, EXIT_TERMINATED
from fedjax_diffusion.sweep.launchers.launch import Launch, check_number, import_extra
from fedjax_diffusion.sweep.launchers.worker import (
    GOOD_ENDS,
    LOGS,
    MAX_RETURNS,
    Progress,
    Worker,
    read_progress,
)

_SLURM = "slurm"
_ONE = ("nodes", "tasks_per_node", "ntasks_per_node")
_NOTICE_SECONDS = 5.0
"""After a worker ended by SIGTERM, in which the notice of a preemption may follow."""


def check(num_workers: int, settings: Mapping[str, Any]) -> None:
    """Raises ValueError if jobs cannot be submitted here, or not with these settings."""
    check_number(num_workers)
    import_extra("submitit", _SLURM)
    for program in ("sbatch", "srun"):
        if shutil.which(program) is None:
            raise ValueError(
                f"--launcher=slurm: there is no {program} here; start the command on a login node "
                "of the cluster, or use --launcher=local"
            )
    minutes = settings.get("timeout_min")
    if type(minutes) is not int or minutes < 1 or "time" in settings:
        raise ValueError(
            "--launcher=slurm needs the time limit of a job in minutes, and only so: "
            f"--slurm.timeout_min=240 (got {minutes}); a worker that reaches it comes back"
        )
    for key in _ONE:
        if settings.get(key, 1) != 1:
            raise ValueError(f"--slurm.{key} must be 1: a worker is one process; raise --workers")
    try:
        _make_executor(Path(), settings, _SLURM)
    except (NameError, TypeError, ValueError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--slurm: submitit refuses the settings: {reason}") from None


def launch(order: Launch, cluster: str = _SLURM) -> int:
    """Submits the workers, does not wait for them, and returns 0.

    Args:
      order: the workers.
      cluster: name of submitit's executor.

    Raises:
      ValueError: Slurm refuses them.
    """
    workdir = order.workdir.absolute()
    executor = _make_executor(workdir / LOGS / cluster, order.settings, cluster)
    job = Job(workdir, order.flags, read_progress(workdir))
    try:
        with executor.batch():  # one array of jobs
            jobs = [executor.submit(job) for _ in range(order.num_workers)]
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"--launcher=slurm: sbatch refuses the workers: {reason}") from None
    names = f"{jobs[0].job_id} to {jobs[-1].job_id}"
    order.tell(f"{len(jobs)} workers are submitted, {names}; their output: {workdir / LOGS}")
    return 0


class Job:
    """A job of Slurm: one worker, which comes back when its time is over.

    Args:
      workdir: the folder of the sweep, absolute.
      flags: arguments of the worker.
      since: the sweep's progress when its workers were launched.
    """

    def __init__(self, workdir: Path, flags: Sequence[str], since: Progress):
        self._arguments = workdir, flags, since
        self._worker: Worker | None = None

    def __call__(self) -> int:
        """Plays open points until there are none, and returns the worker's exit code."""
        workdir, flags, since = self._arguments
        place = import_extra("submitit", _SLURM).JobEnvironment()
        self._worker = Worker(workdir, f"{place.cluster}-{place.job_id}", flags, {}, since)
        exit_code = self._worker.play()
        if exit_code in (EXIT_INTERRUPTED, EXIT_TERMINATED):
            time.sleep(_NOTICE_SECONDS)
        if exit_code not in GOOD_ENDS:
            raise RuntimeError(f"the worker ended with exit code {exit_code}; see {workdir / LOGS}")
        return exit_code

    def checkpoint(self) -> Any:
        """Lets the worker save and end, and returns the submission that follows this one."""
        if self._worker is not None:
            self._worker.stop()
        return import_extra("submitit.helpers", _SLURM).DelayedSubmission(Job(*self._arguments))


def _make_executor(folder: Path, settings: Mapping[str, Any], cluster: str) -> Any:
    """Returns submitit's executor, of a cluster that is named: it would else take another one."""
    submitit = import_extra("submitit", _SLURM)
    executor = submitit.AutoExecutor(folder, cluster, slurm_max_num_timeout=MAX_RETURNS)
    asked = {"name": "fedjax-diffusion", **settings}
    if cluster == _SLURM:
        asked["additional_parameters"] = {"requeue": True, **asked.get("additional_parameters", {})}
    for key in ("setup", "teardown", "srun_args"):  # lists of commands, or of arguments
        if isinstance(asked.get(key), str):
            asked[key] = [asked[key]]
    executor.update_parameters(**{f"{cluster}_{key}": value for key, value in asked.items()})
    return executor
