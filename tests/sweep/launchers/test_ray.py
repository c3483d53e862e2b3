"""Workers as actors of Ray: what Ray gets, without Ray."""

import sys
import types

import pytest

from fedjax_diffusion.host.interruption import Interruption
from fedjax_diffusion.sweep.launchers import ray, worker
from fedjax_diffusion.sweep.launchers.launch import Launch
from fedjax_diffusion.sweep.launchers.ray import RayWorker
from fedjax_diffusion.sweep.launchers.worker import Progress
from tests.sweep.launchers.stand_ins import replace_workers


class Cluster(types.ModuleType):
    """A module ``ray`` that records what it gets."""

    def __init__(self):
        super().__init__("ray")
        self.asked, self.actors, self.killed, self.is_there = [], [], [], True
        self.resources = {"CPU": 8.0}

    def init(self, address, **options):
        self.asked.append((address, options))
        if not self.is_there:
            raise ConnectionError("Could not find any\nrunning Ray instance")

    def cluster_resources(self):
        return self.resources

    def remote(self, actor):
        def options(**options):
            if not isinstance(options.get("resources", {}), dict):
                raise TypeError("resources must be a dict")
            return types.SimpleNamespace(
                remote=lambda *arguments: self.actors.append((actor, options, arguments))
            )

        return types.SimpleNamespace(options=options)

    def shutdown(self):
        self.asked.append("shutdown")

    def get_runtime_context(self):
        return types.SimpleNamespace(current_actor="me")

    def kill(self, actor):
        self.killed.append(actor)


@pytest.fixture(autouse=True)
def cluster(monkeypatch):
    """Gives this process a Ray that records."""
    cluster = Cluster()
    monkeypatch.setitem(sys.modules, "ray", cluster)
    monkeypatch.setattr(worker, "_POLL_SECONDS", 0.02)
    return cluster


def order(workdir, settings, lines=None):
    tell = print if lines is None else lines.append
    return Launch(workdir, 2, ["--fail_fast"], settings, tell, Interruption())


def test_workers_are_detached_actors_and_nobody_waits(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("JOB_SECRET", "7")
    lines, settings = [], {"num_gpus": 1, "address": "10.0.0.1:6379"}
    (tmp_path / "digits").mkdir()
    ray.check(2, settings)
    relative = (tmp_path / "digits").relative_to(tmp_path)
    assert ray.launch(order(relative, settings, lines)) == 0
    quiet = {"ignore_reinit_error": True, "log_to_driver": False, "logging_level": "ERROR"}
    assert cluster.asked == [("10.0.0.1:6379", quiet)] * 2 + ["shutdown"]
    names = []
    for number, (actor, options, arguments) in enumerate(cluster.actors, 1):
        names.append(options.pop("name"))
        assert actor is RayWorker
        assert options == {
            "num_cpus": 1,
            "num_gpus": 1,
            "namespace": "fedjax-diffusion",
            "lifetime": "detached",
            "max_restarts": 100,
        }
        workdir, log, flags, environment, since = arguments
        assert (workdir, flags, since) == (tmp_path / "digits", ["--fail_fast"], Progress(0, 0))
        assert log == f"ray-{names[-1]}"
        assert names[-1].startswith("digits-")
        assert names[-1].endswith(f"-{number}")
        assert environment["JAX_PLATFORMS"] == "cpu"
        assert not {"JOB_SECRET", "PATH"} & environment.keys()
    assert len({*names}) == 2
    assert lines == [
        f"2 workers are started, {names[0]} to {names[1]}; their output: {workdir / 'logs'}"
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_gpus": 0.25}, "--ray.num_gpus must be a whole number, got 0.25: Ray would not"),
        ({"num_cpus": "a"}, "--ray.num_cpus must be a whole number, got a"),
        ({"name": "a"}, "--ray.name: there are address, num_cpus, num_gpus, memory, resources"),
        ({"resources": "a100"}, "--ray: Ray refuses the settings: resources must be a dict"),
        ({}, "the Ray cluster has 4 GPUs: give --ray.num_gpus=1"),
    ],
)
def test_settings_that_ray_would_misread_are_refused(settings, message, cluster):
    cluster.resources["GPU"] = 4.0
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message follows
        ray.check(2, settings)
    assert message in str(caught.value)


def test_no_cluster_is_started_where_there_is_none(cluster, monkeypatch):
    ray.check(2, {"num_gpus": 0})
    with pytest.raises(ValueError, match="--workers must be at least 1"):
        ray.check(0, {})
    cluster.is_there = False
    with pytest.raises(ValueError, match="finds none at auto: start one by `ray start --head`"):
        ray.check(2, {})
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install -e '.\[ray\]' in the project's folder"):
        ray.check(2, {})


PROGRAM = """
import os, signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(143))
print(os.environ["ADDED"], flush=True)
if sys.argv[2:] == ["wait"]:
    time.sleep(60)
"""


@pytest.mark.parametrize("flags", [["end"], ["wait"]])
def test_an_actor_ends_with_its_worker_and_is_not_started_again(
    flags, cluster, tmp_path, monkeypatch
):
    replace_workers(monkeypatch, PROGRAM)
    with pytest.raises(ValueError, match=f"{tmp_path} holds no sweep on .*: choose a --workdir"):
        RayWorker(tmp_path, "ray-a-1", flags, {"ADDED": "yes"}, Progress(0, 0))
    (tmp_path / "sweep.json").touch()
    actor = RayWorker(tmp_path, "ray-a-1", flags, {"ADDED": "yes"}, Progress(0, 0))
    log = tmp_path / "logs" / "ray-a-1.log"
    while not cluster.killed:
        if log.exists() and log.read_text() == "yes\n":
            actor.stop()
    assert cluster.killed == ["me"]
