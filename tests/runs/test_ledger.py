import dataclasses
import functools

import pytest

from fedjax_diffusion.runs.ledger import THIS_RUN, Ledger, Spending


def record(scale=1, **fields):
    usual = {
        "compute_joules": 1.0 * scale,
        "transmit_joules": 2.0 * scale,
        "uplink_bytes": 100 * scale,
        "full_precision_bytes": 400 * scale,
        "on_time_clients": 3,
        "on_time_joules": {THIS_RUN: 2.0 * scale, "full_precision": 10.0 * scale},
        "baseline_compute_joules": {"full_precision": 4.0 * scale},
        "baseline_transmit_joules": {"full_precision": 8.0 * scale},
        "baseline_uplink_bytes": {"full_precision": 400 * scale},
        "baseline_late": {"full_precision": 2},
    }
    return usual | fields


def replay(records):
    """Returns the ledger after all records."""
    return functools.reduce(Ledger.add, records, Ledger())


def test_totals_are_sums_over_the_rounds():
    ledger = replay([record(1), record(2)])
    assert ledger.num_rounds == 2
    assert ledger.on_time_clients == 6
    assert ledger.full_precision_bytes == 1200
    assert ledger.spendings == {
        THIS_RUN: Spending(3.0, 6.0, 300, 0, 6.0),
        "full_precision": Spending(12.0, 24.0, 1200, 4, 30.0),
    }


def test_savings_name_their_baseline():
    ours, theirs = replay([record()]).savings()
    assert (ours.method, ours.saved_joules_percent) == (THIS_RUN, 0.0)
    assert theirs.method == "full_precision"
    assert theirs.total_joules == 12.0
    assert theirs.late == 2
    assert theirs.saved_joules_percent == pytest.approx(75.0)
    assert theirs.on_time_saved_joules_percent == pytest.approx(80.0)
    assert theirs.saved_bytes_percent == pytest.approx(75.0)


def test_savings_against_nothing_are_undefined():
    (ours,) = Ledger().savings()
    assert ours.saved_joules_percent is None
    assert ours.saved_bytes_percent is None


def test_bytes_stay_exact_where_int32_and_float64_end():
    ledger = Ledger()
    for _ in range(3):
        ledger = ledger.add(record(uplink_bytes=2**53 + 1))
    assert ledger.spendings[THIS_RUN].uplink_bytes == 3 * (2**53 + 1)


def test_adding_leaves_the_ledger_as_it_was():
    ledger = replay([record()])
    before = dataclasses.replace(ledger)
    ledger.add(record())
    assert ledger == before


def test_a_baseline_may_join_later():
    alone = record(
        baseline_compute_joules={},
        baseline_transmit_joules={},
        baseline_uplink_bytes={},
        baseline_late={},
        on_time_joules={THIS_RUN: 3.0},
    )
    ledger = replay([alone, record()])
    assert ledger.spendings["full_precision"].total_joules == 12.0
    assert ledger.spendings[THIS_RUN].on_time_joules == 5.0
