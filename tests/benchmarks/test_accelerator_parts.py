"""Every part of the accelerator session, rehearsed on the CPU at a tiny size.

Three minutes long: run it by name before a session.
"""

import contextlib
import functools
import io
import runpy
import subprocess
import sys
import time

import jax
import pytest

from benchmarks import accelerator_session
from benchmarks.session import compile as compile_
from benchmarks.session import (
    correctness,
    large,
    medium,
    real,
    runs,
    sampling,
    small,
    start,
)
from benchmarks.session.child import Ended
from benchmarks.session.record import ROOT, read_session
from fedjax_diffusion.data import sources
from fedjax_diffusion.diffusion import Denoiser
from fedjax_diffusion.experiment.networks import NETWORKS, UNET
from tests.data.prepared import write_cifar10

pytestmark = pytest.mark.slow
REHEARSED = (start, correctness, small, medium, large, sampling, real, compile_)
"""Parts that train a network: here, in this process, one that is compiled at once."""


def make_scale(config, image_shape, **_):
    """Returns a network that scales each channel, in the place of a U-Net."""

    def init(key):
        return {"scale": jax.random.normal(key, image_shape[-1:])}

    def apply(params, x_t, t, dropout_key=None, labels=None):
        return x_t * params["scale"].reshape(1, 1, 1, -1)

    return Denoiser(init, apply)


class Lines(io.StringIO):
    """A stream that keeps its lines and tells them."""

    def __init__(self, on_line):
        super().__init__()
        self.start, self.lines, self._on_line = time.perf_counter(), [], on_line
        self._outer = sys.stdout

    def write(self, text):
        super().write(text)
        *whole, rest = self.getvalue().split("\n")
        self.seek(0)
        self.truncate()
        super().write(rest)
        for line in whole:
            self.lines.append((time.perf_counter() - self.start, line))
            if self._on_line is not None:
                with contextlib.redirect_stdout(self._outer):
                    self._on_line(*self.lines[-1])
        return len(text)


def run_here(command, limit, *, env, cwd, on_line=None):
    """Stands for ``run_child``: runs ``python -m MODULE ...`` in this process."""
    stream, code = Lines(on_line), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(stream):
        patch.setattr(sys, "argv", command[2:])
        patch.delitem(sys.modules, command[2], raising=False)
        patch.setattr(sources, "LOADERS", dict(sources.LOADERS))
        patch.chdir(cwd)
        try:
            runpy.run_module(command[2], run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
    return Ended(code, time.perf_counter() - stream.start, stream.lines)


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    """Plays every part once; returns the folder and what the command printed, first and again."""
    output, data_dir = tmp_path_factory.mktemp("session"), tmp_path_factory.mktemp("tfds")
    write_cifar10(data_dir, 64)
    flags = [f"--output={output}", "--tiny"]
    command = [sys.executable, "benchmarks/accelerator_session.py", *flags]
    first = subprocess.check_output([*command, "--parts=real,quantize"], cwd=ROOT, text=True)
    machine = read_session(output)["machine"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, UNET, NETWORKS[UNET]._replace(make=make_scale))
        patch.setattr(runs, "run_child", run_here)
        patch.setattr(compile_, "run_child", functools.partial(run_here, cwd=ROOT))
        for part in REHEARSED:
            data = [f"--data_dir={data_dir}"] if part is real else []
            part.main([*flags, *data])
        patch.setattr(accelerator_session, "ask_machine", lambda: machine)
        with contextlib.redirect_stdout(io.StringIO()) as again:
            assert accelerator_session.main(flags) == 0
    return output, (first, again.getvalue())


def test_every_part_is_complete_and_measures_every_case(rehearsal):
    parts = read_session(rehearsal[0])["parts"]
    assert set(parts) == set(accelerator_session.LIMITS)
    for name, entry in parts.items():
        assert entry["is_complete"], name
        assert entry["cases"], name
        for case, values in entry["cases"].items():
            if "PyTorch" in case:  # the environment of the tests does not hold it
                assert values["not_measured"] == "RuntimeError: PyTorch is not installed"
            else:
                assert "not_measured" not in values, (name, case, values)


def test_the_start_of_a_run_is_timed_line_by_line(rehearsal):
    cases = read_session(rehearsal[0])["parts"]["start"]["cases"]
    assert list(cases) == ["default, cold", "default, warm", "cifar10, cold"]
    for values in cases.values():
        times = [values[name] for name in ("header_seconds", "first_round_seconds")]
        assert 0 < times[0] < times[1] < values["whole_seconds"]
        assert values["num_rounds"] == len(values["round_seconds"]) == 2
        assert values["loss"] > 0
        assert values["megabytes"] > 0
    assert cases["cifar10, cold"]["compute"]["dtype"] == "bfloat16"


def test_the_device_is_held_against_the_cpu(rehearsal):
    cases = read_session(rehearsal[0])["parts"]["correctness"]["cases"]
    for name in ("codes, 8 bits", "wire, 8 bits"):
        assert cases[name]["is_equal"]
    for num_bits in (32, 8):  # the device is the CPU, only the lowering differs
        assert cases[f"round, {num_bits} bits, map/stock"]["max_difference"] < 1e-6
    assert cases["losses, default and highest precision"]["mean_difference"] == 0
    assert cases["pytest -m gpu"]["is_passed"]


def test_choice_limit_and_copy_are_measured(rehearsal):
    parts = read_session(rehearsal[0])["parts"]
    small_cases = parts["small"]["cases"]
    assert small_cases["K=2, auto"]["choice"]
    for case in ("K=2, auto", "K=2, vmap/matmul", "K=2, scan x2/matmul", "K=2, map/stock"):
        assert small_cases[case]["milliseconds_per_client_step"] > 0
    assert parts["large"]["cases"]["map/stock, bfloat16"]["step_flops"] > 0
    assert parts["quantize"]["cases"]["copy"]["gigabytes_per_second"] > 0
    assert parts["compile"]["cases"]["step, stock, a run's flags"]["num_while"] > 0


def test_what_comes_back_is_a_few_small_files(rehearsal):
    output, _ = rehearsal
    names = {path.name for path in output.iterdir()}
    assert names == {"session.json", "session.log", "real_on_demand.png"}
    assert max(path.stat().st_size for path in output.iterdir()) < 1e6
    assert (output / "real_on_demand.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_call_goes_on_and_shows_the_whole_table(rehearsal):
    output, (first, second) = rehearsal
    assert "no --data_dir with CIFAR-10 was given" in first
    assert "quantize: copy: milliseconds" in first
    for name in accelerator_session.LIMITS:
        assert f"== {name}: complete already" in second
    rows = {row["what"]: row for row in read_session(output)["table"]}
    for what in (
        "run, cold cache: first round's line",
        "codes equal to the CPU's",
        "0.27M, K=2, auto / best",
        "quantize-dequantize, rows, 8 bits, of a copy's rate",
        "real CIFAR-10, on demand",
    ):
        assert rows[what]["value"] is not None
        assert what in second
    assert rows["4.24M: ours / PyTorch eager"]["value"] is None
    assert "PyTorch is not installed" in rows["4.24M: ours / PyTorch eager"]["note"]
