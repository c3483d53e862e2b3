"""Values drawn over the table of settings: refused in one line, or what is built can be built.

Every piece of the long form draws its own, always the same.
"""

import pytest
from hypothesis import strategies as st

from fedjax_diffusion.experiment.build import build, check_config
from fedjax_diffusion.experiment.config import load_config, to_run_config
from tests.reliability.drawn_values import KINDS, MAX_LINE, draw_value, play
from tests.tiny import OVERRIDES

QUICK = {"compute.tune": "guess"} | OVERRIDES


def find_refusal(action):
    """Returns the message of the ValueError that an action raises, None if it raises none."""
    try:
        action()
    except ValueError as error:
        text = str(error)
        assert 0 < len(text) < MAX_LINE
        assert len(text.splitlines()) == 1
        return text
    return None


def check_value_of(key, value):
    """Checks that a config is refused in one line that names the key, or can be built."""
    refusal = find_refusal(lambda: to_run_config(load_config("digits", {**QUICK, key: value})))
    if refusal is not None:
        assert key.split(".")[-1] in refusal or key.split(".")[0] in refusal
        return
    config = to_run_config(load_config("digits", {**QUICK, key: value}))
    refusal = find_refusal(lambda: check_config(config))
    assert (find_refusal(lambda: build(config)) is None) == (refusal is None), refusal


@st.composite
def draw_setting(draw):
    """Draws a key and a value."""
    key = draw(st.sampled_from(tuple(KINDS)))
    return key, draw(draw_value(key))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_few_values_are_refused_or_built(folder):
    play(40, draw_setting(), lambda setting: check_value_of(*setting))
    assert not list(folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("piece", range(1, 11))
def test_2000_values_are_refused_or_built(piece, folder):
    play(200, draw_setting(), lambda setting: check_value_of(*setting), piece)
    assert not list(folder.iterdir())
