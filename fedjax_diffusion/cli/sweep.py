"""The command ``sweep``, if it plays or plans something."""

import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from fedjax_diffusion.cli.console import LoopDisplay
from fedjax_diffusion.experiment.config import load_config, name_config
from fedjax_diffusion.host.interruption import catch_signals
from fedjax_diffusion.sweep.dry_run import format_dry_run
from fedjax_diffusion.sweep.folder import Sweep, open_sweep
from fedjax_diffusion.sweep.hyper import add_axes, parse_axis
from fedjax_diffusion.sweep.index import CSV, write_index
from fedjax_diffusion.sweep.launcher import launch_workers
from fedjax_diffusion.sweep.play import PlayOptions
from fedjax_diffusion.sweep.points import Point, expand, load_get_hyper
from fedjax_diffusion.sweep.runner import play_sweep, prepare_sweep
from fedjax_diffusion.sweep.states import PointState, format_counts, read_states
from fedjax_diffusion.sweep.status import list_failures

_EXIT_FAILED = 1


def play(arguments: Namespace, overrides: Mapping[str, str]) -> int:
    """Plays or plans a sweep, and returns the exit code.

    Args:
      arguments: checked ones.
      overrides: changed values of the config, by dotted key.
    """
    options = PlayOptions(
        only=arguments.only,
        limit=arguments.limit,
        is_retrying=arguments.retry,
        is_failing_fast=arguments.fail_fast,
        is_evaluating=not arguments.no_evaluation,
    )
    if arguments.config is None:
        sweep = open_sweep(arguments.workdir)
    else:
        sweep = _prepare(arguments, overrides, options)
    if arguments.dry_run:
        print(format_dry_run(sweep, options))
        return 0
    num_dead = _launch(arguments, sweep) if arguments.launcher else _play(sweep, options)
    states = read_states(sweep)
    print(f"{len(states)} points: {format_counts(states)}")
    failures = list_failures(sweep.points, states)
    print("\n".join([*failures, f"{sweep.workdir / CSV}"]))
    if failures:
        print("--retry plays failed points again; failed.json has the traceback", file=sys.stderr)
    return _EXIT_FAILED if failures or num_dead else 0


def _prepare(arguments: Namespace, overrides: Mapping[str, str], options: PlayOptions) -> Sweep:
    """Checks the definition, adds its points to the folder unless in a dry run."""
    config = load_config(arguments.config, overrides)
    get_hyper = load_get_hyper(arguments.config)
    if arguments.axes:
        get_hyper = add_axes([parse_axis(axis) for axis in arguments.axes], get_hyper)
    points = expand(config, get_hyper, is_large_ok=arguments.yes)
    workdir = Path(arguments.workdir or f"sweeps/{name_config(arguments.config)}")
    given = "evaluation.num_samples" in overrides
    num_evaluated = config.evaluation.num_samples if given else None
    is_dry = arguments.dry_run
    return prepare_sweep(config, points, workdir, options, num_evaluated, is_dry=is_dry)


def _play(sweep: Sweep, options: PlayOptions) -> int:
    display = LoopDisplay("point")
    with catch_signals() as interruption:
        play_sweep(
            sweep.workdir,
            options,
            track=display.track,
            on_point=lambda point, state: display.print(_format_point(point, state)),
            progress=display,
            interruption=interruption,
        )
    return 0


def _launch(arguments: Namespace, sweep: Sweep) -> int:
    """Lets workers play, and returns the number of those that died."""
    flags = [
        f"--{name}" for name in ("retry", "fail_fast", "no_evaluation") if _is(arguments, name)
    ]
    flags += [f"--only={arguments.only}"] * (arguments.only is not None)
    with catch_signals() as interruption:
        num_dead = launch_workers(
            sweep.workdir, arguments.workers, flags, tell=print, interruption=interruption
        )
    write_index(sweep)
    if num_dead:
        logs = "their points go on when the command is repeated; see the folder logs"
        print(f"{num_dead} workers died; {logs}", file=sys.stderr)
    return num_dead


def _format_point(point: Point, state: PointState) -> str:
    if state.summary is None:
        return f"{point.label}: {state.status}" + f", {state.error}" * (state.error is not None)
    bill = state.summary["methods"][0]
    cost = f"{bill['total_joules']:.4g} J  {bill['uplink_bytes'] / 1e6:.4g} MB"
    return f"{point.label}: {state.status}  loss {state.summary['loss']}  {cost}"


def _is(arguments: Namespace, name: str) -> bool:
    return bool(getattr(arguments, name))
