"""Entry point of the command line: parses arguments, runs a command, returns an exit code."""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence

import jax

from fedjax_diffusion.cli.commands import COMMANDS
from fedjax_diffusion.cli.parser import make_parser
from fedjax_diffusion.experiment.memory import DeviceMemoryError
from fedjax_diffusion.host.interruption import EXIT_INTERRUPTED, StoppedBySignal
from fedjax_diffusion.runs.claims import LostClaimError

_EXIT_FAILED = 1
_EXIT_BAD_INPUT = 2
_DEBUG = "FEDJAX_DIFFUSION_DEBUG"
_RESUMABLE = ("run", "compare", "sweep")
_MAX_REASON = 300
"""Largest number of characters printed of an error of JAX, which may contain a whole program."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    0: done; 1: an allocation failed its check, or the device or a point of a sweep failed; 2: bad
    input; 3: an allocation has infeasible clients; 130: stopped by SIGINT; 143: by SIGTERM or
    SIGUSR1. For 1 and 2, one line on stderr gives the reason. With FEDJAX_DIFFUSION_DEBUG=1 in the
    environment, errors show a traceback.
    """
    arguments, rest = make_parser().parse_known_args(argv)
    try:
        return COMMANDS[arguments.command](arguments, read_overrides(arguments, rest))
    except ValueError as error:
        return _fail(error, str(error), _EXIT_BAD_INPUT)
    except (DeviceMemoryError, LostClaimError) as error:
        return _fail(error, str(error), _EXIT_FAILED)
    except jax.errors.JaxRuntimeError as error:
        reason = f"the device failed: {str(error)[:_MAX_REASON]} ({_DEBUG}=1 shows where)"
        return _fail(error, reason, _EXIT_FAILED)
    except StoppedBySignal as stop:
        print(f"{stop}; repeat the command to continue there", file=sys.stderr)
        return stop.exit_code
    except KeyboardInterrupt:
        advice = "; repeat the command to continue from the last checkpoint" * (
            arguments.command in _RESUMABLE
        )
        print(f"\ninterrupted{advice}", file=sys.stderr)
        return EXIT_INTERRUPTED


def _fail(error: Exception, reason: str, exit_code: int) -> int:
    """Prints the reason of a failure in one line, and returns the exit code."""
    if os.environ.get(_DEBUG):
        raise error
    print(f"fedjax-diffusion: {' '.join(reason.split())}", file=sys.stderr)
    return exit_code


def read_overrides(arguments: Namespace, rest: Sequence[str]) -> dict[str, str]:
    """Returns ``--config.key=value`` arguments as a dict; raises ValueError for any other.

    Those of the form ``--sweep.key=values`` become the ``axes`` of the command ``sweep``.
    """
    overrides = {}
    if "axes" in vars(arguments):
        arguments.axes = [text for text in rest if text.startswith("--sweep.")]
        rest = [text for text in rest if not text.startswith("--sweep.")]
    for text in rest:
        key, equals, value = text.removeprefix("--config.").partition("=")
        if not text.startswith("--config.") or "config" not in vars(arguments):
            raise ValueError(f"unknown argument {text}; see --help")
        if not equals:
            raise ValueError(f"{text} needs a value: {text}=VALUE")
        overrides[key] = value
    return overrides
