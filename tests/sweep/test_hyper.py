"""The lists of points of ``h``, and the axes of a command line."""

import re

import numpy as np
import pytest

from fedjax_diffusion.sweep import hyper as h
from fedjax_diffusion.sweep.hyper import add_axes, parse_axis, take_points
from tests.each import check_each


def test_an_ablation_reads_as_its_users_write_it():
    points = h.product(
        [
            h.zipit([h.sweep("config.a", [1, 2]), h.sweep("b", ["x", "y"])]),
            h.chainit([h.fixed("config.c", 0), h.sweep("d", (7, 8))]),
        ]
    )
    assert points == [
        {"a": 1, "b": "x", "c": 0},
        {"a": 1, "b": "x", "d": 7},
        {"a": 1, "b": "x", "d": 8},
        {"a": 2, "b": "y", "c": 0},
        {"a": 2, "b": "y", "d": 7},
        {"a": 2, "b": "y", "d": 8},
    ]
    assert h.fixed("a", 1, length=2) == [{"a": 1}, {"a": 1}]
    assert h.product([]) == [{}]


def test_generators_are_taken_everywhere():
    axes = (({"config.a": i} for i in range(2)) for _ in range(1))
    assert h.product(axes) == [{"a": 0}, {"a": 1}]
    assert h.sweep("a", (i for i in range(2))) == [{"a": 0}, {"a": 1}]


def test_numbers_of_numpy_become_plain():
    points = h.sweep("rate", np.logspace(-2, 0, 3)) + h.sweep("seed", np.arange(1))
    points += h.sweep("shape", [np.array([1, 2])])
    assert points[:1] + points[2:] == [
        {"rate": 0.01},
        {"rate": 1.0},
        {"seed": 0},
        {"shape": [1, 2]},
    ]
    assert {type(value) for point in points for value in point.values()} == {float, int, list}


NO_POINTS = [
    (lambda: h.sweep("a", []), "sweep of a: the axis is empty"),
    (lambda: h.sweep("a", 3), "sweep of a: the values must be a list, got 3"),
    (lambda: h.sweep("a", "fixed_bits"), "the values must be a list, got 'fixed_bits'"),
    (lambda: h.fixed("a", 1, length=0), "sweep of a: the axis is empty"),
    (lambda: h.product([h.fixed("a", 1), []]), "product: axis 2 is empty"),
    (lambda: h.chainit([[]]), "chainit: axis 1 is empty"),
    (lambda: h.zipit([h.fixed("a", 1, 2), h.fixed("b", 1, 3)]), r"equal lengths, got \[2, 3\]"),
    (lambda: h.zipit([h.fixed("a", 1), h.fixed("b", 1, 3)]), r"equal lengths, got \[1, 3\]"),
    (lambda: h.product([h.fixed("a", 1), h.fixed("config.a", 2)]), "a is set twice"),
    (lambda: take_points([{"a": 1, "config.a": 1}]), "a is set twice"),
    (lambda: h.product({"a": [1]}), "product: it takes a list of axes, got {'a'"),
    (lambda: h.product([{"a": 1}]), "points must be a list of dicts"),
    (lambda: take_points(["a"]), "a point must be a dict of settings by dotted key, got 'a'"),
    (lambda: take_points([{1: 2}]), "a point must be a dict"),
    (lambda: h.product([h.sweep("a", range(2000)), h.sweep("b", range(2000))]), "1,000,000"),
    (lambda: take_points(({} for _ in range(9)), limit=8), "more than 8 points"),
]


def check_refusal(make, message):
    """Checks the text of the error that a call ends with."""
    said = "no error"
    try:
        make()
    except ValueError as error:
        said = str(error)
    assert re.search(message, said)


def test_what_is_no_list_of_points_is_refused():
    check_each(NO_POINTS, check_refusal)


AXES = [
    ("a,b,c", ["a", "b", "c"]),
    (" a , b", ["a", "b"]),
    ("0..3", [0, 1, 2, 3]),
    ("-2..-1", [-2, -1]),
    ("5..5", [5]),
    ("0..1,7", [0, 1, "7"]),
    ("0.5,1e-3", ["0.5", "1e-3"]),
    ("(1,2),(1,2,2)", ["(1,2)", "(1,2,2)"]),
    ("[(1,2),3],4", ["[(1,2),3]", "4"]),
    ("'a,b',\"c\"", ["a,b", "c"]),
    ("('demand','a)'),()", ["('demand','a)')", "()"]),
    ("train[:50%],train[50%:]", ["train[:50%]", "train[50%:]"]),
    ("it's,b", ["it's", "b"]),
    ("''", [""]),
    ("None,3", ["None", "3"]),
    ("fixed_bits:8,a=b", ["fixed_bits:8", "a=b"]),
]


def test_the_axis_of_an_argument():
    for text, values in AXES:
        expected = [{"group.key": value} for value in values]
        assert parse_axis(f"--sweep.group.key={text}") == expected, text


NO_AXES = [
    ("--sweep.seed", "an axis is written --sweep.KEY=a,b,c or --sweep.KEY=0..7"),
    ("--sweep=3", "an axis is written"),
    ("--sweep.seed=", "--sweep.seed: an empty value"),
    ("--sweep.seed=1,,2", "an empty value"),
    ("--sweep.seed=7..0", r"the range 7\.\.0 is empty; the smaller number first"),
    ("--sweep.seed=0..1000000", "more than 1,000,000 points"),
    ("--sweep.a=(1,2", r"a closing \) is missing"),
    ("--sweep.a='x,y", "a closing ' is missing"),
]


def test_an_argument_that_is_no_axis_is_refused():
    check_each(
        NO_AXES, lambda argument, message: check_refusal(lambda: parse_axis(argument), message)
    )


def test_axes_of_the_command_line_multiply_the_points_of_a_file():
    axes = [parse_axis("--sweep.seed=0..1"), parse_axis("--sweep.b=x")]
    assert add_axes(axes)(h) == [{"seed": 0, "b": "x"}, {"seed": 1, "b": "x"}]
    both = add_axes(axes, lambda h: ({"a": i} for i in range(2)))
    assert both(h) == both(h) == h.product([h.sweep("a", range(2)), *axes])
    with pytest.raises(ValueError, match="seed is set twice in one point"):
        add_axes(axes, lambda h: h.sweep("seed", [5]))(h)
