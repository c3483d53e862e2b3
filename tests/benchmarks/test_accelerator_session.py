"""The accelerator session's driver, its record and its table."""

import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from benchmarks import accelerator_session
from benchmarks.session import noise_run, real, runs, start
from benchmarks.session.child import run_child
from benchmarks.session.compile_probe import count_operations
from benchmarks.session.record import Part, Setting, read_session, write_session
from benchmarks.session.table import NOT_MEASURED, list_rows
from fedjax_diffusion import load_config

MACHINE = {"device": "here", "jax": "0", "platform": "cpu"}


@pytest.fixture
def session(monkeypatch, tmp_path):
    """Returns what plays the session in this process, on a machine that nobody asks for."""
    monkeypatch.setattr(accelerator_session, "ask_machine", lambda: MACHINE)
    return lambda *flags: accelerator_session.main([f"--output={tmp_path}", *flags])


def test_the_table_of_nothing_says_not_measured_beside_every_aim(session, tmp_path, capsys):
    assert session("--minutes=0") == 0
    text = capsys.readouterr().out
    assert text.count("not begun") == len(accelerator_session.LIMITS)
    rows = list_rows({})
    assert all(row.value is None and row.is_met is None for row in rows)
    assert text.count(NOT_MEASURED) == len(rows)
    for aim in ("<= 25 s", "<= 0.08 ms", ">= 30 %", "<= 0.9", ">= 60 %", "<= 60 s"):
        assert aim in text
    assert (tmp_path / "session.log").read_text().endswith(text[-200:])


def test_a_part_that_outlasts_its_limit_is_ended_and_the_session_goes_on(session, capsys):
    assert session("--parts=quantize,start", "--limit=0.05") == 0
    text = capsys.readouterr().out
    assert "== quantize: ended at its limit of 0 s" in text
    assert "== start: ended at its limit of 0 s" in text


def test_complete_parts_are_left_out_on_the_same_machine_only(session, tmp_path, capsys):
    write_session(tmp_path, {"machine": MACHINE, "parts": {}})
    Part("quantize", Setting(tmp_path)).complete()
    Part("sampling", Setting(tmp_path, is_tiny=True)).complete()
    session("--minutes=0")
    text = capsys.readouterr().out
    assert "quantize: complete already" in text
    assert "sampling: not begun" in text
    content = read_session(tmp_path)
    content["parts"]["quantize"]["device"] = "another"
    write_session(tmp_path, content)
    session("--minutes=0")
    assert "quantize: not begun" in capsys.readouterr().out
    session("--minutes=0", "--again", "--parts=quantize")
    assert list(read_session(tmp_path)["parts"]) == ["sampling"]


def test_no_machine_is_said_in_a_line(monkeypatch, tmp_path, capsys):
    def fail():
        raise RuntimeError("exit code 1: no device")

    monkeypatch.setattr(accelerator_session, "ask_machine", fail)
    assert accelerator_session.main([f"--output={tmp_path}"]) == 1
    assert "nothing was measured: exit code 1: no device" in capsys.readouterr().out


def test_an_unknown_part_is_refused(session, capsys):
    with pytest.raises(SystemExit):
        session("--parts=smal")
    assert "got smal" in capsys.readouterr().err


SLOW_PART = """
import sys, time
from pathlib import Path
from benchmarks.session.child import end_on_request, run_child
from benchmarks.session.record import Part, Setting
end_on_request()
part = Part("small", Setting(Path(sys.argv[1])))
part.measure("fast", lambda: {"value": 1})
part.measure("wrong", lambda: 1 / 0)
sleep = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
note = lambda _, text: part.keep("slow", part.cases["slow"] | {"pid": int(text)})
part.measure("slow", lambda: run_child([sys.executable, "-c", sleep], 60, on_line=note))
"""


def test_a_part_ended_at_its_limit_leaves_what_it_had_and_no_process(tmp_path):
    write_session(tmp_path, {"machine": MACHINE, "parts": {}})
    ended = run_child([sys.executable, "-c", SLOW_PART, str(tmp_path)], 2.0)
    assert ended.code is None
    cases = read_session(tmp_path)["parts"]["small"]["cases"]
    assert cases["fast"]["value"] == 1
    assert cases["wrong"]["not_measured"] == "ZeroDivisionError: division by zero"
    assert cases["slow"]["not_measured"] == "cut off"
    with pytest.raises(ProcessLookupError):
        os.kill(cases["slow"]["pid"], 0)


def test_cases_are_not_measured_twice_and_not_begun_for_ever(tmp_path):
    def interrupt():
        raise SystemExit

    setting, counts = Setting(tmp_path), []
    write_session(tmp_path, {"machine": MACHINE, "parts": {}})
    for _ in range(3):
        part = Part("small", setting)
        part.measure("done", lambda: counts.append("done") or {"value": 1})
        for _ in range(2):
            if part.cases.get("slow", {}).get("attempts", 0) < 2:
                with pytest.raises(SystemExit):
                    part.measure("slow", interrupt)
        assert "not_measured" in part.measure("slow", lambda: counts.append("slow") or {})
    assert counts == ["done"]


def test_a_child_tells_its_lines_with_their_moments_and_why_it_failed():
    script = "import time; print('a', flush=True); time.sleep(0.3); print('b'); raise SystemExit(3)"
    ended = run_child([sys.executable, "-c", script], 30)
    (first, _), (second, _) = ended.lines
    assert second - first > 0.2
    assert ended.reason == "exit code 3: b"


def test_a_run_that_is_refused_is_told_with_its_reason(tmp_path):
    write_session(tmp_path, {"machine": MACHINE, "parts": {}})
    part = Part("start", Setting(tmp_path, is_tiny=True))
    run = runs.Run(["--config.num_rounds=0"], tmp_path / "cache", 60.0)
    values = part.measure("refused", lambda: runs.play(part, "refused", run))
    assert "num_rounds must be a whole number in 1..2147483647, got 0" in values["not_measured"]
    assert "exit code 2" in values["not_measured"]
    assert values["whole_seconds"] > 0


def test_the_environment_of_a_run_keeps_nothing_but_in_its_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_use_onednn=false")
    environment = runs.make_environment(tmp_path, is_tiny=False)
    assert not {"XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR"} & set(environment)
    assert environment["XDG_CACHE_HOME"] == str(tmp_path)


@pytest.mark.parametrize("changed", [start.SHORT, real.SETTINGS])
def test_settings_of_the_cifar10_runs_are_settings(changed):
    assert load_config("cifar10", changed).compute.dtype == "bfloat16"


def test_full_size_arguments_take_the_data_where_there_are_any():
    module, arguments = start.list_arguments("cifar10", Setting(Path(), data_dir="/data"))
    assert module == "fedjax_diffusion"
    assert "--config.data.data_dir=/data" in arguments
    assert start.list_arguments("default", Setting(Path())) == ("fedjax_diffusion", [])


def test_noise_is_a_data_set_of_the_shape_of_cifar10():
    dataset = noise_run.load_noise("noise", "train")
    assert dataset.images.shape[1:] == (32, 32, 3)
    assert dataset.num_classes == 10


def test_equal_operations_are_counted_once():
    def product_twice(x, y):
        return (x @ y) @ y

    x, y = jnp.zeros((2, 3)), jnp.zeros((3, 3))
    counts = count_operations(jax.jit(product_twice).lower(x, y).as_text())
    assert counts == {"num_dot_general": 2, "distinct_dot_general": 1}
