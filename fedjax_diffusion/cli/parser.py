"""What the command line understands."""

import argparse
from typing import Any

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
  * is_present                   false for a client that does not participate; may be left out
    num_parameters               of the model
    overhead_bits                of a message, beside its codes (or 17 numbers, one per bit width)
    noise_density_watts_per_hz   4e-21 for thermal noise
    error_budget                 bound on the squared error; null for none
    time_budget_seconds          deadline for computing and sending

for example:

  {"compute_cycles": [1e9, 2e9, 3e9, 4e9, 5e9], "effective_capacitance": 1e-28,
   "max_frequency_hz": 2e9, "channel_gain": [1e-11, 3e-12, 1e-12, 3e-13, 1e-13],
   "bandwidth_hz": 1e6, "max_power_watts": 0.2, "min_bits": 2, "max_bits": 16,
   "error_weight": 1.0, "num_parameters": 267000, "overhead_bits": 512,
   "noise_density_watts_per_hz": 4e-21, "error_budget": 2e-3, "time_budget_seconds": 6}

exit codes: 0 solved, 2 bad input, 3 some client is infeasible (stderr says why and
what would help), 1 the answer failed the check that follows every solution.
"""


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    from fedjax_diffusion.host.version import __version__

    parser = argparse.ArgumentParser(prog="fedjax-diffusion", allow_abbrev=False)
    parser.description = "Simulate quantized, energy-aware federated training of diffusion models."
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for add in (
        _add_run,
        _add_sample,
        _add_evaluate,
        _add_compare,
        _add_data,
        _add_study,
        _add_allocate,
    ):
        add(commands)
    return parser


def _add_run(commands: Any) -> None:
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


def _add_sample(commands: Any) -> None:
    sample = commands.add_parser("sample", allow_abbrev=False, help="draw images from a run")
    sample.add_argument("--workdir", required=True, help="a run folder")
    sample.add_argument("--num_samples", type=int, default=64)
    sample.add_argument("--sampler", help="ddim or ancestral (default, as below: the run's)")
    sample.add_argument("--num_steps", type=int, help="of ddim")
    sample.add_argument("--eta", type=float, help="noise of ddim, 0 to 1")
    sample.add_argument("--guidance_scale", type=float, help="of a run with classes")
    sample.add_argument("--seed", type=int, default=0, help="another seed, other images")
    sample.add_argument(
        "--output",
        help="a .png for a grid, or a folder for a .png of each image "
        "(default: WORKDIR/samples/sample_SEED.png)",
    )


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser(
        "compare",
        allow_abbrev=False,
        help="train and evaluate several variants with the same seeds; goes on where it stopped",
        epilog="What is compared: --config.compare.key=value, as in configs/default.py.",
    )
    compare.add_argument("--config", default="configs/paper_digits.py", metavar="FILE[:ARGUMENT]")
    compare.add_argument("--workdir", help="its folder (default: comparisons/NAME-OF-THE-CONFIG)")
    compare.add_argument(
        "--earlier",
        nargs="+",
        default=[],
        metavar="RUNS.csv",
        help="of the same comparison elsewhere: what was played there is not played again",
    )


def _add_data(commands: Any) -> None:
    data = commands.add_parser(
        "data",
        allow_abbrev=False,
        help="check and describe a data set; draw what each client gets of it",
        epilog="How it is divided: --config.partition.key=value, as in configs/default.py.",
    )
    data.add_argument("--name", help="digits, or a TFDS name: cifar10, celeb_a, ...")
    data.add_argument("--data_dir", metavar="FOLDER", help="of prepared TFDS data sets")
    data.add_argument("--split", help="train, test, train[:512], ...")
    data.add_argument("--config", default="configs/digits.py", metavar="FILE[:ARGUMENT]")
    data.add_argument(
        "--output", metavar="FOLDER", help="of the pictures (default: data_reports/NAME-SPLIT)"
    )


def _add_study(commands: Any) -> None:
    study = commands.add_parser(
        "study",
        allow_abbrev=False,
        help="compare energy over deadlines and distances; trains nothing",
        epilog="What is varied: --config.study.key=value, as in configs/default.py.",
    )
    study.add_argument("--config", default="configs/digits.py", metavar="FILE[:ARGUMENT]")
    study.add_argument("--workdir", help="the study folder (default: studies/NAME-OF-THE-CONFIG)")


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate", allow_abbrev=False, help="quality of a run's images, or of a folder of PNGs"
    )
    evaluate.add_argument("--workdir", help="a run folder")
    evaluate.add_argument("--images", metavar="FOLDER", help="of .png files, one image each")
    evaluate.add_argument(
        "--config",
        metavar="FILE[:ARGUMENT]",
        help="of --images: its group `data` says what they are compared with "
        "(default: configs/digits.py)",
    )
    evaluate.add_argument("--num_samples", type=int, help="images drawn from a run")
    evaluate.add_argument(
        "--inception_weights",
        metavar="FILE",
        help="of the 2015 Inception network, .pth or .npz; without it a small classifier is "
        "trained on the same data and distances are called fcd, not FID",
    )
    evaluate.add_argument(
        "--held_out_split", metavar="SPLIT", help="real images shown beside (none: no such)"
    )
    evaluate.add_argument("--output", metavar="FILE.json", help="the answer, also as a file")


def _add_allocate(commands: Any) -> None:
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
