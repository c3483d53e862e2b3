"""The command line: from arguments to a command, and from what it raises to an exit code."""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from fedjax_diffusion.commands import COMMANDS
from fedjax_diffusion.parser import make_parser

_EXIT_BAD_INPUT = 2
_EXIT_INTERRUPTED = 130
_DEBUG = "FEDJAX_DIFFUSION_DEBUG"
_RESUMABLE = ("run", "compare")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    0: done; 1: an allocation that fails its check; 2: bad input, named in one line on stderr; 3: an
    allocation with infeasible clients; 130: interrupted.
    With FEDJAX_DIFFUSION_DEBUG=1 in the environment, bad input shows a traceback.
    """
    arguments, rest = make_parser().parse_known_args(argv)
    try:
        return COMMANDS[arguments.command](arguments, read_overrides(arguments, rest))
    except ValueError as error:
        if os.environ.get(_DEBUG):
            raise
        print(f"fedjax-diffusion: {' '.join(str(error).split())}", file=sys.stderr)
        return _EXIT_BAD_INPUT
    except KeyboardInterrupt:
        advice = "; the same command goes on from the last checkpoint" * (
            arguments.command in _RESUMABLE
        )
        print(f"\ninterrupted{advice}", file=sys.stderr)
        return _EXIT_INTERRUPTED


def read_overrides(arguments: Namespace, rest: Sequence[str]) -> dict[str, str]:
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
