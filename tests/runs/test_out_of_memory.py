"""A round that does not fit: lighter ways are tried, said and recorded, and the run goes on."""

import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from fedjax_diffusion import load_run, run
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.experiment import compute
from fedjax_diffusion.experiment.guesses import find_guess
from fedjax_diffusion.experiment.memory import DeviceMemoryError, lighten
from fedjax_diffusion.experiment.sampling import _draw_in_turn
from fedjax_diffusion.experiment.training import Learner
from fedjax_diffusion.runs import rounds
from tests.experiment.test_autotune import Shown
from tests.tiny import PIXELS, pixel_config

OUT_OF_MEMORY = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 5 bytes."


@pytest.fixture
def small_device(monkeypatch):
    """A device that fits one client, and whose table says that all are trained at once."""
    make, played = Learner.make_simulator, []

    def make_simulator(self, compute, *work):
        simulator = make(self, compute, *work)

        def step(*arguments):
            played.append((compute.client_map, compute.chunk_size))
            if compute.client_map != "map":
                jax.tree.map(lambda x: x.delete(), arguments[1].params)  # as donation does
                raise jax.errors.JaxRuntimeError(OUT_OF_MEMORY)
            return simulator.step(*arguments)

        return simulator._replace(step=step)

    # Of all that the tests hold it takes a second; the state's arrays are deleted above.
    monkeypatch.setattr(rounds, "gc", SimpleNamespace(collect=lambda: None))
    at_once = find_guess("gpu", 1.0)
    monkeypatch.setattr(Learner, "make_simulator", make_simulator)
    monkeypatch.setattr(compute, "find_guess", lambda *_: at_once)
    monkeypatch.setattr(compute, "guess_mapping", lambda *_: ("vmap", None))
    return played


def test_a_run_goes_on_in_a_lighter_way_says_so_and_keeps_to_it(tmp_path, small_device):
    progress = Shown()
    result = run(pixel_config(num_rounds=2), tmp_path / "run", progress=progress)
    assert small_device == [("vmap", None), ("map", None), ("map", None)]
    assert [line["round"] for line in result.records] == [0, 1]
    assert progress.lines[0] == (
        "out of the device's memory: clients by vmap, convolutions by matmul; now clients by map, "
        "convolutions by plain"
    )
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["compute"]["client_map"] == "map"
    assert environment["compute_changes"] == progress.lines
    assert load_run(tmp_path / "run")[0].compute.client_map == "map"


def test_a_way_that_was_asked_for_is_not_changed_but_the_next_one_named(
    tmp_path, small_device, capsys
):
    flags = [*PIXELS, "--config.compute.client_map=vmap"]
    assert main(["run", f"--workdir={tmp_path / 'run'}", *flags]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "does not fit into the device's memory (clients by vmap, " in error
    assert "set compute.client_map=map and choose another --workdir" in error
    assert len(small_device) == 1


def test_where_nothing_is_lighter_the_end_is_one_line(tmp_path, monkeypatch, small_device):
    monkeypatch.setattr("fedjax_diffusion.experiment.build.lighten", lambda *_, **__: None)
    with pytest.raises(DeviceMemoryError, match=r"set a smaller local_work\.batch_size"):
        run(pixel_config(num_rounds=2), tmp_path / "run")


def test_other_failures_of_a_device_are_one_line_and_exit_code_1(tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: the driver\nis gone " + "x" * 9999)

    monkeypatch.setattr(Learner, "make_simulator", fail)
    assert main(["run", f"--workdir={tmp_path / 'run'}", *PIXELS]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fedjax-diffusion: the device failed: INTERNAL: the driver is gone xx")
    assert error.count("\n") == 1
    assert len(error) < 500


def test_ways_grow_lighter_to_the_last_one():
    way, names = compute.ComputeConfig("chunked", 64, "stock"), []
    while way is not None:
        names.append((way.client_map, way.chunk_size, way.conv, way.remat))
        way = lighten(way, 512, "gpu", is_conv_free=False)
    assert names == [
        ("chunked", 64, "stock", False),
        ("chunked", 16, "stock", False),
        ("chunked", 4, "stock", False),
        ("map", None, "stock", False),
        ("map", None, "stock", True),
    ]


def test_batches_of_images_are_halved_until_they_fit():
    sizes = []

    def draw(numbers):
        sizes.append(len(numbers))
        if len(numbers) > 4:
            raise jax.errors.JaxRuntimeError(OUT_OF_MEMORY)
        return numbers

    drawn = np.concatenate([*_draw_in_turn(draw, 9, 2, lambda: 8)])
    assert sizes == [10, 4, 4, 4]
    np.testing.assert_array_equal(drawn[:9], np.arange(9))
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        list(_draw_in_turn(draw, 99, 5, lambda: 1))
