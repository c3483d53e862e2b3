"""Faults in the record of a round: whom they left out, and what was spent, by each method."""

import functools
import json

import numpy as np
import pytest

from fedjax_diffusion.planning.faults import Fault, RoundFaults
from fedjax_diffusion.runs.ledger import THIS_RUN
from fedjax_diffusion.runs.records import summarize
from fedjax_diffusion.runs.round_record import make_record
from tests.planning.plans import KEY, K, planner_of, statistics_of
from tests.runs.test_records import FIELDS, info_of, traffic_of

BASELINES = ("full_precision", "demand")
BEFORE, DIVERGING, DURING, LATE, DAMAGED, HEALTHY = range(K)
"""One client for each fault, and one without."""
KINDS = np.array([1, 2, 3, 4, 5, 0])
COMPUTE_SHARE = np.array([0.25, 1, 1, 1, 1, 1])
SENT_SHARE = np.array([0, 0, 0.375, 1, 1, 1])
IS_INCLUDED = KINDS == Fault.NONE


@functools.cache
def plan():
    return planner_of(baselines=BASELINES)(KEY, statistics_of())


def record_of(kinds=KINDS, loss=0.5):
    assert (np.asarray(plan().allocation.num_bits) > 0).all()
    is_included = kinds == Fault.NONE
    lost_share = np.where(is_included, 0, SENT_SHARE)
    num_bits = np.where(is_included, plan().allocation.num_bits, 0)
    faults = RoundFaults(kinds, num_bits, COMPUTE_SHARE, lost_share, np.ones(K, np.float32))
    traffic = traffic_of(plan(), is_included)
    return make_record(3, plan(), info_of(is_included, loss), traffic, 1.5, faults)


def test_a_record_names_the_faults_and_is_plain_json():
    record = record_of()
    assert list(record) == [*FIELDS, "faults", "lost_joules", "lost_uplink_bytes"]
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["faults"] == [Fault(kind).name.lower() for kind in KINDS]
    assert record["participants"] == [HEALTHY]
    assert record["diverged"] == [DIVERGING], "it alone knows by itself"


def test_a_failed_upload_is_charged_as_far_as_it_came():
    record, allocation = record_of(), plan().allocation
    compute = np.asarray(allocation.compute_joules) * COMPUTE_SHARE
    transmit = np.asarray(allocation.transmit_joules) * SENT_SHARE
    planned_bytes = plan().uplink_bits / 8
    np.testing.assert_allclose(record["client_compute_joules"], compute)
    np.testing.assert_allclose(record["client_transmit_joules"], transmit, rtol=1e-3)
    assert record["client_transmit_joules"][LATE] == pytest.approx(transmit[LATE], rel=1e-12)
    assert record["total_joules"] == pytest.approx((compute + transmit).sum(), rel=1e-4)
    whole = planned_bytes[[LATE, DAMAGED, HEALTHY]].sum()
    partial = np.floor(0.375 * planned_bytes[DURING])
    assert record["uplink_bytes"] == whole + partial
    assert record["planned_uplink_bytes"] == pytest.approx(whole + partial, abs=1)
    assert record["lost_uplink_bytes"] == whole + partial - planned_bytes[HEALTHY]
    in_vain = record["total_joules"] - (compute + transmit)[HEALTHY]
    assert record["lost_joules"] == pytest.approx(in_vain)
    assert record["downlink_bytes"] == 1_000 * K, "all of them received the model"


def test_a_baseline_meets_the_same_faults():
    record = record_of()
    for name, baseline in plan().baselines.items():
        compute = baseline.compute_joules * COMPUTE_SHARE
        transmit = baseline.transmit_joules * SENT_SHARE
        assert record["baseline_compute_joules"][name] == pytest.approx(compute.sum())
        assert record["baseline_transmit_joules"][name] == pytest.approx(transmit.sum())
        uploaded = (baseline.uplink_bits * SENT_SHARE).sum() // 8
        assert record["baseline_uplink_bytes"][name] == uploaded
        assert record["baseline_late"][name] == 1, "the late client is late under every method"


def test_a_summary_counts_faults_by_their_names_and_uploads_that_were_late():
    summary = summarize([record_of(), record_of()], num_parameters=50_000)
    names = ("dropped_before_upload", "diverged", "dropped_during_upload", "late", "damaged")
    assert summary["left_out"] == dict.fromkeys(sorted(names), 2)
    assert [row["late"] for row in summary["methods"]] == [2, 2, 2]
    assert summary["methods"][0]["method"] == THIS_RUN
    assert (summary["steps"], summary["lost_rounds"]) == (2, 0)


def test_a_round_in_which_every_upload_failed_is_no_lost_round():
    record = record_of(np.full(K, Fault.LATE), loss=np.nan)
    assert (record["loss"], record["diverged"], record["participants"]) == (None, [], [])
    summary = summarize([record], num_parameters=50_000)
    assert (summary["no_step_reasons"], summary["lost_rounds"]) == (["failed"], 0)
