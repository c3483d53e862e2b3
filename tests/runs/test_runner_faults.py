"""Runs with faults: they resume exactly, and a round in which everybody fails keeps the model."""

import jax
import numpy as np
import pytest

from fedjax_diffusion import load_run, run
from fedjax_diffusion.experiment.build import build
from fedjax_diffusion.planning.faults import Fault
from fedjax_diffusion.runs.learning import LearningError, check_learned
from tests.tiny import pixel_config

EVERYTHING = {
    "faults__dropped_before_upload": 0.1,
    "faults__diverging": 0.2,
    "faults__dropped_during_upload": 0.1,
    "faults__late": 0.1,
    "faults__damaged": 0.1,
    "faults__diverging_factor": 30.0,
    "federated__average": "trimmed_mean",
    "federated__max_update_norm": 0.3,
    "server_optimizer__learning_rate": 0.9,  # a number that may change without compilation
    "quantization__error_feedback": True,
    "partition__num_clients": 4,
    "cohort_size": 3,  # as many as other runs have: their allocations are compiled already
    "num_rounds": 18,
    "compute__cpu_devices": 1,
}
"""Of this run, whose programs are also those of a sweep in lanes and of a server that fails."""


class StopError(Exception):
    pass


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(pixel_config(**EVERYTHING), tmp_path_factory.mktemp("runs") / "whole")


def resume(config, workdir):
    """Plays a run that is killed in its third round, after a checkpoint, and started again."""

    def stop_after_three(record):
        if record["round"] == 2:
            raise StopError

    with pytest.raises(StopError):
        run(config, workdir, on_record=stop_after_three)
    return run(config, workdir)


def assert_same(resumed, finished):
    for ours, theirs in zip(resumed.records, finished.records, strict=True):
        assert ours | {"wall_seconds": 0} == theirs | {"wall_seconds": 0}
    states = [load_run(each.workdir)[1] for each in (resumed, finished)]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_a_run_with_every_fault_resumes_to_the_bit(finished, tmp_path):
    assert_same(resume(pixel_config(**EVERYTHING), tmp_path / "run"), finished)


@pytest.mark.slow
@pytest.mark.parametrize("probability", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("fault", [fault.name.lower() for fault in Fault if fault != Fault.NONE])
def test_each_fault_at_each_probability_resumes_to_the_bit(fault, probability, tmp_path):
    options = {f"faults__{fault}": probability, "partition__num_clients": 12, "num_rounds": 4}
    config = pixel_config(**options)
    finished = run(config, tmp_path / "whole")
    assert_same(resume(config, tmp_path / "run"), finished)
    happened = [
        each
        for record in finished.records
        for each, num_bits in zip(record["faults"], record["num_bits"], strict=True)
        if num_bits > 0
    ]
    deviation = np.sqrt(len(happened) * probability * (1 - probability))
    assert abs(happened.count(fault) - len(happened) * probability) <= 5 * deviation
    assert len(happened) > 40, "of 48: nearly all clients participate"


def test_clients_that_fail_are_recorded_and_not_in_the_average(finished):
    happened = set()
    for record in finished.records:
        faults = dict(zip(record["cohort"], record["faults"], strict=True))
        happened |= set(faults.values())
        failed = {client for client, fault in faults.items() if fault not in ("none", "diverging")}
        assert set(record["participants"]) == set(faults) - failed - set(record["diverged"])
        assert {faults[client] for client in record["diverged"]} <= {"none", "diverging"}
        assert record["lost_joules"] > 0 or not failed
    assert happened == {
        *("none", "dropped_before_upload", "diverging"),
        *("dropped_during_upload", "late", "damaged"),
    }, "54 client-rounds: else another seed"
    diverged = [client for record in finished.records for client in record["diverged"]]
    assert diverged, "the norm of an update is 0.05 at most, and 30 times as large by the fault"


@pytest.mark.parametrize("fault", ["late", "dropped_before_upload"])
def test_when_every_upload_fails_the_model_stays_and_the_energy_is_spent(fault, tmp_path):
    config = pixel_config(num_rounds=2, **{f"faults__{fault}": 1.0})
    result, experiment = run(config, tmp_path / "run"), build(config)
    state = load_run(result.workdir)[1]
    first = experiment.simulator.init(experiment.run_key, experiment.data)
    jax.tree.map(np.testing.assert_array_equal, state.params, first.params)
    for record in result.records:
        assert (record["loss"], record["participants"]) == (None, [])
        assert record["compute_joules"] > 0
        assert record["downlink_bytes"] > 0
        sends = fault == "late"
        assert (record["transmit_joules"] > 0, record["uplink_bytes"] > 0) == (sends, sends)
        assert record["uplink_bytes"] == record["planned_uplink_bytes"]
        assert record["lost_joules"] == pytest.approx(record["total_joules"])
    with pytest.raises(LearningError, match=r"every upload failed .*; lower .* of config\.faults"):
        check_learned(result.summary)
