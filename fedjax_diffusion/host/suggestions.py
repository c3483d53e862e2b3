"""Known names that a mistyped one probably means."""

import difflib
from collections.abc import Iterable

_MIN_SIMILARITY = 0.6
"""Share of equal letters below which two words have nothing to do with each other."""
_MAX_SUGGESTED = 3


def suggest(word: str, known: Iterable[str]) -> str:
    """Returns ``; did you mean X?``, or an empty text if no known name is similar.

    >>> suggest("runn", ["run", "sample"]), suggest("x", ["run", "sample"])
    ('; did you mean run?', '')
    """
    return ask(difflib.get_close_matches(word, list(known), n=1, cutoff=_MIN_SIMILARITY))


def find_similar_keys(key: str, known: Iterable[str]) -> list[str]:
    """Returns the dotted keys that a mistyped one probably means, the most similar first.

    Equal groups make no two keys similar: the names behind the last dot must be, and the groups
    too, unless the names are equal.

    >>> known = ["quantization.downlink_bits", "model.channels", "a.rate", "b.rate"]
    >>> find_similar_keys("quantization.bits", known), find_similar_keys("modle.channels", known)
    ([], ['model.channels'])
    >>> find_similar_keys("rate", known)
    ['a.rate', 'b.rate']
    """
    group, _, name = key.rpartition(".")
    found: list[tuple[bool, float, str]] = []
    for candidate in known:
        there, _, other = candidate.rpartition(".")
        is_equal, likeness = name == other, _compare(name, other)
        is_group = not group or _compare(group, there) >= _MIN_SIMILARITY
        if is_equal or (likeness >= _MIN_SIMILARITY and is_group):
            found.append((is_equal, likeness + _compare(group, there), candidate))
    best = sorted(found, key=lambda one: (-one[0], -one[1]))
    if best and not group and best[0][0]:
        return [candidate for is_equal, _, candidate in best if is_equal][:_MAX_SUGGESTED]
    return [candidate for *_, candidate in best[:1]]


def ask(names: Iterable[str]) -> str:
    """Returns a question for names that may be meant, or an empty text if there are none.

    >>> ask(["a.rate", "b.rate"])
    '; did you mean a.rate or b.rate?'
    """
    text = " or ".join(names)
    return f"; did you mean {text}?" if text else ""


def _compare(word: str, other: str) -> float:
    """Returns the share of equal letters of two words, 0 to 1."""
    return difflib.SequenceMatcher(None, word, other).ratio()
