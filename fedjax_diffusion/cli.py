"""The command line: run, sample, study, allocate. Commands only, no logic."""

import argparse
import os
import sys
from collections.abc import Sequence

_EXIT_INVALID = 1
_EXIT_BAD_INPUT = 2
_EXIT_INFEASIBLE = 3
_EXIT_INTERRUPTED = 130
_DEBUG = "FEDJAX_DIFFUSION_DEBUG"
_ALLOCATE = """\
Decide for every client of one round how many bits it sends, how long it computes
and at which power it sends, so that all meet the deadline, the error stays within
its budget, and computing and sending cost the least energy.

FILE.json holds these fields; those marked * may be a list, a number per client:

  * compute_cycles               CPU cycles of local training
  * effective_capacitance        J s^2 / cycle^3, usually 1e-28
  * max_frequency_hz             fastest CPU clock
  * channel_gain                 linear power gain to the base station
  * bandwidth_hz                 of the client's sub-channel
  * max_power_watts              transmit power limit
  * min_bits, max_bits           bits per parameter it demands, and can handle: 1..16 or 32
  * error_weight                 squared aggregation weight times V_k, see docs/allocator.md
    num_parameters               of the model
    overhead_bits                of a message, beside its codes (or 17 numbers, one per level)
    noise_density_watts_per_hz   4e-21 for thermal noise
    error_budget                 bound on the squared error; null for none
    time_budget_seconds          deadline for computing and sending

for example:

  {"compute_cycles": [2e9, 4e9], "effective_capacitance": 1e-28,
   "max_frequency_hz": 2e9, "channel_gain": [1e-11, 1e-12], "bandwidth_hz": 1e6,
   "max_power_watts": 0.2, "min_bits": 2, "max_bits": 16, "error_weight": 1.0,
   "num_parameters": 267000, "overhead_bits": 512, "noise_density_watts_per_hz": 4e-21,
   "error_budget": 1e-3, "time_budget_seconds": 6}

exit codes: 0 solved, 2 bad input, 3 some client is infeasible (stderr says why and
what would help), 1 the answer failed the check that follows every solution.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    0: done; 1: an allocation that fails its check; 2: bad input, named in one line on stderr; 3: an
    allocation with infeasible clients; 130: interrupted.
    With FEDJAX_DIFFUSION_DEBUG=1 in the environment, bad input shows a traceback.
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
        rest = "; the same command goes on from the last checkpoint"
        print(f"\ninterrupted{rest * (arguments.command is _run)}", file=sys.stderr)
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
    several = run.add_argument_group("several processes, each started with the same command")
    several.add_argument("--coordinator", metavar="HOST:PORT", help="a free port of process 0")
    several.add_argument("--num_processes", type=int, metavar="N")
    several.add_argument("--process_id", type=int, metavar="I", help="0..N-1, another in each")
    run.set_defaults(command=_run)

    sample = commands.add_parser("sample", allow_abbrev=False, help="draw images from a run")
    sample.add_argument("--workdir", required=True, help="a run folder")
    sample.add_argument("--num_samples", type=int, default=64)
    sample.add_argument("--sampler", default="ddim", help="ddim or ancestral")
    sample.add_argument("--num_steps", type=int, help="of ddim (default: all)")
    sample.add_argument("--seed", type=int, default=0, help="another seed, other images")
    sample.add_argument("--output", help="a .png (default: WORKDIR/samples/sample_SEED.png)")
    sample.set_defaults(command=_sample)

    study = commands.add_parser(
        "study",
        allow_abbrev=False,
        help="compare energy over deadlines and distances; trains nothing",
        epilog="What is varied: --config.study.key=value, as in configs/default.py.",
    )
    study.add_argument("--config", default="configs/digits.py", metavar="FILE[:ARGUMENT]")
    study.add_argument("--workdir", help="the study folder (default: studies/NAME-OF-THE-CONFIG)")
    study.set_defaults(command=_study)

    _add_allocate(commands)
    return parser


def _add_allocate(commands) -> None:
    allocate = commands.add_parser(
        "allocate",
        allow_abbrev=False,
        help="solve one allocation problem from files",
        description=_ALLOCATE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    allocate.add_argument("--problem", required=True, metavar="FILE.json", help="see above")
    allocate.add_argument(
        "--clients",
        metavar="FILE.csv",
        help="one row per client; the header names fields that FILE.json does not give",
    )
    allocate.add_argument(
        "--method",
        default="on_demand",
        help="on_demand (default: least energy within the error budget), relaxed (with real bits), "
        "demand (min_bits for each), fixed_bits:B, full_precision, largest; with :max_frequency "
        "computing is at full speed, with :joint_bandwidth the clients share all bands",
    )
    allocate.add_argument(
        "--refine", action="store_true", help="search on until on_demand is proven to be the best"
    )
    allocate.add_argument(
        "--output",
        metavar="FILE",
        help="where to write the answer: all of it to a .json, a row per client to a .csv",
    )
    allocate.set_defaults(command=_allocate)


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
    from fedjax_diffusion.processes import join_processes
    from fedjax_diffusion.runner import run

    config = load_config(arguments.config, overrides)
    name = find_config(arguments.config.partition(":")[0]).stem
    workdir = arguments.workdir or f"runs/{name}"
    places = (arguments.coordinator, arguments.num_processes, arguments.process_id)
    if any(place is not None for place in places):
        if None in places:
            raise ValueError("give all of --coordinator, --num_processes, --process_id, or none")
        join_processes(*places)
    if arguments.process_id:
        run(config, workdir)  # process 0 writes and talks
        return 0
    with RunDisplay(config.num_rounds) as display:
        result = run(config, workdir, on_start=display.start, on_record=display.advance)
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


def _study(arguments, overrides: dict[str, str]) -> int:
    import functools

    from tqdm import tqdm

    from fedjax_diffusion.config import find_config, load_config
    from fedjax_diffusion.study import format_paths, format_study, run_study

    config = load_config(arguments.config, overrides)
    name = find_config(arguments.config.partition(":")[0]).stem
    track = functools.partial(tqdm, unit="setting", disable=None)  # None: only on a terminal
    study = run_study(config, arguments.workdir or f"studies/{name}", track=track)
    print(format_study(study.summary, study.points))
    print(format_paths(study.workdir))
    return 0


def _allocate(arguments, overrides: dict[str, str]) -> int:
    from fedjax_diffusion.resources.files import check_suffix, read_problem, write_allocation
    from fedjax_diffusion.resources.solution import solve
    from fedjax_diffusion.resources.table import allocation_table

    if arguments.output:
        check_suffix(arguments.output)
    problem = read_problem(arguments.problem, arguments.clients)
    allocation, verification = solve(problem, arguments.method, is_refined=arguments.refine)
    if not verification.is_valid:
        print(verification, file=sys.stderr)
        return _EXIT_INVALID
    if arguments.output:
        write_allocation(arguments.output, allocation)
    print(allocation_table(allocation))
    print("verified: every limit and cost recomputed")
    reasons = allocation.explain(problem)
    for line in reasons:
        print(line, file=sys.stderr)
    return _EXIT_INFEASIBLE if reasons else 0
