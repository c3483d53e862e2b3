"""Workers as jobs of Slurm: what submitit gets, without submitit and without a cluster."""

import contextlib
import pickle
import shutil
import sys
import time
import types

import pytest

from fedjax_diffusion.host.interruption import Interruption
from fedjax_diffusion.sweep.launchers import slurm, worker
from fedjax_diffusion.sweep.launchers.launch import Launch
from fedjax_diffusion.sweep.launchers.slurm import Job
from fedjax_diffusion.sweep.launchers.worker import Progress
from tests.sweep.launchers.stand_ins import replace_workers

SETTINGS = {"timeout_min": 240, "partition": "gpu"}
KNOWN = {"name", "timeout_min", "partition", "nodes", "setup", "additional_parameters"}


class Executor:
    """Records what ``submitit.AutoExecutor`` gets; its jobs are those of one array."""

    made = None

    def __init__(self, folder, cluster=None, **options):
        self.folder, self.cluster, self.options = folder, cluster, options
        self.parameters, self.jobs, self.is_in_batch, self.refusal = {}, [], False, None
        Executor.made = self

    def update_parameters(self, **parameters):
        for name in parameters:
            if name.removeprefix("slurm_") not in KNOWN:
                raise NameError(f"Unknown argument {name}\nKnown executors: slurm")
        self.parameters |= parameters

    @contextlib.contextmanager
    def batch(self):
        self.is_in_batch = True
        yield
        self.is_in_batch = False

    def submit(self, job):
        if "broken" in self.parameters.get("slurm_partition", ""):
            raise RuntimeError("sbatch: error: invalid partition\nsbatch: error: failed")
        assert self.is_in_batch
        self.jobs.append(job)
        return types.SimpleNamespace(job_id=f"42_{len(self.jobs) - 1}")


@pytest.fixture(autouse=True)
def cluster(monkeypatch):
    """Gives this machine Slurm's programs and a submitit that records."""
    place = types.SimpleNamespace(cluster="slurm", job_id="42_1")
    submitit = types.ModuleType("submitit")
    submitit.AutoExecutor, submitit.JobEnvironment = Executor, lambda: place
    submitit.helpers = types.ModuleType("submitit.helpers")
    submitit.helpers.DelayedSubmission = lambda function: ("again", function)
    monkeypatch.setitem(sys.modules, "submitit", submitit)
    monkeypatch.setitem(sys.modules, "submitit.helpers", submitit.helpers)
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    monkeypatch.setattr(worker, "_POLL_SECONDS", 0.02)
    monkeypatch.setattr(slurm, "_NOTICE_SECONDS", 0.0)


def order(workdir, settings, lines=None):
    tell = print if lines is None else lines.append
    return Launch(workdir, 3, ["--fail_fast"], settings, tell, Interruption())


def test_workers_are_one_array_of_a_named_cluster_and_nobody_waits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workdir, lines = tmp_path / "sweep", []
    slurm.check(3, SETTINGS)
    extra = {"setup": "module load cuda", "additional_parameters": {"reservation": "r"}}
    relative = order(workdir.relative_to(tmp_path), SETTINGS | extra, lines)
    assert slurm.launch(relative) == 0
    made = Executor.made
    assert (made.folder, made.cluster) == (workdir / "logs" / "slurm", "slurm")
    assert made.options == {"slurm_max_num_timeout": 100}
    assert made.parameters == {
        "slurm_name": "fedjax-diffusion",
        "slurm_timeout_min": 240,
        "slurm_partition": "gpu",
        "slurm_setup": ["module load cuda"],
        "slurm_additional_parameters": {"requeue": True, "reservation": "r"},
    }
    assert [vars(job) for job in made.jobs] == [
        {"_arguments": (workdir, ["--fail_fast"], Progress(0, 0)), "_worker": None}
    ] * 3
    assert lines == [f"3 workers are submitted, 42_0 to 42_2; their output: {workdir / 'logs'}"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"timeout_min": None}, "--slurm.timeout_min=240 (got None)"),
        ({"timeout_min": "2:00:00"}, "--slurm.timeout_min=240 (got 2:00:00)"),
        ({"time": "2:00:00"}, "in minutes, and only so"),
        ({"nodes": 2}, "--slurm.nodes must be 1: a worker is one process; raise --workers"),
        ({"partitionn": "gpu"}, "submitit refuses the settings: Unknown argument slurm_partitionn"),
    ],
)
def test_settings_that_slurm_cannot_take_are_refused(changed, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message follows
        slurm.check(3, SETTINGS | changed)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_else_is_started_where_there_is_no_slurm(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="--workers must be at least 1, got 0"):
        slurm.check(0, SETTINGS)
    broken = order(tmp_path, SETTINGS | {"partition": "broken"})
    with pytest.raises(ValueError, match="sbatch refuses the workers: sbatch: error: invalid"):
        slurm.launch(broken)
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(ValueError, match="there is no sbatch here; start the command on a login"):
        slurm.check(3, SETTINGS)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match=r"pip install -e '.\[slurm\]' in the project's folder"):
        slurm.check(3, SETTINGS)


PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(143))
print(*sys.argv[2:], "ready", flush=True)
if sys.argv[2] == "wait":
    time.sleep(60)
sys.exit(int(sys.argv[2]))
"""


def test_a_job_plays_a_worker_and_fails_with_it(tmp_path, monkeypatch):
    replace_workers(monkeypatch, PROGRAM)
    job = pickle.loads(pickle.dumps(Job(tmp_path, ["1", "--no_evaluation"], Progress(0, 0))))
    assert job() == 1  # a point failed, the worker has done its work
    assert (tmp_path / "logs" / "slurm-42_1.log").read_text() == "1 --no_evaluation ready\n"
    for exit_code in ("143", "2"):
        with pytest.raises(RuntimeError, match=f"ended with exit code {exit_code}; see"):
            Job(tmp_path, [exit_code], Progress(0, 0))()


def test_a_notice_stops_the_worker_and_submits_the_job_again(tmp_path, monkeypatch):
    replace_workers(monkeypatch, PROGRAM)
    job = Job(tmp_path, ["wait"], Progress(0, 0))

    log, sleep, seen = tmp_path / "logs" / "slurm-42_1.log", time.sleep, []

    def interrupt_once(seconds):
        if not seen and log.exists() and "ready" in log.read_text():
            seen.append(seconds)
            raise InterruptedError  # a signal's handler comes between
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", interrupt_once)
    with pytest.raises(InterruptedError):
        job()
    word, again = job.checkpoint()
    assert word == "again"
    assert vars(again) == vars(Job(tmp_path, ["wait"], Progress(0, 0)))
    assert vars(job)["_worker"]._exit_code == 143
    assert Job(tmp_path, ["wait"], Progress(0, 0)).checkpoint()[0] == "again"
