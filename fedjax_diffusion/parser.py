"""What the command line understands."""

import argparse

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


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    from fedjax_diffusion import __version__

    parser = argparse.ArgumentParser(prog="fedjax-diffusion", allow_abbrev=False)
    parser.description = "Simulate quantized, energy-aware federated training of diffusion models."
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

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

    sample = commands.add_parser("sample", allow_abbrev=False, help="draw images from a run")
    sample.add_argument("--workdir", required=True, help="a run folder")
    sample.add_argument("--num_samples", type=int, default=64)
    sample.add_argument("--sampler", default="ddim", help="ddim or ancestral")
    sample.add_argument("--num_steps", type=int, help="of ddim (default: all)")
    sample.add_argument("--seed", type=int, default=0, help="another seed, other images")
    sample.add_argument("--output", help="a .png (default: WORKDIR/samples/sample_SEED.png)")

    study = commands.add_parser(
        "study",
        allow_abbrev=False,
        help="compare energy over deadlines and distances; trains nothing",
        epilog="What is varied: --config.study.key=value, as in configs/default.py.",
    )
    study.add_argument("--config", default="configs/digits.py", metavar="FILE[:ARGUMENT]")
    study.add_argument("--workdir", help="the study folder (default: studies/NAME-OF-THE-CONFIG)")

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
