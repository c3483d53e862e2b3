"""Rows of variants: sums and means over their runs, also where nobody ever participated."""

import pytest

from fedjax_diffusion.compare import format_comparison, summarize_variants
from tests.compare.test_runs_csv import ROWS

RUN = ROWS[0]._replace(loss=0.5, distance=2.0)


def test_a_variant_in_which_nobody_takes_part_has_its_row():
    nobody = RUN._replace(
        variant="late",
        loss=None,
        mean_bits=None,
        compute_joules=0.0,
        transmit_joules=0.0,
        uplink_bytes=0,
        full_precision_bytes=0,
        full_precision_joules=0.0,
        max_frequency_joules=0.0,
        distance=50.0,
    )
    runs = [row._replace(seed=seed) for seed in (0, 1) for row in (nobody, RUN)]
    late, full = summarize_variants(runs)
    assert (late.loss, late.mean_bits, late.saved_joules_percent) == (None, None, None)
    assert full.less_joules_than_reference_percent is None
    assert full.difference_percent is not None
    assert full.difference_percent.mean == pytest.approx(-96)
    assert "the interval is below 2 %, but 2 seeds only" in format_comparison([late, full], runs, 2)


def test_the_reference_is_the_first_variant_or_the_one_that_is_asked_for():
    runs = [
        RUN._replace(variant=name, seed=seed, distance=distance, uplink_bytes=100 * number)
        for seed in (0, 1)
        for number, (name, distance) in enumerate((("a", 2.0), ("b", 1.0), ("c", 3.0)), 1)
    ]
    for reference, names, percents, bytes_saved in (
        (None, "abc", (-50, 50), (-100, -200)),
        ("b", "bac", (100, 200), (50, -50)),
    ):
        first, *others = summarize_variants(runs, reference)
        assert "".join(row.variant for row in (first, *others)) == names
        assert first.difference_percent is None
        for row, percent, saved in zip(others, percents, bytes_saved, strict=True):
            assert row.difference_percent is not None
            assert row.difference_percent.mean == pytest.approx(percent)
            assert row.less_bytes_than_reference_percent == pytest.approx(saved)


def test_a_mean_is_of_the_runs_that_have_the_number():
    runs = [RUN._replace(seed=0), RUN._replace(seed=1, loss=None)]
    others = [run._replace(variant="other") for run in runs]
    assert [row.loss for row in summarize_variants([*runs, *others])] == [0.5, 0.5]


def test_two_seeds_forecast_nothing():
    for num_seeds, said in ((2, "2 seeds are too few"), (3, "seeds would decide")):
        runs = [
            RUN._replace(variant=name, seed=seed, distance=distance + seed * step)
            for seed in range(num_seeds)
            for name, distance, step in (("a", 2.0, 0.0), ("b", 2.0, 0.3))
        ]
        assert said in format_comparison(summarize_variants(runs), runs, 2.0)
