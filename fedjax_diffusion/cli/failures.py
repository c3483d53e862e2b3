"""Failures of a command: one line on stderr, or a traceback for those who debug."""

import os
import sys

_DEBUG = "FEDJAX_DIFFUSION_DEBUG"
_MAX_REASON = 300
"""Largest number of characters printed of an error of JAX, which may contain a whole program."""


def fail(error: Exception, reason: str, exit_code: int) -> int:
    """Prints the reason of a failure in one line, and returns the exit code.

    With FEDJAX_DIFFUSION_DEBUG=1 in the environment it raises the error instead.
    """
    if os.environ.get(_DEBUG):
        raise error
    print(f"fedjax-diffusion: {' '.join(reason.split())}", file=sys.stderr)
    return exit_code


def find_reason(error: RuntimeError) -> str | None:
    """Returns the reason of a failure for the user; None for an error that nobody expects."""
    import jax  # the command line answers bad input without it

    from fedjax_diffusion.experiment.memory import DeviceMemoryError
    from fedjax_diffusion.runs.claims import LostClaimError
    from fedjax_diffusion.runs.learning import LearningError

    if isinstance(error, DeviceMemoryError | LearningError | LostClaimError):
        return str(error)
    if isinstance(error, jax.errors.JaxRuntimeError):
        return f"the device failed: {str(error)[:_MAX_REASON]} ({_DEBUG}=1 shows where)"
    return None
