"""One check over many values, as a loop whose failure names every value that does not pass."""

from collections.abc import Callable, Iterable
from typing import Any


def check_each(values: Iterable[Any], check: Callable[..., Any]) -> None:
    """Checks all values, each a tuple of arguments or one, and then fails for those that failed."""
    reasons = {}
    for value in values:
        arguments = value if isinstance(value, tuple) else (value,)
        try:
            check(*arguments)
        except AssertionError as error:
            reasons[value] = str(error).strip().split("\n")[0]
    assert not reasons, f"{len(reasons)} fail: {reasons}"
