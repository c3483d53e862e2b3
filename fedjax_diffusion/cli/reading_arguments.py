"""Arguments of the commands that read files and train nothing: config, export, allocate, verify."""

import argparse
from typing import Any

from fedjax_diffusion.cli.descriptions import ALLOCATE
from fedjax_diffusion.cli.plugin_arguments import add_files, add_plugins


def add_config(commands: Any) -> None:
    """Adds the command ``config``."""
    config = commands.add_parser(
        "config",
        allow_abbrev=False,
        help="show every setting of a config with its value, unit and meaning",
        epilog="--config.GROUP.KEY=VALUE changes a setting before it is shown, as for run.",
    )
    config.add_argument(
        "config",
        nargs="?",
        default="configs/digits.py",
        metavar="NAME",
        help="file of settings, or a run folder (default: configs/digits.py)",
    )
    config.add_argument(
        "--diff", metavar="OTHER", help="show only the settings that OTHER has otherwise"
    )
    add_plugins(config)


def add_export(commands: Any) -> None:
    """Adds the command ``export``."""
    export = commands.add_parser(
        "export",
        allow_abbrev=False,
        help="write the weights of a run into a file for other programs, or for init_from",
        epilog="--config.init_from=FILE, or a run folder, starts another run from these weights.",
    )
    export.add_argument("--workdir", required=True, help="folder of the run")
    add_plugins(export)
    export.add_argument(
        "--format",
        choices=["npz", "safetensors", "msgpack"],
        default="npz",
        help="of the file, if --output is not given (default: npz)",
    )
    export.add_argument(
        "--model",
        choices=["average", "global"],
        default="average",
        help="average: the averaged model, from which images are drawn (default); global: the "
        "model of the last round",
    )
    export.add_argument(
        "--output",
        metavar="FILE",
        help="file whose ending is its format (default: WORKDIR/weights/round_ROUND.FORMAT)",
    )


def add_allocate(commands: Any) -> None:
    """Adds the command ``allocate``."""
    allocate = commands.add_parser(
        "allocate",
        allow_abbrev=False,
        help="solve the allocation problem of one round, given as files",
        description=ALLOCATE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_problem(allocate, "see above")
    allocate.add_argument(
        "--method",
        default="on_demand",
        help="on_demand (default): least energy within the error budget; relaxed: the same with "
        "real bits; demand: min_bits for each client; fixed_bits:B: B bits for all; full_precision:"
        " 32 bits; largest: the most bits in time. Append :max_frequency to compute at full "
        "frequency, or :joint_bandwidth to share the bandwidth among the clients",
    )
    add_files(allocate, "import this file, which registers a method of your own; again for another")
    allocate.add_argument(
        "--refine", action="store_true", help="continue until on_demand is proven optimal"
    )
    allocate.add_argument(
        "--output",
        metavar="FILE",
        help="file for the solution: .json for all fields, .csv for one row per client",
    )


def add_verify(commands: Any) -> None:
    """Adds the command ``verify``."""
    verify = commands.add_parser(
        "verify",
        allow_abbrev=False,
        help="check an allocation from any source: limits, costs and bound are recomputed",
        epilog="Exit codes: 0 valid; 1 something is violated, a line each; 2 bad input.",
    )
    _add_problem(verify, "the problem, as for allocate")
    verify.add_argument(
        "--allocation",
        required=True,
        metavar="FILE.json",
        help="all fields of an allocation, as allocate --output=FILE.json writes them",
    )
    verify.add_argument(
        "--method",
        default="on_demand",
        help="method whose limits must hold (default: on_demand, which respects the devices' "
        "limits and the error budget)",
    )
    add_files(verify, "import this file, which registers a method of your own; again for another")


def _add_problem(command: Any, text: str) -> None:
    command.add_argument("--problem", required=True, metavar="FILE.json", help=text)
    command.add_argument(
        "--clients",
        metavar="FILE.csv",
        help="table with one row per client; its header names fields that FILE.json omits",
    )
