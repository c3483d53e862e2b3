"""One check over many values, as a loop whose failure names every value that does not pass."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def check_each(values: Iterable[Any], check: Callable[..., Any]) -> None:
    """Checks all values, each a tuple of arguments or one, and then fails for those that failed."""
    failed = []
    for value in values:
        try:
            check(*(value if isinstance(value, tuple) else (value,)))
        except (Exception, pytest.fail.Exception) as error:
            reason, *_ = [*str(error).strip().split("\n"), ""]
            failed.append(f"{value!r}: {type(error).__name__}: {reason}")
    assert not failed, "\n".join([f"{len(failed)} fail:", *failed])
