"""Runs with every option of quantization: what they charge, and that they resume exactly."""

import jax
import numpy as np
import pytest

from fedjax_diffusion.experiment.build import build
from fedjax_diffusion.quantization import payload_bytes
from fedjax_diffusion.runs.load import load_run
from fedjax_diffusion.runs.runner import run
from tests.dense import to_dense
from tests.tiny import pixel_config, tiny_config

pytest.importorskip("constriction")

EVERYTHING = {
    "quantization__name": "rotated",
    "quantization__per_tensor": True,
    "quantization__error_feedback": True,
    "quantization__entropy_coding": True,
    "quantization__downlink_bits": 8,
    "devices__min_bits": 1,
    "devices__max_bits": 3,
    "allocator__error_budget__as_fixed_bits": 2,
    "compute__cpu_devices": 1,  # compiled in half the time
}


class StopError(Exception):
    pass


def dense_config():
    return to_dense(tiny_config(**EVERYTHING))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(dense_config(), tmp_path_factory.mktemp("runs") / "whole")


def test_the_memories_of_error_feedback_survive_a_crash(finished, tmp_path):
    def stop_after_three(record):
        if record["round"] == 2:
            raise StopError

    config = dense_config()
    with pytest.raises(StopError):
        run(config, tmp_path / "run", on_record=stop_after_three)
    resumed = run(config, tmp_path / "run")
    for ours, theirs in zip(resumed.records, finished.records, strict=True):
        assert ours | {"wall_seconds": 0} == theirs | {"wall_seconds": 0}
    _, state = load_run(resumed.workdir)
    assert float(abs(state.client_memory).max()) > 0
    jax.tree.map(np.testing.assert_array_equal, state, load_run(finished.workdir)[1])


def test_shorter_messages_and_the_broadcast_are_counted(finished):
    params = load_run(finished.workdir)[1].params
    for record in finished.records:
        assert 0 < record["uplink_bytes"] < record["planned_uplink_bytes"]
        assert record["downlink_bytes"] == 3 * payload_bytes(params, 8)
    assert finished.summary["downlink_bytes"] == 4 * 3 * payload_bytes(params, 8)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"quantization__name": "magic"}, "quantization.name must be one of stochastic"),
        ({"quantization__downlink_bits": 17}, r"downlink_bits must be 1\.\.16 or 32, got 17"),
        (
            {"quantization__error_feedback": True, "federated__mode": "model"},
            "error_feedback needs mode 'update'",
        ),
        (
            {"quantization__name": "none", "allocator__method": "fixed_bits:8"},
            "sends fewer bits than quantization.name needs, 32",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(overrides, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(pixel_config(**overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_memories_that_do_not_fit_are_refused_with_their_size(monkeypatch):
    monkeypatch.setattr("fedjax_diffusion.experiment.kept_memory.count_memory_bytes", lambda: 2**10)
    with pytest.raises(ValueError, match=r"keeps a model per client, .* GiB for 3 clients"):
        build(pixel_config(quantization__error_feedback=True))
