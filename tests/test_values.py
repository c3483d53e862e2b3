"""Values of settings: every rule at its ends, and messages that say what is allowed."""

import dataclasses
import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.values import (
    Checked,
    Count,
    Fraction,
    OneOf,
    Range,
    Size,
    check_fields,
    check_value,
    find_kind,
    shorten,
)

Even = Annotated[int, Range(4, 8, step=2)]
Percent = Annotated[float, Range(0, 100, is_above=True, is_below=True)]
Wide = Annotated[float, Range(1e-37, 3e38)]
Color = Annotated[str, OneOf(("red", "blue"))]
Word = Annotated[str, Size(1, 5)]
Pair = tuple[Percent, Percent]
Some = Annotated[tuple[Even, ...], Size(1, 3)]


def is_allowed(hint, value):
    try:
        check_value("x", value, hint)
    except ValueError as error:
        return re.fullmatch(r"x(: each entry)? must be .*, got .{1,60}", str(error)) is None
    return True


@pytest.mark.parametrize(
    ("hint", "allowed", "refused"),
    [
        (Even, [4, 6, 8, np.int8(6), jnp.int32(4)], [2, 5, 10, 4.0, "4", True, None]),
        (Percent, [1, 0.1, np.float32(99), 5e-324], [0, 0.0, 100, -1, math.nan, math.inf, "1"]),
        (Fraction, [0, 0.0, 0.999], [1, 1.0, -1e-9, False, 10**400, -(10**400)]),
        (Wide, [1, 1e-37, 3e38], [0, 1e-38, 1e39, 10**5000, (1,), b"1"]),
        (Color, ["red"], ["green", "", 3, ["red"], None]),
        (Color | None, ["blue", None], ["None", 0]),
        (Word, ["a", "日本", "a b"], ["", "a\nb", "a\0", "abcdef", "\udcff", 1, b"a"]),
        (bool, [True, np.bool_(False)], [1, 0, "True", None]),
        (Pair, [(1, 2.5), [1, 2]], [(1,), (1, 2, 3), (1, 0), (1, "2"), 1, None, "ab"]),
        (Some, [(4,), [4, 6, 8]], [(), (4, 4, 4, 4), (5,), ("4",), ((4,),), {4: 4}]),
        (float, [1, -1e308, math.inf], [True, "1", None]),
        (Any, [1, "a", None, True], []),
        (Literal["a", "b"], ["a", 3], []),
    ],
)
def test_a_rule_takes_what_it_says_and_no_more(hint, allowed, refused):
    assert [value for value in allowed if not is_allowed(hint, value)] == []
    assert [value for value in refused if is_allowed(hint, value)] == []


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (Even | None, "a whole number in 4..8, divisible by 2 or None"),
        (Percent, "a number in (0, 100)"),
        (Wide, "a number in [1e-37, 3e38]"),
        (Pair, "a tuple of 2, each a number in (0, 100)"),
        (Word, "text of 1..5 characters"),
        (Annotated[int, OneOf((1, 2), "1 or 2")], "1 or 2"),
        (tuple[str, ...], "a tuple, each text"),
        (bool, "True or False"),
    ],
)
def test_a_kind_says_what_is_allowed(hint, words):
    assert str(find_kind(hint)) == words


def test_a_check_explains_itself():
    def check(value):
        if value != 3:
            raise ValueError(f"{value} is not 3, the only number")

    hint = tuple[Annotated[int, Checked("3", check)], ...]
    check_value("numbers", (3, 3), hint)
    with pytest.raises(ValueError, match=r"^numbers: 4 is not 3, the only number$"):
        check_value("numbers", (3, 4), hint)
    with pytest.raises(ValueError, match=r"^numbers: each entry must be 3, got 'a'$"):
        check_value("numbers", ("a",), hint)


def test_a_table_of_names_may_grow():
    table = {"red": 1}
    hint = Annotated[str, OneOf(table)]
    with pytest.raises(ValueError, match=r"^x must be one of red, got 'blue'$"):
        check_value("x", "blue", hint)
    table["blue"] = 2
    check_value("x", "blue", hint)


def test_a_dataclass_is_checked_field_by_field():
    @dataclasses.dataclass(frozen=True)
    class Below:
        x: float

    @dataclasses.dataclass(frozen=True)
    class Settings:
        number: Count
        below: Below
        path: str | None = None

        def __post_init__(self):
            check_fields(self, "group")

    given: Any = {"path": Path("a")}
    assert Settings(1, Below(2.0), **given).number == 1
    with pytest.raises(ValueError, match=r"^group\.number must be a whole number in 1"):
        Settings(0, Below(2.0))
    with pytest.raises(ValueError, match=r"^group\.path must be text or None, got 3$"):
        Settings(1, Below(2.0), **(given | {"path": 3}))


def test_a_value_in_a_message_is_short_and_one_line():
    for value in (10**5000, "a" * 10**6, np.ones((9, 9)), [[0] * 99] * 99, "\n" * 99):
        text = shorten(value)
        assert 1 <= len(text) <= 60
        assert text.isprintable()
