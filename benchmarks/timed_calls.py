"""A clock around a function: the seconds of each call."""

import time
from collections.abc import Callable
from typing import Any


def time_calls(fn: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """Returns the function with the duration of each call added to ``seconds``."""

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        result = fn(*args, **kwargs)
        seconds.append(time.perf_counter() - start)
        return result

    return timed
