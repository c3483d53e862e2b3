"""Entry point of the command line: parses arguments, runs a command, returns an exit code.

It imports no JAX, nor do the modules that it imports: a command imports its own when it is called.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Collection, Sequence
from pathlib import Path

from fedjax_diffusion.cli.argument_parser import check_words, unknown_argument
from fedjax_diffusion.cli.commands import COMMANDS
from fedjax_diffusion.cli.failures import fail, find_reason, keep_traceback
from fedjax_diffusion.cli.parser import make_parser
from fedjax_diffusion.cli.paths import expand_paths
from fedjax_diffusion.cli.streams import forgive_streams
from fedjax_diffusion.host.file_errors import explain_file_errors
from fedjax_diffusion.host.interruption import StoppedBySignal, end_at_signals
from fedjax_diffusion.sweep.launchers.engines import ENGINES

_EXIT_FAILED = 1
_EXIT_BAD_INPUT = 2
_ASKED_TO_COMPLETE = "_ARGCOMPLETE"
"""Variable of the environment by which a shell asks for completions instead of an answer."""
_RESUMABLE = ("run", "compare", "sweep")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    0: done; 1: an allocation failed its check, a run learned nothing, the device or a point of a
    sweep failed, or an error that nobody expects; 2: bad input; 3: an allocation has infeasible
    clients; 130: stopped by SIGINT; 143: by SIGTERM or SIGUSR1. For 1 and 2, one line on stderr
    gives the reason; of an unexpected error it names the file that holds the traceback. With
    FEDJAX_DIFFUSION_DEBUG=1 in the environment, errors show a traceback. Output that cannot be
    written ends nothing.
    """
    with forgive_streams():
        return _answer(argv)


def _answer(argv: Sequence[str] | None) -> int:
    try:
        parser = make_parser()
        if _ASKED_TO_COMPLETE in os.environ:
            from fedjax_diffusion.cli.completion import complete

            complete(parser)
        check_words(parser, sys.argv[1:] if argv is None else argv)
        arguments, rest = parser.parse_known_args(argv)
        is_resumable = arguments.command in _RESUMABLE
        advice = f"repeat the command{' to continue from the last checkpoint' * is_resumable}"
        with end_at_signals(advice), explain_file_errors(Path()):
            expand_paths(arguments)
            overrides = read_overrides(arguments, rest)
            _check_keys(arguments, overrides)
            return COMMANDS[arguments.command](arguments, overrides)
    except ValueError as error:
        return fail(error, str(error), _EXIT_BAD_INPUT)
    except StoppedBySignal as stop:
        print(f"{stop}; repeat the command to continue there", file=sys.stderr)
        return stop.exit_code
    except Exception as error:  # the last net; what can be foreseen has a line of its own
        return fail(error, find_reason(error) or keep_traceback(error), _EXIT_FAILED)


def read_overrides(arguments: Namespace, rest: Sequence[str]) -> dict[str, str]:
    """Returns ``--config.key=value`` arguments as a dict; raises ValueError for any other.

    Those of the form ``--sweep.key=values`` become the ``axes`` of the command ``sweep``, and those
    of the form ``--slurm.key=value`` the ``settings`` of the engine that starts workers.
    """
    overrides = {}
    prefixes = {"axes": ("--sweep.",), "settings": tuple(f"--{name}." for name in ENGINES)}
    for name in prefixes.keys() & vars(arguments).keys():
        setattr(arguments, name, [text for text in rest if text.startswith(prefixes[name])])
        rest = [text for text in rest if not text.startswith(prefixes[name])]
    for text in rest:
        key, equals, value = text.removeprefix("--config.").partition("=")
        if not text.startswith("--config.") or "config" not in vars(arguments):
            raise unknown_argument(text, [f"--{name}" for name in vars(arguments)])
        if not equals:
            raise ValueError(f"{text} needs a value: {text}=VALUE")
        overrides[key] = value
    return overrides


def _check_keys(arguments: Namespace, overrides: Collection[str]) -> None:
    """Raises ValueError for a key that no config has, without the seconds of JAX's import."""
    axes = vars(arguments).get("axes", ())
    swept = [axis.removeprefix("--sweep.").partition("=")[0] for axis in axes]
    keys = [*overrides, *(key.removeprefix("config.") for key in swept)]
    if keys:
        from fedjax_diffusion.experiment.config_files import DEFAULT, check_keys
        from fedjax_diffusion.runs.records import CONFIG

        name = vars(arguments).get("config") or DEFAULT
        check_keys(keys, DEFAULT if Path(name, CONFIG).is_file() else name)
