"""Arguments of the commands that read files and train nothing: config, allocate."""

import argparse
from typing import Any

from fedjax_diffusion.cli.descriptions import ALLOCATE


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


def add_allocate(commands: Any) -> None:
    """Adds the command ``allocate``."""
    allocate = commands.add_parser(
        "allocate",
        allow_abbrev=False,
        help="solve the allocation problem of one round, given as files",
        description=ALLOCATE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    allocate.add_argument("--problem", required=True, metavar="FILE.json", help="see above")
    allocate.add_argument(
        "--clients",
        metavar="FILE.csv",
        help="table with one row per client; its header names fields that FILE.json omits",
    )
    allocate.add_argument(
        "--method",
        default="on_demand",
        help="on_demand (default): least energy within the error budget; relaxed: the same with "
        "real bits; demand: min_bits for each client; fixed_bits:B: B bits for all; full_precision:"
        " 32 bits; largest: the most bits in time. Append :max_frequency to compute at full "
        "frequency, or :joint_bandwidth to share the bandwidth among the clients",
    )
    allocate.add_argument(
        "--refine", action="store_true", help="continue until on_demand is proven optimal"
    )
    allocate.add_argument(
        "--output",
        metavar="FILE",
        help="file for the solution: .json for all fields, .csv for one row per client",
    )
