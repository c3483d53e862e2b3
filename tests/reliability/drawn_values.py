"""Values to try for settings: at the ends of each rule, beyond them, and of other kinds."""

import math
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fedjax_diffusion import load_config
from fedjax_diffusion.experiment.config import read_value
from fedjax_diffusion.experiment.config_files import list_items
from fedjax_diffusion.experiment.setting_kinds import known_kinds
from fedjax_diffusion.values import Checked, OneOf, Range, Size
from tests.characters import CHARACTERS

DEFAULTS = dict(list_items(load_config("default")))
KINDS = known_kinds(DEFAULTS)
MAX_LINE = 1000
"""Characters of a message."""
HUGE = 10**5000
"""A number of which Python writes no digits."""
TEXTS = (
    *("", " ", "x" * 5000, "a\nb", "a\0b", "\udcff", "\u202e", "None", "1e400", "nan", "-inf", "٣"),
    *("{[]:1}", "-" * 6000 + "1", "9" * 400, "9" * 5000, "(" * 500, "(1,", "()", "(1,)", "[1]"),
    *("True", "0", "-1", "1.5", "18446744073709551616", "../..", "/dev/null", "$(id)", "日本"),
)
OTHERS = (
    *(None, True, -1, 0, 1, 3, 2**31, 2**32, 2**64, 10**400, HUGE, 0.5, 1e-320, 1e308),
    *(math.nan, math.inf, -math.inf, (), (1,), (None,), ((1,),), ("a",), (1.5, "a"), [2], {}, b"x"),
    *(1j, np.float32(0.5), np.int64(3), np.bool_(True), np.ones(2), Path("x"), list, range(3)),
)
METHODS = (
    *("on_demand", "demand", "full_precision", "largest", "schedule", "relaxed", "best"),
    *(
        "fixed_bits",
        "fixed_bits:0",
        "fixed_bits:1",
        "fixed_bits:8",
        "fixed_bits:17",
        "fixed_bits:٣",
    ),
    *("demand:max_frequency", "on_demand:joint_bandwidth", "full_precision:joint_bandwidth", ":"),
    *("a: seed=3", "a: seed", "a b: x=1", "a: channel.fading=abc", "b: allocator.method=demand"),
)
"""For rules that parse: methods of the allocator, and variants of a comparison."""


def list_values(kind):
    """Returns values at and just beyond the ends of a kind's rules."""
    values = []
    for rule in kind.rules:
        if isinstance(rule, Range) and kind.type is int:
            values += [rule.least + n for n in (-1, 0, 1)] + [rule.most + n for n in (-1, 0, 1)]
        elif isinstance(rule, Range):
            ends = float(rule.least), float(rule.most)
            beyond = [math.nextafter(end, far) for end in ends for far in (-math.inf, math.inf)]
            values += [*ends, *beyond, sum(ends) / 4]
        elif isinstance(rule, OneOf):
            allowed = list(rule.values() if callable(rule.values) else rule.values)
            values += [*allowed, *(f"{value}x" for value in allowed)]
        elif isinstance(rule, Size) and kind.entry is not None:
            entries = list_values(kind.entry)
            lengths = {1, 2, 3, min(rule.least, 12), min(rule.most, 12) + 1}
            values += [tuple(entries[:n]) for n in lengths] + [(entry,) for entry in entries]
        elif isinstance(rule, Checked):
            values += METHODS
    return values


def draw_value(key):
    """Returns a strategy for values of a key."""
    own = st.sampled_from([*list_values(KINDS[key]), DEFAULTS[key]])
    number = st.integers() | st.floats() | st.text(CHARACTERS, max_size=8)
    others = st.sampled_from(OTHERS) | st.sampled_from(TEXTS)
    return own | own | others | number | st.tuples(number) | st.tuples(number, number)


def draw_text(key):
    """Returns a strategy for values of a key as a command line has them."""
    values = [*list_values(KINDS[key]), *OTHERS, DEFAULTS[key]]
    short = [value for value in values if value is not HUGE]
    return (
        st.sampled_from(short).map(_to_text)
        | st.sampled_from(TEXTS)
        | st.text(CHARACTERS, max_size=9)
    )


def _to_text(value):
    return value if isinstance(value, str) else repr(value)


def is_refused(key, text):
    """Returns whether the table refuses the text of a command line."""
    try:
        read_value(key, text, KINDS)
    except ValueError:
        return True
    return False


def play(number, strategy, check, piece=0):
    """Checks a number of examples, the same for the same piece; the first failure is reported."""
    how = settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    seed(piece)(how(given(strategy)(check)))()
