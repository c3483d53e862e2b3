"""A worker of a sweep as a process: its command, its log, and its turn among others.

The folder hands out the work: workers are identical, and any number of them may die.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fedjax_diffusion.runs import claims
from fedjax_diffusion.runs.records import EVALUATION, METRICS
from fedjax_diffusion.sweep.listing import POINTS

LOGS = "logs"
GOOD_ENDS = (0, 1)
"""Exit codes of a worker that played all it could; 1: a point failed, which its folder says."""
MAX_RETURNS = 100
"""Times that a cluster starts one worker again, so that one that cannot get on has an end."""
_FIRST = "first_worker"
"""Name of the claim of the worker that compiles while the others wait."""
_POLL_SECONDS = 5.0
_JOBS_OWN = {signal.SIGUSR2} if hasattr(signal, "SIGUSR2") else set()
"""Signals to all processes of a cluster's job that are for the job, not for its worker."""


def start_worker(
    workdir: Path,
    name: str,
    flags: Sequence[str],
    environment: Mapping[str, str],
    *,
    has_own_session: bool = False,
) -> subprocess.Popen:
    """Starts a worker, whose output is added to a file in the sweep's logs.

    Args:
      workdir: the folder of the sweep.
      name: of the file, without its ending.
      flags: arguments of the worker.
      environment: of the process, all of it.
      has_own_session: signals of the terminal do not reach it.
    """
    command = [sys.executable, "-m", "fedjax_diffusion", "sweep", f"--workdir={workdir}"]
    (workdir / LOGS).mkdir(exist_ok=True)
    with (workdir / LOGS / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--worker", *flags],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=has_own_session,
        )


class Progress(NamedTuple):
    """Progress of a sweep that shows that programs are compiled.

    Attributes:
      num_bytes: of the records of all rounds.
      evaluated: time of the newest evaluation in ns, of the file server; 0 without one.
    """

    num_bytes: int
    evaluated: int

    def is_beyond(self, earlier: "Progress") -> bool:
        """Returns whether a round was played or a point evaluated since an earlier time."""
        return self.num_bytes > earlier.num_bytes or self.evaluated > earlier.evaluated


def read_progress(workdir: Path) -> Progress:
    """Returns the progress of a sweep."""
    rounds, evaluations = (
        [path.stat() for path in (workdir / POINTS).glob(f"*/{name}")]
        for name in (METRICS, EVALUATION)
    )
    newest = max((found.st_mtime_ns for found in evaluations), default=0)
    return Progress(sum(found.st_size for found in rounds), newest)


class Worker:
    """A worker in a job of a cluster, which waits for its end.

    Args:
      workdir: the folder of the sweep.
      name: of its log.
      flags: its arguments.
      environment: added to that of the job.
      since: the sweep's progress when its workers were launched.
    """

    def __init__(
        self,
        workdir: Path,
        name: str,
        flags: Sequence[str],
        environment: Mapping[str, str],
        since: Progress,
    ):
        self._workdir, self._name, self._flags = workdir, name, flags
        self._environment, self._since = environment, since
        self._process: subprocess.Popen | None = None
        self._exit_code: int | None = None

    def play(self) -> int:
        """Plays open points until there are none, and returns the worker's exit code.

        Of several workers that are launched together one plays a round first; the others then find
        its compiled programs in the cache.
        """
        turn = self._await_turn()
        try:
            self._start()
            while self._exit_code is None:
                if turn is not None and self._is_begun():
                    turn.release()
                    turn = None
                time.sleep(_POLL_SECONDS)
        finally:
            if turn is not None:
                turn.release()
        return self._exit_code

    def stop(self) -> None:
        """Lets the worker finish its round, save and end; returns when it has.

        It may interrupt ``play`` in its thread, as a signal does: no lock is waited for.
        """
        if self._process is not None:
            self._process.send_signal(signal.SIGUSR1)
            while self._exit_code is None:
                time.sleep(_POLL_SECONDS / 10)

    def _await_turn(self) -> claims.Claim | None:
        """Returns the claim of the first worker; None once a round is played."""
        while not self._is_begun():
            try:
                return claims.take(self._workdir / claims.FOLDER, _FIRST)
            except claims.ClaimedError:
                time.sleep(_POLL_SECONDS)
        return None

    def _is_begun(self) -> bool:
        return read_progress(self._workdir).is_beyond(self._since)

    def _start(self) -> None:
        environment = {**os.environ, **self._environment}
        earlier = signal.pthread_sigmask(signal.SIG_BLOCK, _JOBS_OWN)  # the worker keeps it
        try:
            process = start_worker(self._workdir, self._name, self._flags, environment)
            threading.Thread(target=self._wait, args=(process,), daemon=True).start()
            self._process = process
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, earlier)

    def _wait(self, process: subprocess.Popen) -> None:
        self._exit_code = process.wait()
