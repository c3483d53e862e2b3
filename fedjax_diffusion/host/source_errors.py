"""Errors of Python files that a user has written, as one line with file and line number."""

import traceback
from pathlib import Path

_MAX_REASON = 300
"""Largest number of characters of an error that such a file raises."""


def describe_error(error: BaseException, path: Path) -> str:
    """Returns file, line number and text of an error that a Python file has raised.

    Args:
      error: caught from the file's execution.
      path: of the file.
    """
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if Path(f.filename).resolve() == path.resolve()]
    if isinstance(error, SyntaxError):
        lines += [] if error.lineno is None else [error.lineno]
    place = f"{path}, line {lines[-1]}" if lines else str(path)
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    what = text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
    return f"{place}: {' '.join(what.split())[:_MAX_REASON]}"
