"""Paired intervals: Student's t, exact on textbook numbers, right in 95 of 100 cases."""

import numpy as np
import pytest
import scipy.stats

from fedjax_diffusion.compare import count_seeds_to_decide, mean_interval, paired_percent


def test_the_interval_is_scipys():
    values = [3.1, 2.9, 3.4, 3.3, 2.2]
    found = mean_interval(values)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.mean == pytest.approx(np.mean(values))
    assert found[1:] == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_it_holds_the_truth_in_95_percent_of_draws():
    draws = np.random.default_rng(0).normal(7, 2, (4000, 5))
    holds = [low <= 7 <= high for _, low, high in map(mean_interval, draws)]
    assert np.mean(holds) == pytest.approx(0.95, abs=5 * (0.95 * 0.05 / 4000) ** 0.5)


def test_pairs_cancel_what_seeds_have_in_common():
    references = np.array([1.0, 10.0, 100.0])
    assert paired_percent(1.02 * references, references) == pytest.approx((2, 2, 2), rel=1e-9)


def test_the_number_of_seeds_is_the_first_whose_interval_leaves_the_limit_out():
    values = np.random.default_rng(1).normal(0, 1, 6)
    interval = mean_interval(values)
    limit = interval.mean + 0.3
    spread = np.std(values, ddof=1)

    def ends_below(number):
        return scipy.stats.t.ppf(0.975, number - 1) * spread / number**0.5 < 0.3

    found = count_seeds_to_decide(interval, 6, limit)
    assert found is not None
    assert ends_below(found)
    assert not ends_below(found - 1)
    assert count_seeds_to_decide(interval, 6, interval.mean - 0.3) == found
    assert count_seeds_to_decide(interval, 6, interval.mean + 1e-6) is None
