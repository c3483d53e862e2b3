"""Text tables: columns line up, cells say what they are given."""

import pytest

from fedjax_diffusion.host.tables import (
    format_cell,
    format_digits,
    format_percent,
    format_span,
    format_table,
)


def test_table_aligns_names_left_and_numbers_right():
    """Every column ends where its header does."""
    rows = [
        {"method": "a", "joules": 1.0, "late": 2, "saved": None},
        {"method": "much longer", "joules": 123456.0, "late": 31, "saved": "7.0 %"},
    ]
    header, rule, *lines = format_table(rows).splitlines()
    assert len(lines) == 2
    assert rule == "-" * len(header)
    for name in ("joules", "late", "saved"):
        end = header.index(name) + len(name)
        assert all(line[end - 1] != " " and line[end : end + 1] in ("", " ") for line in lines)
    assert lines[0].split() == ["a", "1", "2", "-"]
    assert lines[1].startswith("much longer  ")
    assert lines[1].split()[2:] == ["123,456", "31", "7.0", "%"]


def test_table_has_no_spaces_at_line_ends():
    table = format_table([{"name": "a", "note": ""}, {"name": "b", "note": "long"}])
    assert table.splitlines() == ["name  note", "----------", "a", "b     long"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.000123456, "0.0001235"),
        (1000.4, "1,000"),
        (-1234.5, "-1,234"),
        (1_000_000, "1000000"),
        ("text", "text"),
        (None, "-"),
    ],
)
def test_cell_shows_four_digits_of_floats_and_all_of_others(value, text):
    assert format_cell(value) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"), [(0.0, 2, "0.00"), (6.285, 1, "6.3"), (12345.678, 0, "12,346")]
)
def test_digits_are_those_behind_the_point(value, digits, text):
    assert format_digits(value, digits) == text


@pytest.mark.parametrize(
    ("percent", "text"), [(0.0, "0.0 %"), (-67.34, "-67.3 %"), (99.96, "100.0 %")]
)
def test_percent_has_one_digit_behind_the_point(percent, text):
    assert format_percent(percent) == text


def test_numbers_that_are_none_stay_none():
    assert format_digits(None, 2) is None
    assert format_percent(None) is None


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((2, 16), "2 to 16"),
        ((4, 4), "4"),
        ((2, 16, "", "-"), "2-16"),
        ((50.2, 499.8, ".0f"), "50 to 500"),
        (("1.50", "1.50"), "1.50"),
        ((1.4, 1.1, ".0f"), "1 to 1"),
    ],
)
def test_span_shows_one_value_only_if_both_ends_are_equal(ends, text):
    assert format_span(*ends) == text
