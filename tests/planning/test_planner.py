"""The planner: cohorts, predicted ranges, error budgets, channels."""

import dataclasses

import numpy as np
import pytest

from fedjax_diffusion.allocation import Status, allocate
from fedjax_diffusion.bits import UNIFORM_ERROR_CURVE
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.planning.error_budget import ErrorBudget
from fedjax_diffusion.planning.participation import draw_cohort
from fedjax_diffusion.quantization import (
    QUANTIZERS,
    QuantizationConfig,
    predict_bit_width_error,
)
from tests.each import check_each
from tests.planning.plans import (
    FADING,
    FLEET,
    KEY,
    MEASURED,
    PARAMS,
    SIX_BITS,
    SIZES,
    WORKLOAD,
    K,
    planner_of,
    problem_by_hand,
    statistics_of,
)


def test_cohorts_are_drawn_uniformly_without_replacement():
    num_rounds, size = 300, 3
    cohorts = [draw_cohort(KEY, round, K, size) for round in range(num_rounds)]
    assert all(cohort.dtype == np.int32 and (np.diff(cohort) > 0).all() for cohort in cohorts)
    counts = np.bincount(np.concatenate(cohorts), minlength=K)
    share = size / K
    tolerance = 5 * np.sqrt(num_rounds * share * (1 - share))
    np.testing.assert_allclose(counts, num_rounds * share, atol=tolerance)
    assert len({tuple(cohort) for cohort in cohorts}) == 20, "every three of six"
    np.testing.assert_array_equal(draw_cohort(KEY, 7, K, size), cohorts[7])
    np.testing.assert_array_equal(draw_cohort(KEY, 7, K, K), np.arange(K))


def test_a_plan_speaks_of_its_cohort():
    plan = planner_of(cohort_size=3)(KEY, statistics_of(MEASURED))
    np.testing.assert_array_equal(plan.cohort, draw_cohort(KEY, 3, K, 3))
    by_hand = problem_by_hand(plan.cohort, MEASURED, plan.problem.error_budget)
    terms = np.outer(by_hand.error_weight, UNIFORM_ERROR_CURVE)
    by_hand = by_hand.replace(bit_width_error=terms)
    for field in dataclasses.fields(plan.problem):
        value, expected = (getattr(problem, field.name) for problem in (plan.problem, by_hand))
        if expected is None:
            assert value is None
        else:
            rtol = 2.0**-24 if field.name == "bit_width_error" else 1e-12  # the state is float32
            expected = np.broadcast_to(expected, np.shape(value))
            np.testing.assert_allclose(value, expected, rtol=rtol, err_msg=field.name)
    codes = 8 * np.ceil(50_000 * plan.allocation.num_bits / 8)
    np.testing.assert_array_equal(plan.uplink_bits, codes + 512)


@pytest.mark.parametrize(
    ("measured", "mode", "expected"),
    [
        (MEASURED, "update", MEASURED),
        ((-1, 2.0, 1.0, -1, 3.0, -1), "update", (2.0, 2.0, 1.0, 2.0, 3.0, 2.0)),
        ((-1, 2.0, 1.0, -1, 3.0, -1), "model", (2.0, 2.0, 1.0, 2.0, 3.0, 2.0)),
        (None, "model", [12 * 3**2 / 4 + 2 * 0.5**2 / 4] * K),
    ],
)
def test_ranges_are_the_last_measured_else_their_mean_else_the_models(measured, mode, expected):
    plan = planner_of(mode=mode)(KEY, statistics_of(measured), PARAMS)
    weight = SIZES / SIZES.sum()
    np.testing.assert_allclose(plan.problem.error_weight / weight**2, expected, rtol=1e-6)
    assert plan.allocation.num_bits.tolist() == allocate(plan.problem).num_bits.tolist()


@pytest.mark.parametrize("suffix", ["", ":max_frequency"])
@pytest.mark.parametrize(
    ("budget", "mode"),
    [(SIX_BITS, "update"), (ErrorBudget(relative=0.1), "model")],
    ids=["ranges", "last update"],
)
def test_before_anything_is_known_everybody_gets_its_largest_bit_width(budget, mode, suffix):
    plan = planner_of("on_demand" + suffix, budget=budget, mode=mode)(KEY, statistics_of(), PARAMS)
    assert plan.problem.error_budget == np.inf
    assert (plan.predicted_error is None) == (mode == "update"), "without ranges no prediction"
    assert plan.allocation.num_bits.tolist() == FLEET.max_bits.tolist()
    assert (plan.allocation.status == Status.OPTIMAL).all()
    frequency = WORKLOAD.compute_cycles / plan.allocation.compute_seconds
    is_fast = np.isclose(frequency, FLEET.max_frequency_hz, rtol=1e-6)
    assert is_fast.all() == bool(suffix)


@pytest.mark.parametrize(
    ("budget", "eps"),
    [
        (ErrorBudget(as_fixed_bits=7), np.dot((SIZES / 210) ** 2, MEASURED) / 127**2),
        (ErrorBudget(relative=0.02), 0.02**2 * 0.75),
        (ErrorBudget(absolute=1e-4), 1e-4),
        (ErrorBudget(), np.inf),
    ],
    ids=["as_fixed_bits", "relative", "absolute", "none"],
)
def test_the_round_meets_the_budget_that_was_asked_for(budget, eps):
    plan = planner_of(budget=budget)(KEY, statistics_of(MEASURED, update_squared_norm=0.75))
    error_weight = (SIZES / SIZES.sum()) ** 2 * MEASURED
    assert budget.to_eps(np.outer(error_weight, UNIFORM_ERROR_CURVE), 0.75) == pytest.approx(
        eps, rel=1e-12
    )
    assert float(plan.problem.error_budget) == pytest.approx(eps, rel=1e-6)

    def error_at(num_bits):
        return np.sum(error_weight / (2.0**num_bits - 1) ** 2)

    assert error_at(plan.allocation.num_bits) <= eps * (1 + 1e-6)
    assert plan.predicted_error == pytest.approx(error_at(plan.allocation.num_bits), rel=1e-6)
    if np.isinf(eps):
        assert plan.allocation.num_bits.tolist() == FLEET.min_bits.tolist()
    else:
        assert error_at(FLEET.min_bits) > eps, "the budget asks for more than the demands"


def test_a_relative_budget_is_none_before_the_first_update():
    assert ErrorBudget(relative=0.1).to_eps(np.ones((2, 17)), None) == np.inf


def test_the_seed_and_the_round_draw_the_channel():
    planner = planner_of(draw_channel=FADING)
    gains = {}
    for seed in (0, 1):
        for round in (3, 4):
            plans = [
                planner(seed_to_key(seed), statistics_of(MEASURED, round=round)) for _ in range(2)
            ]
            np.testing.assert_array_equal(
                plans[0].allocation.compute_joules, plans[1].allocation.compute_joules
            )
            assert (plans[0].problem.channel_gain == plans[1].problem.channel_gain).all()
            gains[seed, round] = tuple(plans[0].problem.channel_gain)
    assert len(set(gains.values())) == 4


WHAT_DOES_NOT_FIT = [
    (lambda: planner_of(on_infeasible="ignore"), "on_infeasible must be one of drop, stop"),
    (lambda: planner_of(mode="model")(KEY, statistics_of()), "params must be given in mode"),
    (
        lambda: planner_of(seconds=0.0),
        r"time_budget_seconds must be a number in \[1e-9, 1e12\], got 0.0",
    ),
    (lambda: planner_of("relaxed"), "method 'relaxed'"),
    (lambda: planner_of(baselines=("relaxed",)), "method 'relaxed'"),
    (lambda: planner_of("cheapest"), "method = 'cheapest'"),
    (lambda: planner_of(baselines=("fixed_bits:17",)), "method = 'fixed_bits:17'"),
    (lambda: planner_of(seconds=0.01), "no client can participate in any round.*deliver is"),
    (lambda: planner_of(cohort_size=7), r"cohort_size must be in 1\.\.6"),
    (lambda: planner_of(cohort_size=0), r"cohort_size must be in 1\.\.6"),
    (lambda: ErrorBudget(as_fixed_bits=6, absolute=1.0), "error_budget: give one of"),
    (
        lambda: ErrorBudget(as_fixed_bits=17),
        r"allocator.error_budget.as_fixed_bits must be a whole number in 1\.\.16",
    ),
    (lambda: ErrorBudget(relative=0.0), "error_budget.relative must be a number in"),
    (lambda: ErrorBudget(absolute=-1.0), "error_budget.absolute must be a number in"),
]


def test_what_does_not_fit_is_refused():
    def check(make, message):
        with pytest.raises(ValueError, match=message):
            make()

    check_each(WHAT_DOES_NOT_FIT, check)


def test_no_client_is_given_fewer_bits_than_the_method_has():
    float32 = planner_of(quantization=QuantizationConfig("none"))(KEY, statistics_of(MEASURED))
    assert float32.allocation.num_bits.tolist() == [32] * K
    assert float32.predicted_error == 0
    budget = ErrorBudget(absolute=1e9)
    devices = FLEET.replace(min_bits=np.ones(K, int))
    for method, least in (("stochastic", 1), ("qsgd", 2)):
        planner = planner_of(
            budget=budget, devices=devices, quantization=QuantizationConfig(method)
        )
        assert planner(KEY, statistics_of(MEASURED)).allocation.num_bits.tolist() == [least] * K
    with pytest.raises(ValueError, match="'fixed_bits:1' sends fewer bits"):
        planner_of("fixed_bits:1", quantization=QuantizationConfig("qsgd"))


@pytest.mark.parametrize(
    ("config", "power"),
    [
        (QuantizationConfig(), 2),
        (QuantizationConfig("nearest"), 1),
        (QuantizationConfig(error_feedback=True), 1),
    ],
)
def test_errors_that_do_not_average_out_count_by_their_weight(config, power):
    plan = planner_of(quantization=config)(KEY, statistics_of(MEASURED))
    expected = np.outer((SIZES / SIZES.sum()) ** power * MEASURED, UNIFORM_ERROR_CURVE)
    np.testing.assert_allclose(plan.problem.bit_width_error, expected, rtol=2.0**-24)


@pytest.mark.parametrize(
    "config", [QuantizationConfig("qsgd"), QuantizationConfig("rotated", per_tensor=True)]
)
def test_before_the_first_upload_mode_model_takes_the_curve_of_the_broadcast(config):
    plan = planner_of(mode="model", quantization=config)(KEY, statistics_of(), PARAMS)
    curve = predict_bit_width_error(config.quantizer, PARAMS, bits_per_tensor=config.per_tensor)
    expected = np.outer((SIZES / SIZES.sum()) ** 2, np.asarray(curve, float))
    np.testing.assert_allclose(plan.problem.bit_width_error, expected, rtol=1e-12)


def test_planner_asks_no_client_for_fewer_bits_than_own_quantizer_has(monkeypatch):
    least = 3
    own = QUANTIZERS["stochastic"]._replace(wire_number=250, min_bits=least)
    monkeypatch.setitem(QUANTIZERS, "own", own)
    quantization = QuantizationConfig("own")
    for method in ("on_demand", "demand"):
        plan = planner_of(method, quantization=quantization, budget=ErrorBudget())(
            KEY, statistics_of(MEASURED)
        )
        assert (FLEET.min_bits < least).any()
        np.testing.assert_array_equal(plan.problem.min_bits, np.fmax(FLEET.min_bits, least))
        assert (plan.allocation.num_bits >= least).all()
    with pytest.raises(ValueError, match=r"fewer bits than quantization\.name needs, 3"):
        planner_of("fixed_bits:2", quantization=quantization)
