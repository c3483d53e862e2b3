"""Values of settings: their kinds and ranges, and the one message that refuses a value."""

import dataclasses
import functools
import os
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Protocol, TypeAlias

MAX_COUNT = 2**31 - 1
"""Largest count: counts are int32 in the compiled programs."""
MAX_SHOWN = 60
"""Largest number of characters of a value in a message."""
_WORDS = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}
_TAKEN_FOR = {float: int, tuple: list}
"""Other types that a value may have, by kind."""
_FORMS: dict[type, str] = {int: "(8,) or (8, 16)", float: "(8.0, 16.0)", str: "('a', 'b')"}
"""Tuples for a message, by the type of their entries."""


class Rule(Protocol):
    """A condition on a value that has its type already."""

    def allows(self, value: Any) -> bool:
        """Returns whether the value is allowed; a ValueError says itself what is wrong."""
        ...

    def describe(self, kind: type) -> str:
        """Returns the words that follow "must be"."""
        ...


@dataclass(frozen=True)
class Range:
    """An interval of numbers.

    Attributes:
      least: its lower end.
      most: its upper end.
      is_above: ``least`` itself is not allowed.
      is_below: ``most`` itself is not allowed.
      step: of whole numbers: their common divisor.

    >>> Range(4, 8, step=2).describe(int), Range(0, 1, is_below=True).describe(float)
    ('a whole number in 4..8, divisible by 2', 'a number in [0, 1)')
    """

    least: float
    most: float
    is_above: bool = False
    is_below: bool = False
    step: int = 1

    def allows(self, value: Any) -> bool:
        """Returns whether a number lies in the interval; NaN does not."""
        is_high = value > self.least if self.is_above else value >= self.least
        is_low = value < self.most if self.is_below else value <= self.most
        return is_high and is_low and (self.step == 1 or value % self.step == 0)

    def describe(self, kind: type) -> str:
        """Returns the interval in words."""
        if kind is int:
            divisor = f", divisible by {self.step}" * (self.step > 1)
            return f"{_WORDS[int]} in {self.least}..{self.most}{divisor}"
        opening, closing = "[("[self.is_above], "])"[self.is_below]
        least, most = _format_number(self.least), _format_number(self.most)
        return f"{_WORDS[kind]} in {opening}{least}, {most}{closing}"


@dataclass(frozen=True, eq=False)  # a table of names has no hash
class OneOf:
    """A few values.

    Attributes:
      values: all of them, as they are when a value is checked: a table of names may grow. A
        function returns a table that is made later.
      words: what is allowed; None: the values, one after the other.

    >>> OneOf(("crop", "pad")).describe(str)
    'one of crop, pad'
    """

    values: Iterable[Any] | Callable[[], Iterable[Any]]
    words: str | None = None

    def allows(self, value: Any) -> bool:
        """Returns whether a value is one of them."""
        return value in self._list()

    def describe(self, kind: type) -> str:
        """Returns the values in words."""
        return self.words or f"one of {', '.join(map(str, self._list()))}"

    def _list(self) -> list[Any]:
        return list(self.values() if callable(self.values) else self.values)


@dataclass(frozen=True)
class Size:
    """A number of characters that can be printed, or of entries of a tuple.

    Attributes:
      least: the fewest.
      most: the most.
    """

    least: int
    most: int

    def allows(self, value: Any) -> bool:
        """Returns whether a text or a tuple has such a length."""
        is_clean = not isinstance(value, str) or value.isprintable()
        return is_clean and self.least <= len(value) <= self.most

    def describe(self, kind: type) -> str:
        """Returns the length in words."""
        length = str(self.least) if self.least == self.most else f"{self.least}..{self.most}"
        return f"text of {length} characters" if kind is str else f"a tuple of {length}"


@dataclass(frozen=True)
class Checked:
    """Values that a function takes.

    Attributes:
      words: what is allowed.
      check: called with a value; returns False, or raises the ValueError that says what is wrong,
        if it is not allowed.
    """

    words: str
    check: Callable[[Any], object]

    def allows(self, value: Any) -> bool:
        """Returns whether the function takes a value, or raises its ValueError."""
        return self.check(value) is not False

    def describe(self, kind: type) -> str:
        """Returns the words."""
        return self.words


Count: TypeAlias = Annotated[int, Range(1, MAX_COUNT)]
Probability: TypeAlias = Annotated[float, Range(0, 1)]
Fraction: TypeAlias = Annotated[float, Range(0, 1, is_below=True)]
Rate: TypeAlias = Annotated[float, Range(1e-37, 3e38)]
"""A number above 0 that float32 holds with all its digits."""
Weight: TypeAlias = Annotated[float, Range(0, 3e38)]
"""The same, or 0."""
Name: TypeAlias = Annotated[str, Size(1, 255)]
PathText: TypeAlias = Annotated[str, Size(1, 4096)]


@dataclass(frozen=True)
class Kind:
    """The values that a setting may have.

    Attributes:
      types: their types; a number for a program may be an int, a tuple may be a list.
      is_optional: None is allowed too.
      rules: hold for a value of these types.
      entry: kind of the entries of a tuple; None: any.
    """

    types: tuple[type, ...]
    is_optional: bool = False
    rules: tuple[Rule, ...] = ()
    entry: "Kind | None" = None

    @property
    def type(self) -> type:
        """The type of a value that is given as text."""
        return self.types[0]

    def check(self, name: str, value: Any, part: str = "") -> None:
        """Raises ValueError for a value that is not allowed.

        Args:
          name: of the setting.
          value: a plain one, see ``to_plain``.
          part: of the setting, for the message.
        """
        if value is None and self.is_optional:
            return
        try:
            is_allowed = self.has_type(value) and all(rule.allows(value) for rule in self.rules)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if not is_allowed:
            raise ValueError(
                f"{name}{part} must be {self}{self._hint(value)}, got {shorten(value)}"
            )
        if self.entry is not None and isinstance(value, tuple | list):
            for entry in value:
                self.entry.check(name, entry, ": each entry")

    def has_type(self, value: Any) -> bool:
        """Returns whether a value, a plain one, has one of the types; a bool is no number."""
        types = [t for t in self.types if t in (bool, object) or not isinstance(value, bool)]
        return any(isinstance(value, (kind, _TAKEN_FOR.get(kind, kind))) for kind in types)

    def _hint(self, value: Any) -> str:
        """Returns the form of a tuple in words, for a value that is none."""
        if self.entry is None or isinstance(value, tuple | list) or self.entry.type not in _FORMS:
            return ""
        return f", written as {_FORMS[self.entry.type]}"

    def __str__(self) -> str:
        words = [rule.describe(self.type) for rule in self.rules]
        words = words or [_WORDS.get(self.type, f"a {self.type.__name__}")]
        each = [f"each {self.entry}"] if self.entry is not None else []
        return ", ".join(words + each) + " or None" * self.is_optional


def find_kind(hint: Any) -> Kind:
    """Returns the kind of a field with this annotation.

    >>> print(find_kind(tuple[Count, ...] | None))
    a tuple, each a whole number in 1..2147483647 or None
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        kind = find_kind(arguments[0])
        return dataclasses.replace(kind, rules=(*kind.rules, *arguments[1:]))
    if origin in (UnionType, typing.Union):
        kinds = [find_kind(member) for member in arguments if member is not NoneType]
        types = tuple(name for kind in kinds for name in kind.types)
        return dataclasses.replace(kinds[0], types=types, is_optional=NoneType in arguments)
    if origin is tuple and arguments:
        is_open = arguments[-1] is ...
        rules = () if is_open else (Size(len(arguments), len(arguments)),)
        return Kind((tuple,), rules=rules, entry=find_kind(arguments[0]))
    kind = origin or hint
    return Kind((kind if isinstance(kind, type) and kind is not Any else object,))


@functools.cache
def find_kinds(settings: type) -> dict[str, Kind]:
    """Returns the kinds of a dataclass's fields by name."""
    hints = typing.get_type_hints(settings, include_extras=True)
    return {field.name: find_kind(hints[field.name]) for field in dataclasses.fields(settings)}


def check_value(name: str, value: Any, hint: Any) -> None:
    """Raises ValueError for a value that an annotation does not allow.

    >>> check_value("alpha", 2.0, Probability)
    Traceback (most recent call last):
    ValueError: alpha must be a number in [0, 1], got 2.0
    """
    find_kind(hint).check(name, to_plain(value))


def check_fields(settings: Any, group: str = "") -> None:
    """Raises ValueError for the first value of a dataclass that its annotation does not allow.

    Args:
      settings: a dataclass; fields that are dataclasses have checked themselves.
      group: of the config, for the message.
    """
    for name, kind in find_kinds(type(settings)).items():
        value = getattr(settings, name)
        if not dataclasses.is_dataclass(value):
            kind.check(f"{group}.{name}" if group else name, to_plain(value))


def _format_number(number: float) -> str:
    """Returns a number as one writes it: 1e9 instead of 1e+09."""
    digits, _, exponent = f"{number:g}".partition("e")
    return f"{digits}e{int(exponent)}" if exponent else digits


def to_plain(value: Any) -> Any:
    """Returns a value with plain numbers for NumPy's and JAX's, and text for a path."""
    if isinstance(value, (tuple, list)):
        return type(value)(map(to_plain, value))
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    is_scalar = hasattr(value, "dtype") and getattr(value, "shape", None) == ()
    return value.item() if is_scalar else value


def shorten(value: Any) -> str:
    """Returns a value for a message, at most 60 characters of it, in one line.

    >>> shorten("a" * 100)[-6:]
    'aaa...'
    """
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python writes no number of more than 4,300 digits
        text = f"a number of {value.bit_length()} bits" if isinstance(value, int) else "a value"
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
