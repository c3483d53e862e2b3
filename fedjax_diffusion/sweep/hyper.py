"""The ``h`` of ``get_hyper(h)``: lists of points, a point a dict of settings by dotted key.

``sweep``, ``product``, ``zipit``, ``chainit`` and ``fixed`` are those that users of ml_collections
know. Each returns a list, and takes generators in the place of lists.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, TypeAlias

Points: TypeAlias = Iterable[Mapping[str, Any]]
GetHyper: TypeAlias = Callable[[ModuleType], Points]
"""A config file's ``get_hyper``; it is given this module."""
MAX_POINTS = 10_000
"""Of a sweep, unless a larger one is asked for in so many words."""
HARD_LIMIT = 1_000_000
"""Of any sweep: a slip in a product would use up the memory before anybody is asked."""
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def sweep(key: str, values: Iterable[Any]) -> list[dict[str, Any]]:
    """Returns one point per value of a setting.

    >>> sweep("config.seed", range(2))
    [{'seed': 0}, {'seed': 1}]

    Raises:
      ValueError: there is no value.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise ValueError(f"sweep of {key}: the values must be a list, got {values!r}")
    points = take_points([{key: value} for value in values])
    if not points:
        raise ValueError(f"sweep of {key}: the axis is empty; give at least one value")
    return points


def fixed(key: str, value: Any, length: int = 1) -> list[dict[str, Any]]:
    """Returns ``length`` points with the same value of a setting."""
    return sweep(key, [value] * length)


def product(axes: Iterable[Points]) -> list[dict[str, Any]]:
    """Returns every combination of a point of each axis, the last axis varying fastest.

    >>> product([sweep("seed", [0, 1]), fixed("num_rounds", 5)])
    [{'seed': 0, 'num_rounds': 5}, {'seed': 1, 'num_rounds': 5}]

    Raises:
      ValueError: an axis is empty, a setting stands in two axes, or the points are too many.
    """
    lists = _take_axes("product", axes)
    _check_number(math.prod(map(len, lists)))
    return [_merge(parts) for parts in itertools.product(*lists)]


def zipit(axes: Iterable[Points]) -> list[dict[str, Any]]:
    """Returns the first points of all axes merged, the second ones merged, and so on.

    >>> zipit([sweep("seed", [0, 1]), sweep("num_rounds", [5, 9])])
    [{'seed': 0, 'num_rounds': 5}, {'seed': 1, 'num_rounds': 9}]

    Raises:
      ValueError: the axes differ in length, one is empty, or a setting stands in two.
    """
    lists = _take_axes("zipit", axes)
    lengths = [len(points) for points in lists]
    if len({*lengths}) > 1:
        raise ValueError(f"zipit: the axes must be of equal lengths, got {lengths}")
    return [_merge(parts) for parts in zip(*lists, strict=True)]


def chainit(axes: Iterable[Points]) -> list[dict[str, Any]]:
    """Returns the points of all axes, one axis after the other.

    Raises:
      ValueError: an axis is empty.
    """
    return [point for points in _take_axes("chainit", axes) for point in points]


def take_points(points: Points, limit: int = HARD_LIMIT) -> list[dict[str, Any]]:
    """Returns points as a list of dicts of plain values, keys without ``config.``.

    Args:
      points: a list, a tuple or a generator of dicts.
      limit: of their number.

    Raises:
      ValueError: it is none of these, or there are more points than the limit.
    """
    if not isinstance(points, list | tuple | Iterator):
        raise ValueError(f"points must be a list of dicts of settings, got {points!r}")
    taken = [_take_point(point) for point in itertools.islice(points, limit + 1)]
    _check_number(len(taken), limit)
    return taken


def parse_axis(argument: str) -> list[dict[str, Any]]:
    """Returns the axis that an argument of the command line describes.

    Args:
      argument: ``--sweep.KEY=a,b,c``. Commas in quotes or brackets divide nothing; ``0..7`` stands
        for the whole numbers from 0 to 7. Other values stay text, which is read as the setting's
        type later.

    >>> parse_axis("--sweep.model.channel_multipliers=(1,2),(1,2,2)")
    [{'model.channel_multipliers': '(1,2)'}, {'model.channel_multipliers': '(1,2,2)'}]
    >>> parse_axis("--sweep.seed=0..1,5")
    [{'seed': 0}, {'seed': 1}, {'seed': '5'}]

    Raises:
      ValueError: it has another form, a value is empty, or a bracket or quote stays open.
    """
    found = re.fullmatch(r"--sweep\.([\w.]+)=(.*)", argument, re.DOTALL)
    if not found:
        raise ValueError(f"{argument!r}: an axis is written --sweep.KEY=a,b,c or --sweep.KEY=0..7")
    key, text = found.groups()
    values = [value for item in _split(key, text) for value in _parse_item(key, item)]
    return sweep(key, values)


def add_axes(axes: Iterable[Points], get_hyper: GetHyper | None = None) -> GetHyper:
    """Returns the ``get_hyper`` of the axes' product, with the points of another one if given."""
    given = list(axes)

    def get_product(h: ModuleType) -> Points:
        first = [] if get_hyper is None else [get_hyper(h)]
        return product([*first, *given])

    return get_product


def _take_axes(name: str, axes: Iterable[Points]) -> list[list[dict[str, Any]]]:
    if isinstance(axes, str | Mapping) or not isinstance(axes, Iterable):
        raise ValueError(f"{name}: it takes a list of axes, got {axes!r}")
    lists = [take_points(points) for points in axes]
    for number, points in enumerate(lists, 1):
        if not points:
            raise ValueError(f"{name}: axis {number} is empty; give it at least one point")
    return lists


def _take_point(point: Any) -> dict[str, Any]:
    if not isinstance(point, Mapping) or not all(isinstance(key, str) for key in point):
        raise ValueError(f"a point must be a dict of settings by dotted key, got {point!r}")
    return _merge({key.removeprefix("config."): _to_plain(value)} for key, value in point.items())


def _to_plain(value: Any) -> Any:
    """Returns numbers and arrays of NumPy or JAX as Python's."""
    return value.tolist() if hasattr(value, "tolist") else value


def _merge(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in parts:
        for key in part:
            if key in merged:
                raise ValueError(f"{key} is set twice in one point; let one axis set it")
        merged.update(part)
    return merged


def _check_number(number: int, limit: int = HARD_LIMIT) -> None:
    if number > limit:
        advice = "define fewer" if limit == HARD_LIMIT else "--yes (is_large_ok) plays them all"
        raise ValueError(f"the sweep has more than {limit:,} points; {advice}")


def _split(key: str, text: str) -> list[str]:
    """Returns the parts of a text between its commas, without those in brackets or quotes."""
    items, open_brackets, quote = [""], [], ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"" and (open_brackets or not items[-1].strip()):
            quote = char
        elif char in _CLOSING:
            open_brackets.append(_CLOSING[char])
        elif open_brackets and char == open_brackets[-1]:
            open_brackets.pop()
        elif char == "," and not open_brackets:
            items.append("")
            continue
        items[-1] += char
    if quote or open_brackets:
        missing = quote or open_brackets[-1]
        raise ValueError(f"--sweep.{key}={text}: a closing {missing} is missing")
    return [item.strip() for item in items]


def _parse_item(key: str, item: str) -> Iterable[Any]:
    """Returns the values of an item: a range's numbers, or the item without its quotes."""
    if not item:
        raise ValueError(f"--sweep.{key}: an empty value; write --sweep.{key}=a,b,c")
    if bounds := re.fullmatch(r"(-?\d+)\.\.(-?\d+)", item):
        first, last = map(int, bounds.groups())
        if last < first:
            raise ValueError(f"--sweep.{key}: the range {item} is empty; the smaller number first")
        _check_number(last - first + 1)
        return range(first, last + 1)
    is_quoted = len(item) > 1 and item[0] == item[-1] and item[0] in "'\""
    return [item[1:-1] if is_quoted else item]
