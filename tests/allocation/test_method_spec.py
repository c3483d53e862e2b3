"""Methods by name: text to spec and back, and the facts that stand with each method."""

import pytest

from fedjax_diffusion.allocation import METHODS, MethodSpec, allocate, parse_method
from fedjax_diffusion.allocation.methods.fixed import fixed_bits
from fedjax_diffusion.allocation.search.time_split import max_frequency_split, optimal_split
from fedjax_diffusion.allocation.solution import solve

SPECS = {
    "on_demand": MethodSpec("on_demand"),
    "on_demand:max_frequency": MethodSpec("on_demand", is_at_max_frequency=True),
    "on_demand:joint_bandwidth": MethodSpec("on_demand", is_joint=True),
    "relaxed:max_frequency": MethodSpec("relaxed", is_at_max_frequency=True),
    "fixed_bits:8": MethodSpec("fixed_bits", 8),
    "fixed_bits:32:joint_bandwidth": MethodSpec("fixed_bits", 32, is_joint=True),
    "full_precision:max_frequency": MethodSpec("full_precision", is_at_max_frequency=True),
}


@pytest.mark.parametrize("text", SPECS)
def test_spec_of_a_text_gives_the_text_back(text):
    assert parse_method(text) == SPECS[text]
    assert str(parse_method(text)) == text


UNKNOWN = (
    "",
    "best",
    "demand:",
    "on_demand:8",
    "fixed_bits",
    "fixed_bits:17",
    "fixed_bits:x",
    "on_demand:fast",
    "fixed_bits:8:fast",
    "max_frequency",
    "demand:8",
    "fixed_bits:08",
    "fixed_bits:8:8",
    "relaxed:joint_bandwidth",
    "demand:max_frequency:joint_bandwidth",
)


def refusal_of(text):
    try:
        return f"taken as {parse_method(text)}"
    except ValueError as error:
        return str(error)


def test_unknown_text_is_refused():
    refusals = {text: refusal_of(text) for text in UNKNOWN}
    expected = "method = '{}': must be one of on_demand, relaxed, "
    assert {t: r for t, r in refusals.items() if not r.startswith(expected.format(t))} == {}


def test_spec_says_how_to_choose_and_to_split():
    spec = parse_method("fixed_bits:8:max_frequency")
    assert (spec.choose, spec.arguments, spec.split) == (fixed_bits, (8,), max_frequency_split)
    joint = parse_method("full_precision:joint_bandwidth")
    jointly = METHODS["full_precision"].choose_jointly
    assert (joint.choose, joint.arguments, joint.split) == (jointly, (32,), optimal_split)


@pytest.mark.parametrize("suffix", ["", ":max_frequency", ":joint_bandwidth"])
def test_fallback_keeps_the_division_of_time_and_band(suffix):
    assert str(parse_method("on_demand" + suffix).fallback) == "largest" + suffix
    assert parse_method("on_demand" + suffix).division == suffix[1:]
    assert str(parse_method("fixed_bits:8" + suffix).fallback) == "fixed_bits:8" + suffix


def test_every_fallback_is_a_method_that_needs_no_errors():
    for method in METHODS.values():
        assert method.fallback is None or not METHODS[method.fallback].respects_budget


def test_own_method_is_one_line_of_the_registry(make_problem, monkeypatch):
    def choose(problem, split):
        return fixed_bits(problem, split, 5)

    monkeypatch.setitem(METHODS, "five", METHODS["demand"]._replace(choose=choose))
    problem = make_problem(3, 0, time_budget_seconds=60.0)
    assert allocate(problem, "five:max_frequency").num_bits.tolist() == [5, 5, 5]
    assert solve(problem, "five:max_frequency").verification.is_valid
    with pytest.raises(ValueError, match="largest, five, each optionally with"):
        allocate(problem, "six")
