"""Failures of a command: one line on stderr, or a traceback for those who debug."""

import os
import sys
import tempfile
import traceback

from fedjax_diffusion.host.version import __version__
from fedjax_diffusion.values import MAX_SHOWN

_DEBUG = "FEDJAX_DIFFUSION_DEBUG"
_MAX_REASON = 300
"""Largest number of characters of an error that was not written for a user, or of a word."""


def fail(error: Exception, reason: str, exit_code: int) -> int:
    """Prints the reason of a failure in one line, and returns the exit code.

    With FEDJAX_DIFFUSION_DEBUG=1 in the environment it raises the error instead.
    """
    if os.environ.get(_DEBUG):
        raise error
    print(f"fedjax-diffusion: {' '.join(map(_cut, reason.split()))}", file=sys.stderr)
    return exit_code


def _cut(word: str) -> str:
    """Returns both ends of a word, of which a user may have given thousands of characters.

    The end of a path has its name.
    """
    return word if len(word) <= _MAX_REASON else f"{word[:MAX_SHOWN]}...{word[-MAX_SHOWN:]}"


def find_reason(error: Exception) -> str | None:
    """Returns the reason of a failure for the user; None for an error that nobody expects."""
    if not isinstance(error, RuntimeError):
        return None
    import jax  # the command line answers bad input without it

    from fedjax_diffusion.experiment.memory import DeviceMemoryError
    from fedjax_diffusion.runs.claims import LostClaimError
    from fedjax_diffusion.runs.learning import LearningError

    if isinstance(error, DeviceMemoryError | LearningError | LostClaimError):
        return str(error)
    if isinstance(error, jax.errors.JaxRuntimeError):
        return f"the device failed: {str(error)[:_MAX_REASON]} ({_DEBUG}=1 shows where)"
    return None


def keep_traceback(error: Exception) -> str:
    """Writes the traceback of an error that nobody expects, and returns a line that names its file.

    The file is a new one in the folder for temporary files, as a run folder may be the trouble.
    """
    what = f"unexpected {type(error).__name__}: {str(error)[:_MAX_REASON]}"
    try:
        number, path = tempfile.mkstemp(prefix="fedjax-diffusion-", suffix="-traceback.txt")
        with open(number, "w", errors="backslashreplace") as file:
            file.write(f"fedjax-diffusion {__version__}: {' '.join(sys.argv)}\n")
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return f"{what}; {_DEBUG}=1 shows its traceback"
    return f"{what}; its traceback is in {path}, please report it ({_DEBUG}=1 shows it here)"
