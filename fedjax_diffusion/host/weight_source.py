"""The source of weights as text: a path, and behind it the SHA-256 of the weights."""

import re

_SOURCE = re.compile(r"(?P<path>.+)@sha256:(?P<hash>[0-9a-f]{64})", re.DOTALL)


def join_hash(path: str, hash: str) -> str:
    """Returns a path with the hash behind it."""
    return f"{path}@sha256:{hash}"


def find_path(source: str) -> str:
    """Returns the path of a source, with or without a hash.

    >>> find_path("a.npz"), find_path(join_hash("a.npz", 64 * "0"))
    ('a.npz', 'a.npz')
    """
    found = _SOURCE.fullmatch(source)
    return found["path"] if found else source


def find_hash(source: str) -> str | None:
    """Returns the hash of a source, 64 hexadecimal digits; None if it has none."""
    found = _SOURCE.fullmatch(source)
    return found["hash"] if found else None


def shorten_hash(source: str, num_digits: int) -> str:
    """Returns a source with the first digits of its hash.

    >>> shorten_hash(join_hash("a.npz", 64 * "0"), 4)
    'a.npz@0000'
    """
    return f"{find_path(source)}@{(find_hash(source) or '')[:num_digits]}"
