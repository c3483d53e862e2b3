"""Records: a round as plain numbers, the log that survives a crash, totals, whole files."""

import functools
import json
import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.federated import ClientReport
from fedjax_diffusion.federated.traffic import Traffic
from fedjax_diffusion.runs.metrics_log import MetricsLog
from fedjax_diffusion.runs.records import (
    METRICS,
    read_metrics,
    sample_path,
    summarize,
    write_json,
)
from fedjax_diffusion.runs.round_record import make_record
from fedjax_diffusion.simulator import RoundInfo
from tests.planning.plans import KEY, MEASURED, K, far_away, planner_of, statistics_of

BASELINES = ("full_precision", "demand")
DIVERGED, FAR = 2, 1
FIELDS = [
    "round",
    "loss",
    "num_bits",
    "cohort",
    "participants",
    "diverged",
    "status",
    "client_compute_joules",
    "client_transmit_joules",
    "compute_joules",
    "transmit_joules",
    "total_joules",
    "baseline_joules",
    "baseline_compute_joules",
    "baseline_transmit_joules",
    "baseline_uplink_bytes",
    "baseline_late",
    "on_time_joules",
    "on_time_clients",
    "uplink_bytes",
    "planned_uplink_bytes",
    "downlink_bytes",
    "full_precision_bytes",
    "quantization_error",
    "quantization_error_bound",
    "error_budget",
    "predicted_error",
    "relative_gap",
    "update_squared_norm",
    "step_refused",
    "wall_seconds",
]


@functools.cache
def plan_of(method="on_demand"):
    """A round in which client 1 is too far away and full precision is late for client 3."""
    planner = planner_of(method, seconds=3.4, devices=far_away(FAR), baselines=BASELINES)
    return planner(KEY, statistics_of(MEASURED))


def info_of(is_included, loss=0.5):
    is_included = jnp.asarray(is_included)
    nothing = jnp.zeros(K)
    return RoundInfo(
        loss=jnp.float32(loss),
        clients=ClientReport(is_included, nothing, nothing, nothing, nothing, upload=None),
        quantization_error=jnp.float32(1e-5),
        quantization_error_bound=jnp.float32(2e-5),
        update_squared_norm=jnp.float32(0.25),
        is_refused=jnp.bool_(False),
    )


def traffic_of(plan, is_included, share=1.0):
    """What was planned, or a share of it, and a broadcast of 1,000 bytes to each."""
    is_included = np.asarray(is_included)
    uplink = np.round(plan.uplink_bits / 8 * share).astype(int) * is_included
    return Traffic(uplink, 1_000 * (np.asarray(plan.allocation.num_bits) > 0))


def record_of(method="on_demand", loss=0.5):
    """A round in which client 2 diverged besides."""
    is_included = np.asarray(plan_of(method).allocation.num_bits) > 0
    is_included[DIVERGED] = False
    plan = plan_of(method)
    return make_record(3, plan, info_of(is_included, loss), traffic_of(plan, is_included), 1.5)


def test_a_record_has_all_fields_and_is_plain_json():
    for record in (record_of(), record_of("fixed_bits:4"), record_of(loss=np.nan)):
        assert list(record) == FIELDS
        assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record_of(loss=np.nan)["loss"] is None
    assert record_of()["cohort"] == list(range(K))
    assert record_of()["num_bits"] == plan_of().allocation.num_bits.tolist()
    assert record_of()["status"] == ["optimal", "infeasible_time", *["optimal"] * 4]


def test_shorter_messages_are_charged_less_and_the_plan_is_kept_beside():
    plan = plan_of()
    is_included = np.asarray(plan.allocation.num_bits) > 0
    info = info_of(is_included)
    planned, half = (
        make_record(3, plan, info, traffic_of(plan, is_included, share), 1.5) for share in (1, 0.5)
    )
    assert planned["uplink_bytes"] == planned["planned_uplink_bytes"]
    assert half["planned_uplink_bytes"] == planned["planned_uplink_bytes"]
    assert half["uplink_bytes"] == pytest.approx(planned["uplink_bytes"] / 2, abs=K)
    assert half["transmit_joules"] == pytest.approx(planned["transmit_joules"] / 2, rel=1e-4)
    assert half["compute_joules"] == planned["compute_joules"]
    assert half["baseline_joules"] == planned["baseline_joules"]
    assert half["downlink_bytes"] == 1_000 * is_included.sum()


def test_an_unbounded_budget_is_null():
    plan = planner_of("demand")(KEY, statistics_of())
    record = make_record(0, plan, info_of([True] * K), traffic_of(plan, [True] * K), 1.0)
    assert record["error_budget"] is None
    assert record["predicted_error"] is None


def test_a_diverged_client_has_computed_but_sends_nothing():
    """In this run and under every baseline; a client that was left out costs nothing at all."""
    plan, record = plan_of(), record_of()
    sends = np.array([0, 3, 4, 5])
    assert record["participants"] == sends.tolist()
    assert record["diverged"] == [DIVERGED]
    allocation = plan.allocation
    assert allocation.transmit_joules[DIVERGED] > 0
    assert record["compute_joules"] == pytest.approx(allocation.compute_joules.sum())
    assert record["transmit_joules"] == pytest.approx(allocation.transmit_joules[sends].sum())
    assert record["total_joules"] == record["compute_joules"] + record["transmit_joules"]
    assert record["client_compute_joules"] == allocation.compute_joules.tolist()
    is_sent = np.isin(np.arange(K), sends)
    assert record["client_transmit_joules"] == (allocation.transmit_joules * is_sent).tolist()
    assert record["uplink_bytes"] == plan.uplink_bits[sends].sum() / 8
    assert record["full_precision_bytes"] == len(sends) * (50_000 * 32 + 512) / 8
    for name in BASELINES:
        baseline = plan.baselines[name]
        compute, transmit = baseline.compute_joules.sum(), baseline.transmit_joules[sends].sum()
        assert record["baseline_compute_joules"][name] == pytest.approx(compute)
        assert record["baseline_transmit_joules"][name] == pytest.approx(transmit)
        assert record["baseline_joules"][name] == pytest.approx(compute + transmit)
        assert record["baseline_uplink_bytes"][name] == baseline.uplink_bits[sends].sum() / 8


def test_on_time_joules_cover_who_is_on_time_under_every_method():
    plan, record = plan_of(), record_of()
    assert record["baseline_late"] == {"full_precision": 1, "demand": 0}
    on_time = np.array([0, 4, 5])  # 1 is left out, 2 diverged, 3 is late at full precision
    assert record["on_time_clients"] == 3
    for name, method in {"this_run": plan.allocation, **plan.baselines}.items():
        joules = (method.compute_joules + method.transmit_joules)[on_time].sum()
        assert record["on_time_joules"][name] == pytest.approx(joules)


def write_log(workdir, num_records, tail=""):
    with MetricsLog(workdir, 0) as log:
        for i in range(num_records):
            log.append({"round": i})
    with (workdir / METRICS).open("a") as file:
        file.write(tail)


@pytest.mark.parametrize("tail", ["", '{"round": 3, "lo', '{"round": 3}\n{"rou'])
@pytest.mark.parametrize("num_rounds", [0, 2, 3])
def test_a_resumed_log_goes_on_at_its_checkpoint(tmp_path, num_rounds, tail):
    """What was written after the checkpoint is cut off, a half-written line included."""
    write_log(tmp_path, 3, tail)
    with MetricsLog(tmp_path, num_rounds) as log:
        assert read_metrics(tmp_path) == [{"round": i} for i in range(num_rounds)]
        log.append({"round": num_rounds, "again": True})
    expected = [*({"round": i} for i in range(num_rounds)), {"round": num_rounds, "again": True}]
    assert read_metrics(tmp_path) == expected


def test_each_line_is_on_disk_at_once(tmp_path):
    with MetricsLog(tmp_path, 0) as log:
        log.append({"round": 0})
        assert read_metrics(tmp_path) == [{"round": 0}]
        with pytest.raises(ValueError, match="not JSON compliant"):
            log.append({"loss": float("nan")})


def test_lines_of_one_run_of_many_are_readable_at_once_and_on_disk_with_a_checkpoint(
    tmp_path, monkeypatch
):
    with MetricsLog(tmp_path, 0, is_synced=False) as log:
        synced = []
        monkeypatch.setattr(os, "fsync", synced.append)
        log.append({"round": 0})
        assert read_metrics(tmp_path) == [{"round": 0}]
        assert not synced
        log.sync()
        assert len(synced) == 1


def test_a_log_shorter_than_its_checkpoint_is_refused_and_left_alone(tmp_path):
    write_log(tmp_path, 2)
    before = (tmp_path / METRICS).read_text()
    with pytest.raises(ValueError, match=r"line 3: missing or cut off, but 5 rounds"):
        MetricsLog(tmp_path, 5)
    assert (tmp_path / METRICS).read_text() == before


def test_a_run_that_is_read_while_it_writes_has_only_whole_lines(tmp_path):
    write_log(tmp_path, 2, tail='{"round": 2, "lo')
    assert read_metrics(tmp_path) == [{"round": 0}, {"round": 1}]


def test_a_folder_without_metrics_is_no_run_folder(tmp_path):
    with pytest.raises(ValueError, match=r"is not a run folder: it has no metrics\.jsonl"):
        read_metrics(tmp_path)


def test_a_summary_adds_the_rounds_up():
    first, second = record_of(), record_of("fixed_bits:4", loss=np.nan)
    summary = summarize([first, second], num_parameters=50_000)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert (summary["num_rounds"], summary["num_parameters"]) == (2, 50_000)
    assert (summary["loss"], summary["rounds_without_loss"]) == (None, 1), "of the last round"
    sent = [b for record in (first, second) for b in record["num_bits"] if b > 0]
    assert summary["mean_bits"] == pytest.approx(np.mean(sent))
    assert (summary["client_rounds"], summary["diverged"]) == (2 * K, 2)
    assert summary["left_out"] == {"diverged": 2, "infeasible_time": 2}
    assert (summary["steps"], summary["lost_rounds"]) == (1, 1)
    assert summary["wall_seconds"] == 3.0
    assert summary["downlink_bytes"] == 2 * 5 * 1_000
    ours, *theirs = summary["methods"]
    assert ours["method"] == "this_run"
    assert ours["total_joules"] == pytest.approx(first["total_joules"] + second["total_joules"])
    assert ours["uplink_bytes"] == first["uplink_bytes"] + second["uplink_bytes"]
    assert [row["method"] for row in theirs] == list(BASELINES)
    for row in theirs:
        name = row["method"]
        joules = sum(record["baseline_joules"][name] for record in (first, second))
        assert row["total_joules"] == pytest.approx(joules)
        assert row["late"] == sum(record["baseline_late"][name] for record in (first, second))
        saved = 100 * (1 - ours["total_joules"] / joules)
        assert row["saved_joules_percent"] == pytest.approx(saved)


def test_a_summary_of_rounds_without_anybody():
    record = {**record_of(), "loss": None, "num_bits": [0] * K, "status": ["infeasible_time"] * K}
    summary = summarize([record], num_parameters=1)
    assert summary["loss"] is None
    assert summary["mean_bits"] is None
    assert summary["left_out"] == {"diverged": 1, "infeasible_time": K}


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "summary.json"
    write_json(path, {"loss": 0.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": float("inf")})
    assert json.loads(path.read_text()) == {"loss": 0.5}
    write_json(path, {"loss": 0.25})
    assert json.loads(path.read_text()) == {"loss": 0.25}
    assert list(tmp_path.iterdir()) == [path]


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    def crash(*_):
        raise OSError("power cut")

    path = tmp_path / "summary.json"
    write_json(path, {"loss": 0.5})
    for module, name in ((os, "replace"), (os, "rename"), (Path, "replace")):
        monkeypatch.setattr(module, name, crash)
    with pytest.raises(OSError, match="power cut"):
        write_json(path, {"loss": 0.25})
    assert json.loads(path.read_text()) == {"loss": 0.5}


def test_pictures_sort_by_round(tmp_path):
    paths = [sample_path(tmp_path, round) for round in (2, 10, 99999)]
    assert paths == sorted(paths)
    assert paths[0] == tmp_path / "samples" / "round_00002.png"
