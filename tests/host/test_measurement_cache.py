"""Measurements are kept, and nothing that happens to their files stops anybody."""

import pytest

from fedjax_diffusion.host import measurement_cache
from fedjax_diffusion.host.measurement_cache import measure_once

QUESTION = {"convs": ["a", "b"], "num_clients": 1}


class Measure:
    """Counts how often it is asked."""

    def __init__(self, answer):
        self.answer, self.count = answer, 0

    def __call__(self):
        self.count += 1
        return self.answer


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_a_question_is_measured_once(cache):
    first, again = Measure({"a": "conv"}), Measure({"a": "rows"})
    assert measure_once(QUESTION, first) == measure_once(QUESTION, again) == {"a": "conv"}
    assert (first.count, again.count) == (1, 0)
    assert measure_once(QUESTION | {"num_clients": 2}, again) == {"a": "rows"}
    assert len(list(cache.rglob("measurements/*.json"))) == 2


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"question": {}, "answer": 1}', "\x00"])
def test_a_damaged_file_is_measured_again(cache, damage):
    measure = Measure({"a": "conv"})
    measure_once(QUESTION, measure)
    (path,) = cache.rglob("measurements/*.json")
    path.write_text(damage)
    assert measure_once(QUESTION, measure) == {"a": "conv"}
    assert measure.count == 2
    assert measure_once(QUESTION, measure) == {"a": "conv"}
    assert measure.count == 2, "and kept again"


def test_another_version_of_jax_measures_again(monkeypatch):
    measure = Measure(1)
    measure_once(QUESTION, measure)
    monkeypatch.setattr(measurement_cache.jax, "__version__", "0.0.0")
    measure_once(QUESTION, measure)
    assert measure.count == 2


def test_where_nothing_can_be_kept_it_is_measured(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    measure = Measure(1)
    assert [measure_once(QUESTION, measure) for _ in range(2)] == [1, 1]
    assert measure.count == 2
