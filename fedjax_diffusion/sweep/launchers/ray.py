"""Workers of a sweep as detached actors of a Ray cluster that is already there.

The launcher starts them and ends. An actor that dies with its node is started again by Ray, and its
worker goes on at the newest checkpoints; no notice reaches it before.
"""

import os
import secrets
import socket
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedjax_diffusion.runs.records import SWEEP
from fedjax_diffusion.sweep.launchers.launch import Launch, check_number, import_extra
from fedjax_diffusion.sweep.launchers.worker import (
    LOGS,
    MAX_RETURNS,
    Progress,
    Worker,
    read_progress,
)

NAMESPACE = "fedjax-diffusion"
"""Of the actors' names."""
_RAY = "ray"
_OPTIONS = ("num_cpus", "num_gpus", "memory", "resources")
_CARRIED = ("JAX_", "XLA_", "FEDJAX_DIFFUSION_", "XDG_CACHE_HOME", "TFDS_DATA_DIR", "PYTHONPATH")
"""Beginnings of the variables that a worker takes over from the launcher."""


def check(num_workers: int, settings: Mapping[str, Any]) -> None:
    """Raises ValueError if there is no Ray cluster, or actors cannot have these settings."""
    check_number(num_workers)
    ray = import_extra(_RAY, _RAY)
    for key, value in settings.items():
        if key not in ("address", *_OPTIONS):
            raise ValueError(f"--ray.{key}: there are address, {', '.join(_OPTIONS)}")
        if key in ("num_cpus", "num_gpus") and (type(value) is not int or value < 0):
            raise ValueError(
                f"--ray.{key} must be a whole number, got {value}: Ray would not divide the "
                "memory of a GPU, and a worker takes most of it"
            )
    try:
        _make_actor(ray, "worker", settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"--ray: Ray refuses the settings: {error}") from None
    _connect(ray, settings)
    found = ray.cluster_resources().get("GPU", 0)
    if found and "num_gpus" not in settings:
        raise ValueError(
            f"the Ray cluster has {found:g} GPUs: give --ray.num_gpus=1, a GPU for each worker, or "
            "--ray.num_gpus=0 for workers on cores"
        )


def launch(order: Launch) -> int:
    """Starts the actors, does not wait for them, and returns 0."""
    workdir, ray = order.workdir.absolute(), import_extra(_RAY, _RAY)
    _connect(ray, order.settings)
    name = f"{workdir.name}-{secrets.token_hex(3)}"
    since = read_progress(workdir)
    carried = {key: value for key, value in os.environ.items() if key.startswith(_CARRIED)}
    for number in range(1, order.num_workers + 1):
        actor = _make_actor(ray, f"{name}-{number}", order.settings)
        actor.remote(workdir, f"ray-{name}-{number}", order.flags, carried, since)
    names = f"{name}-1 to {name}-{order.num_workers}"
    order.tell(f"{order.num_workers} workers are started, {names}; their output: {workdir / LOGS}")
    ray.shutdown()
    return 0


class RayWorker:
    """An actor that plays a worker beside its own thread, and ends with it.

    Args:
      workdir: the folder of the sweep, absolute.
      name: of the worker's log.
      flags: arguments of the worker.
      environment: added to that of the node.
      since: the sweep's progress when its workers were launched.

    Raises:
      ValueError: the folder is not there on this machine; Ray shows it as the actor's end.
    """

    def __init__(
        self,
        workdir: Path,
        name: str,
        flags: Sequence[str],
        environment: Mapping[str, str],
        since: Progress,
    ):
        if not (workdir / SWEEP).exists():
            raise ValueError(
                f"{workdir} holds no sweep on {socket.gethostname()}: choose a --workdir that all "
                "machines of the cluster share"
            )
        self._worker = Worker(workdir, name, flags, environment, since)
        threading.Thread(target=self._play, name="worker", daemon=True).start()

    def stop(self) -> None:
        """Lets the worker finish its round, save and end, and the actor with it."""
        self._worker.stop()

    def _play(self) -> None:
        try:
            self._worker.play()
        finally:
            ray = import_extra(_RAY, _RAY)
            ray.kill(ray.get_runtime_context().current_actor)  # without another start


def _make_actor(ray: Any, name: str, settings: Mapping[str, Any]) -> Any:
    """Returns the actor's class with its options; starts none."""
    options = {key: settings[key] for key in _OPTIONS if key in settings}
    return ray.remote(RayWorker).options(
        **{"num_cpus": 1, **options},
        name=name,
        namespace=NAMESPACE,
        lifetime="detached",
        max_restarts=MAX_RETURNS,
    )


def _connect(ray: Any, settings: Mapping[str, Any]) -> None:
    """Connects to a cluster; raises ValueError where Ray would start one that ends with this."""
    address = str(settings.get("address", "auto"))
    try:
        ray.init(address, ignore_reinit_error=True, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"--launcher=ray uses a Ray cluster that is there, and finds none at {address}: start "
            f"one by `ray start --head`, or give --ray.address=HOST:PORT ({reason})"
        ) from None
