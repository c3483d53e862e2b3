"""Arguments of the command ``sweep``, checked without JAX."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from fedjax_diffusion.sweep.hyper import parse_axis
from fedjax_diffusion.sweep.launchers.engines import load_engine
from fedjax_diffusion.sweep.launchers.launch import parse_settings


def check_arguments(arguments: Namespace, overrides: Mapping[str, str]) -> None:
    """Raises ValueError for a malformed axis, and for arguments that do not belong together."""
    for axis in arguments.axes:
        parse_axis(axis)
    defines = arguments.config is not None or arguments.axes or overrides
    if arguments.config is None and (arguments.axes or overrides):
        raise ValueError("--sweep.KEY and --config.KEY change a config: give --config=FILE too")
    if arguments.config is None and arguments.workdir is None:
        raise ValueError("give --config=FILE, or --workdir=FOLDER of an existing sweep")
    for name in ("status", "worker"):
        if getattr(arguments, name) and (defines or arguments.workdir is None):
            raise ValueError(f"--{name} reads the sweep's folder: give --workdir, without --config")
    if arguments.reference is not None and (arguments.status or arguments.worker):
        raise ValueError("--reference names a point of what is played: without --status, --worker")
    if (arguments.plugins or arguments.trust_plugins) and arguments.config is not None:
        raise ValueError(
            "--plugins is for --workdir without --config: a config has its own plugins"
        )
    check_playing(arguments)


def check_playing(arguments: Namespace) -> None:
    """Raises ValueError for arguments of the play that do not belong together."""
    if arguments.watch and not arguments.status:
        raise ValueError("--watch belongs to --status")
    if arguments.limit is not None and arguments.limit < 1:
        raise ValueError(f"--limit must be at least 1, got {arguments.limit}")
    is_worker = vars(arguments).get("worker")
    if is_worker and arguments.workers is not None and arguments.workers < 1:
        raise ValueError(f"--workers must be at least 1, got {arguments.workers}")
    if (arguments.launcher is None) != (arguments.workers is None) and not is_worker:
        raise ValueError("--launcher and --workers belong together: --launcher=local --workers=2")
    if arguments.launcher is not None:
        if is_worker or arguments.limit is not None:
            raise ValueError("--launcher starts workers; it goes with neither --worker nor --limit")
        engine, settings = arguments.launcher, arguments.settings
        num_workers: Any = arguments.workers
        load_engine(engine).check(num_workers, parse_settings(engine, settings))
    elif arguments.settings:
        raise ValueError(f"{arguments.settings[0]} is for the --launcher that it names: give it")
