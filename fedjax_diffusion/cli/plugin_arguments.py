"""Arguments of the command line that name plug-ins."""

from typing import Any


def add_plugins(command: Any) -> None:
    """Adds the arguments of a command that reads a folder made with plug-ins."""
    group = command.add_argument_group("plug-ins, if the folder was made with any")
    add_files(group, "import this one, of the same SHA-256; again for another (else: installed)")
    group.add_argument(
        "--trust_plugins", action="store_true", help="also if one differs from that of the folder"
    )


def add_files(group: Any, help: str) -> None:
    """Adds the argument ``--plugins``."""
    group.add_argument("--plugins", action="append", default=[], metavar="FILE.py", help=help)
