"""The command ``sweep``, if it plays or plans something."""

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path

from fedjax_diffusion.cli.console import LoopDisplay
from fedjax_diffusion.experiment.config import load_config, name_config, to_run_config
from fedjax_diffusion.host.interruption import catch_signals
from fedjax_diffusion.host.plugins import list_flags
from fedjax_diffusion.sweep.doubts import list_doubts
from fedjax_diffusion.sweep.dry_run import format_dry_run
from fedjax_diffusion.sweep.folder import Sweep, grow_sweep, open_sweep
from fedjax_diffusion.sweep.hyper import add_axes, parse_axis
from fedjax_diffusion.sweep.index import CSV, read_distance, write_index
from fedjax_diffusion.sweep.launchers.engines import load_engine
from fedjax_diffusion.sweep.launchers.launch import Launch, parse_settings
from fedjax_diffusion.sweep.play import PlayOptions, reopen_failed
from fedjax_diffusion.sweep.points import Point, expand, load_get_hyper
from fedjax_diffusion.sweep.reference import find_reference
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
    options = read_options(arguments)
    if arguments.config is None:
        sweep = _open(arguments)
    else:
        sweep = _prepare(arguments, overrides, options)
    if arguments.dry_run:
        print(format_dry_run(sweep, options))
        return 0
    return finish(sweep, play_points(arguments, sweep.workdir, options))


def read_options(arguments: Namespace) -> PlayOptions:
    """Returns the choice of points that arguments make."""
    return PlayOptions(
        only=arguments.only,
        limit=arguments.limit,
        is_retrying=arguments.retry,
        is_failing_fast=arguments.fail_fast,
        is_evaluating=not vars(arguments).get("no_evaluation"),
        num_workers=arguments.workers or 1,
    )


def play_points(
    arguments: Namespace,
    workdir: Path,
    options: PlayOptions,
    update: Callable[[], object] = lambda: None,
) -> int:
    """Plays the points of a sweep, or lets workers play them, as the arguments say.

    Args:
      arguments: of the command.
      workdir: the folder of the sweep.
      options: choice of its points.
      update: called after each point that this process has played.

    Returns:
      The number of workers that died, of those that are waited for.
    """
    if arguments.launcher is not None:
        return _launch(open_sweep(workdir), arguments, options)
    display = LoopDisplay("point")

    def show(point: Point, state: PointState) -> None:
        display.print(_format_point(point, state))
        update()

    with catch_signals() as interruption:
        play_sweep(
            workdir,
            options,
            track=display.track,
            on_point=show,
            progress=display,
            interruption=interruption,
        )
    return 0


def finish(sweep: Sweep, num_dead: int) -> int:
    """Prints the state of a sweep after its play, and returns the exit code."""
    states = read_states(sweep)
    print(f"{len(states)} points: {format_counts(states)}")
    failures = list_failures(sweep.points, states)
    print("\n".join([*failures, f"{sweep.workdir / CSV}"]))
    if failures:
        print("--retry plays failed points again; failed.json has the traceback", file=sys.stderr)
    for line in list_doubts(sweep.points, states):
        print(line, file=sys.stderr)
    return _EXIT_FAILED if failures or num_dead else 0


def _open(arguments: Namespace) -> Sweep:
    """Returns the sweep of a folder, with another reference if one is named."""
    sweep = open_sweep(arguments.workdir)
    if arguments.reference is None:
        return sweep
    family = find_reference(sweep.points, arguments.reference)
    if arguments.dry_run:
        return sweep
    return grow_sweep(sweep.base, sweep.points, sweep.workdir, family)


def _prepare(arguments: Namespace, overrides: Mapping[str, str], options: PlayOptions) -> Sweep:
    """Checks the definition, adds its points to the folder unless in a dry run."""
    config = to_run_config(load_config(arguments.config, overrides))  # reads init_from once
    get_hyper = load_get_hyper(arguments.config)
    if arguments.axes:
        get_hyper = add_axes([parse_axis(axis) for axis in arguments.axes], get_hyper)
    points = expand(config, get_hyper, is_large_ok=arguments.yes)
    workdir = Path(arguments.workdir or f"sweeps/{name_config(arguments.config)}")
    given = "evaluation.num_samples" in overrides
    num_evaluated = config.evaluation.num_samples if given else None
    return prepare_sweep(
        config,
        points,
        workdir,
        options,
        num_evaluated,
        arguments.reference,
        is_dry=arguments.dry_run,
    )


def _launch(sweep: Sweep, arguments: Namespace, options: PlayOptions) -> int:
    """Lets workers play, and returns the number of those that died."""
    engine = arguments.launcher
    settings = parse_settings(engine, arguments.settings)
    options = reopen_failed(sweep, options)  # once, not by each worker
    flags = ["--fail_fast"] * options.is_failing_fast
    flags += ["--no_evaluation"] * (not options.is_evaluating)
    flags += [f"--only={options.only}"] * (options.only is not None)
    flags += [f"--workers={arguments.workers}", *list_flags(sweep.base.plugins)]
    with catch_signals() as interruption:
        num_dead = load_engine(engine).launch(
            Launch(sweep.workdir, arguments.workers, flags, settings, print, interruption)
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
    quality = ""
    if state.evaluation:
        name, distance = read_distance(state.evaluation["quality"])
        quality = f"  {name} {distance:.2f}"
    return f"{point.label}: {state.status}  loss {state.summary['loss']}{quality}  {cost}"
