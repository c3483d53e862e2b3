"""Names that a user has added to the tables of the package: data sets, quantizers and the like.

A name stands for one thing in a process: compiled programs are kept by name.
"""

import contextlib
import hashlib
import inspect
import re
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_SHOWN = 200
"""Characters of an error in a message."""
_SOURCES: dict[tuple[str, str], str] = {}
"""Digest of the source of each added name, by kind and name."""


_PENDING: list[tuple[MutableMapping[str, Any], str, str, Callable[[], object]]] = []
"""Checks that wait for JAX: table, kind, name, and the check."""


def add_name(
    table: MutableMapping[str, Any],
    kind: str,
    name: str,
    value: Any,
    digest: str,
    check: Callable[[], object] | None = None,
) -> None:
    """Adds a name to a table of the package.

    Args:
      table: names of the package, to which the name is added.
      kind: of the names, for messages.
      name: letters, digits and underscores, at most 40, beginning with a letter.
      value: its meaning.
      digest: of its source, see ``digest_source``: the same source again changes nothing.
      check: raises ValueError if the value does not keep what it states; it is called by
        ``check_names``. None: there is nothing to compute.

    Raises:
      ValueError: the name is not of this form, is one of the package's, or stands for something
        else already.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{kind} {name!r}: a name must have 1 to 40 letters, digits and underscores, and begin "
            "with a letter"
        )
    known = _SOURCES.get((kind, name)) if name in table else None
    if name in table and known is None:
        raise ValueError(f"{kind} {name!r} is one of the package's own; choose another name")
    if known not in (None, digest):
        raise ValueError(
            f"{kind} {name!r} is registered already, from another source; choose another name, or "
            "start a new process (in a notebook: restart the kernel)"
        )
    if known is None:
        table[name], _SOURCES[kind, name] = value, digest
        if check is not None:
            _PENDING.append((table, kind, name, check))


def check_names() -> None:
    """Checks the names that were added since the last call; one that fails is removed.

    To be called once JAX has started: a check before that would start it with the wrong devices.

    Raises:
      ValueError: of the first check that fails.
    """
    while _PENDING:
        table, kind, name, check = _PENDING.pop(0)
        try:
            check()
        except Exception:
            del table[name], _SOURCES[kind, name]
            raise


@contextlib.contextmanager
def explain_trial(kind: str, name: str) -> Iterator[None]:
    """Turns any error of an added name's trial into a ValueError of one line.

    Args:
      kind: of the name.
      name: the added name.
    """
    try:
        yield
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:_SHOWN]
        raise ValueError(f"{kind} {name!r} cannot be traced by JAX: {reason}") from error


def digest_source(*functions: Callable[..., Any] | None) -> str:
    """Returns the SHA-256 of the source of functions, 64 hexadecimal digits.

    Of a function in a file it is that of the whole file, with its helpers; of one in a notebook,
    that of its definition. Functions of this package count by their names.
    """
    texts = [_read_source(function) for function in functions]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _read_source(function: Any) -> str:
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    place = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', function)}"
    if place.startswith("fedjax_diffusion."):
        return place
    try:
        with open(inspect.getsourcefile(function) or "", "rb") as file:
            return file.read().decode(errors="replace")
    except (OSError, TypeError):
        pass
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return place
