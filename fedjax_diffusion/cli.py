"""The command line: ``fedjax-diffusion run | sample | allocate``. Commands only, no logic."""

import argparse
import os
import sys
from collections.abc import Sequence

_EXIT_BAD_INPUT = 2
_EXIT_INFEASIBLE = 3
_EXIT_INTERRUPTED = 130
_DEBUG = "FEDJAX_DIFFUSION_DEBUG"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    0: done; 2: bad input, named in one line on stderr; 3: an allocation with infeasible clients;
    130: interrupted. With FEDJAX_DIFFUSION_DEBUG=1 in the environment, bad input shows a traceback.
    """
    parser = make_parser()
    arguments, rest = parser.parse_known_args(argv)
    try:
        return arguments.command(arguments, _overrides(arguments, rest))
    except ValueError as error:
        if os.environ.get(_DEBUG):
            raise
        print(f"fedjax-diffusion: {' '.join(str(error).split())}", file=sys.stderr)
        return _EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return _EXIT_INTERRUPTED


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    from fedjax_diffusion import __version__

    parser = argparse.ArgumentParser(prog="fedjax-diffusion", allow_abbrev=False)
    parser.description = "Simulate quantized, energy-aware federated training of diffusion models."
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")

    run = commands.add_parser(
        "run",
        allow_abbrev=False,
        help="train; resumes by itself; a finished run is a no-op",
        epilog="Any setting: --config.group.key=value, as in configs/default.py.",
    )
    run.add_argument("--config", default="configs/digits.py", metavar="FILE[:ARGUMENT]")
    run.add_argument("--workdir", help="the run folder (default: runs/NAME-OF-THE-CONFIG)")
    run.set_defaults(command=_run)

    sample = commands.add_parser("sample", allow_abbrev=False, help="draw images from a run")
    sample.add_argument("--workdir", required=True, help="a run folder")
    sample.add_argument("--num_samples", type=int, default=64)
    sample.add_argument("--sampler", default="ddim", help="ddim or ancestral")
    sample.add_argument("--num_steps", type=int, help="of ddim (default: all)")
    sample.add_argument("--seed", type=int, default=0, help="another seed, other images")
    sample.add_argument("--output", help="a .png (default: WORKDIR/samples/sample_SEED.png)")
    sample.set_defaults(command=_sample)

    allocate = commands.add_parser(
        "allocate", allow_abbrev=False, help="solve one allocation problem"
    )
    allocate.add_argument(
        "--problem", required=True, help="problem.json: AllocationProblem by name"
    )
    allocate.add_argument("--method", default="on_demand")
    allocate.add_argument("--output", help="allocation.json to write")
    allocate.set_defaults(command=_allocate)
    return parser


def _overrides(arguments, rest: Sequence[str]) -> dict[str, str]:
    """Returns ``--config.key=value`` arguments as a dict; anything else unknown is an error."""
    overrides = {}
    for text in rest:
        key, equals, value = text.removeprefix("--config.").partition("=")
        if not text.startswith("--config.") or "config" not in vars(arguments):
            raise ValueError(f"unknown argument {text}; see --help")
        if not equals:
            raise ValueError(f"{text} needs a value: {text}=VALUE")
        overrides[key] = value
    return overrides


def _run(arguments, overrides: dict[str, str]) -> int:
    from fedjax_diffusion.config import find_config, load_config
    from fedjax_diffusion.console import RunDisplay
    from fedjax_diffusion.runner import run

    config = load_config(arguments.config, overrides)
    name = find_config(arguments.config.partition(":")[0]).stem
    with RunDisplay(config.num_rounds) as display:
        result = run(
            config,
            arguments.workdir or f"runs/{name}",
            on_start=display.start,
            on_record=display.advance,
        )
    display.finish(result)
    return 0


def _sample(arguments, overrides: dict[str, str]) -> int:
    from fedjax_diffusion.runner import sample

    path = sample(
        arguments.workdir,
        num_samples=arguments.num_samples,
        sampler=arguments.sampler,
        num_steps=arguments.num_steps,
        seed=arguments.seed,
        output=arguments.output,
    )
    print(path)
    return 0


def _allocate(arguments, overrides: dict[str, str]) -> int:
    from fedjax_diffusion.resources import (
        allocate,
        allocation_table,
        read_problem,
        write_allocation,
    )

    problem = read_problem(arguments.problem)
    allocation = allocate(problem, arguments.method)
    if arguments.output:
        write_allocation(arguments.output, allocation)
    print(allocation_table(allocation))
    reasons = allocation.explain(problem)
    for line in reasons:
        print(line, file=sys.stderr)
    return _EXIT_INFEASIBLE if reasons else 0
