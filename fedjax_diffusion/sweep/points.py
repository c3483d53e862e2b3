"""The points of a sweep: from a definition to checked configs with label and hash."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from fedjax_diffusion.experiment.config import (
    NETWORK,
    GivenConfig,
    read_value,
    to_run_config,
    with_overrides,
)
from fedjax_diffusion.experiment.config_files import find_config, open_module, split_name
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.experiment.setting_kinds import known_kinds
from fedjax_diffusion.experiment.start import identify
from fedjax_diffusion.sweep import hyper
from fedjax_diffusion.sweep.hyper import HARD_LIMIT, MAX_POINTS, GetHyper, take_points
from fedjax_diffusion.sweep.identity import (
    BUT_IN_IDENTITY,
    HASH_DIGITS,
    INIT_FROM,
    NOT_IN_IDENTITY,
    hash_settings,
    is_in_identity,
    make_label,
    read_settings,
)
from fedjax_diffusion.sweep.listing import PointName
from fedjax_diffusion.values import MAX_SHOWN, shorten

_Read = Callable[[str, Any], Any]


@dataclasses.dataclass(frozen=True)
class Point(PointName):
    """One run of a sweep.

    Attributes:
      overrides: the swept settings by dotted key, plain values: of JSON, and of their type.
      config: every setting.
    """

    overrides: Mapping[str, Any]
    config: RunConfig


def expand(
    config: GivenConfig, get_hyper: GetHyper | None, *, is_large_ok: bool = False
) -> list[Point]:
    """Returns the points of a sweep, every one of them checked.

    Args:
      config: the settings that are not swept.
      get_hyper: ``get_hyper(h)`` returns a list of dicts, or a generator of them: values by dotted
        key, with or without ``config.`` before it; ``h`` is ``sweep.hyper``. None is refused: see
        ``load_get_hyper``.
      is_large_ok: take more than 10,000 points.

    Raises:
      ValueError: in one line: there is no point; ``get_hyper`` fails, returns something else or,
        called again, other points; a setting is unknown, cannot be swept, or has a value of the
        wrong type or out of range; two points have the same settings.

    Guarantees:
      Equal arguments give equal points. Nothing is written.
    """
    base = to_run_config(config)
    read = _make_read(base)
    points: list[Point] = []
    for number, overrides in enumerate(_list_overrides(get_hyper, is_large_ok), 1):
        try:
            points.append(_make_point(base, overrides, read))
        except Exception as error:  # a dataclass may raise anything for an absurd value
            raise ValueError(f"{_name(number, overrides)}: {_one_line(error)}") from error
    _check_distinct(points)
    return points


def load_get_hyper(path_or_name: str) -> GetHyper | None:
    """Returns the ``get_hyper`` of a config file, None if it has none.

    Args:
      path_or_name: ``file.py[:argument]`` or a name, as ``load_config`` takes it. A ``get_hyper(h,
        argument)`` is given the argument too, ``""`` if there is none.
    """
    name, argument = split_name(path_or_name)
    with open_module(find_config(name)) as module:
        get_hyper = getattr(module, "get_hyper", None)
    if get_hyper is not None and len(inspect.signature(get_hyper).parameters) > 1:
        return lambda h: get_hyper(h, argument)
    return get_hyper


def _list_overrides(get_hyper: GetHyper | None, is_large_ok: bool) -> list[dict[str, Any]]:
    """Returns the overrides of every point, as ``get_hyper`` gives them twice."""
    if get_hyper is None:
        raise ValueError(
            "there is no get_hyper(h): define it in the config file, or give --sweep.KEY=a,b,c"
        )
    limit = HARD_LIMIT if is_large_ok else MAX_POINTS
    try:
        first, second = (take_points(get_hyper(hyper), limit) for _ in range(2))
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"get_hyper: {kind}{_one_line(error)}") from error
    if repr(first) != repr(second):
        raise ValueError("get_hyper: called again, it must return the same points; it did not")
    if not first:
        raise ValueError("get_hyper: it must return at least one point, got none")
    return first


def _make_read(base: RunConfig) -> _Read:
    """Returns the function that reads a swept value; weights are read once for all points."""
    kinds, identify_once = known_kinds(dict(read_settings(base))), functools.cache(identify)

    def read(key: str, value: Any) -> Any:
        value = read_value(key, value, kinds)
        return identify_once(value) if key == INIT_FROM and value is not None else value

    return read


def _make_point(base: RunConfig, overrides: Mapping[str, Any], read: _Read) -> Point:
    if NETWORK in overrides:  # it brings other settings
        base = with_overrides(base, {NETWORK: overrides[NETWORK]})
        read = _make_read(base)
    changes: dict[str, Any] = {}
    for key, value in overrides.items():
        if not is_in_identity(key):
            raise ValueError(
                f"config.{key} cannot be swept, as it changes no number of a run; nor can anything "
                f"in {', '.join(NOT_IN_IDENTITY)}, except {', '.join(BUT_IN_IDENTITY)}"
            )
        value = read(key, value)
        *groups, name = key.split(".")
        group = functools.reduce(lambda below, part: below.setdefault(part, {}), groups, changes)
        group[name] = value
    config = _replace(base, changes)
    settings = dict(read_settings(config))
    swept = {key: settings[key] for key in overrides}
    return Point(make_label(swept, settings), hash_settings(settings), swept, config)


def _replace(part: Any, changes: Mapping[str, Any]) -> Any:
    """Returns a dataclass with other values, each group made once: it checks them together."""
    fields = {
        name: _replace(getattr(part, name), value)
        if isinstance(value, Mapping)
        else tuple(value)
        if isinstance(value, list)
        else value
        for name, value in changes.items()
    }
    return dataclasses.replace(part, **fields)


def _check_distinct(points: list[Point]) -> None:
    seen: dict[str, int] = {}
    for number, point in enumerate(points, 1):
        first = seen.setdefault(point.hash[:HASH_DIGITS], number)
        if first != number:
            raise ValueError(
                f"{_name(first, points[first - 1].overrides)} and {_name(number, point.overrides)} "
                "have the same settings; points must differ in a setting that changes numbers"
            )


def _name(number: int, overrides: Mapping[str, Any]) -> str:
    """Returns the name of a point in an error."""
    pairs = ", ".join(f"{key}={_show(value)}" for key, value in overrides.items())
    return f"point {number} ({_one_line(pairs)})"


def _show(value: Any) -> str:
    return value[:MAX_SHOWN] if isinstance(value, str) else shorten(value)


def _one_line(message: object) -> str:
    return " ".join(str(message).split())
