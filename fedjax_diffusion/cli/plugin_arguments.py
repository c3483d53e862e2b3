"""Arguments of the command line that name plug-ins."""

from argparse import Namespace
from pathlib import Path
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


def open_plugins_of(arguments: Namespace, workdir: str | None = None) -> None:
    """Imports the plug-ins of the folder that a command reads.

    Args:
      arguments: with those of ``add_plugins``.
      workdir: the folder; None: ``--workdir``.
    """
    from fedjax_diffusion.runs.plugins import open_plugins

    folder = Path(arguments.workdir if workdir is None else workdir)
    open_plugins(folder, arguments.plugins, is_trusted=arguments.trust_plugins)
