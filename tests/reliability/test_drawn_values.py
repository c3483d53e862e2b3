"""Values and command lines drawn over the table of settings: one line, and nothing is written.

Every piece of the long form draws its own, always the same.
"""

import shutil
import time

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fedjax_diffusion.cli.main import main
from fedjax_diffusion.experiment.build import build, check_config
from fedjax_diffusion.experiment.config import load_config, to_run_config
from tests.reliability.drawn_values import KINDS, draw_text, draw_value, is_refused
from tests.tiny import OVERRIDES

MAX_LINE, MAX_SECONDS = 1000, 60
QUICK = {"compute.tune": "guess"} | OVERRIDES
CONFIG = """
from tests.tiny import pixel_config
def get_config():
    return pixel_config(
        num_rounds=1, sampling__num_samples=2, compute__tune="guess", study__rounds=2,
        study__time_budgets_seconds=(20,), study__distances_meters=(100,),
        study__methods=("full_precision", "full_precision:max_frequency", "fixed_bits:8"),
    )
"""
PLAYED = (
    *("seed", "round_schedule", "cohort_size", "partition.name", "partition.alpha"),
    *("partition.shards_per_client", "diffusion.name", "local_work.local_epochs"),
    *("client_optimizer", "server_optimizer", "federated", "quantization", "devices", "channel"),
    *("workload", "allocator", "sampling.eta", "sampling.guidance_scale", "sampling.sampler"),
)
"""Settings, or groups, with which a tiny run is tiny whatever their values are."""
COMMANDS = {
    "run": ("--workdir=out",),
    "study": ("--workdir=out",),
    "data": ("--output=out",),
    "sweep": ("--workdir=out", "--dry_run", "--sweep.seed=1,2"),
    "compare": ("--workdir=out", "--dry_run", "--config.compare.num_seeds=2"),
}


def play(number, strategy, check, piece=0):
    """Checks a number of examples, the same for the same piece; the first failure is reported."""
    how = settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    seed(piece)(how(given(strategy)(check)))()


def find_refusal(action):
    """Returns the message of the ValueError that an action raises, None if it raises none."""
    try:
        action()
    except ValueError as error:
        text = str(error)
        assert 0 < len(text) < MAX_LINE
        assert len(text.splitlines()) == 1
        return text
    return None


def check_value_of(key, value):
    """Checks that a config is refused in one line that names the key, or can be built."""
    refusal = find_refusal(lambda: to_run_config(load_config("digits", {**QUICK, key: value})))
    if refusal is not None:
        assert key.split(".")[-1] in refusal or key.split(".")[0] in refusal
        return
    config = to_run_config(load_config("digits", {**QUICK, key: value}))
    refusal = find_refusal(lambda: check_config(config))
    assert (find_refusal(lambda: build(config)) is None) == (refusal is None), refusal


@st.composite
def draw_setting(draw):
    """Draws a key and a value."""
    key = draw(st.sampled_from(tuple(KINDS)))
    return key, draw(draw_value(key))


@st.composite
def draw_line(draw):
    """Draws a command with one or two settings, most of which the table refuses."""
    command = draw(st.sampled_from(tuple(COMMANDS)))
    line = [command, "--config=mine.py", *COMMANDS[command]]
    for _ in range(draw(st.integers(1, 2))):
        key = draw(st.sampled_from([key for key in KINDS if not key.startswith("model.")]))
        text = draw(draw_text(key))
        if is_refused(key, text) or key.startswith(PLAYED):
            line.append(f"--config.{key}={text}")
    return line


def list_files(folder):
    """Returns the files of a folder, without the bytecode of config files."""
    paths = (path.relative_to(folder) for path in folder.rglob("*"))
    return [str(path) for path in paths if path.parts[0] not in ("__pycache__", "mine.py")]


def check_line(line, capsys, folder):
    """Checks exit code, stderr and files of one command in a folder with its config only."""
    start = time.process_time()  # other work on the machine does not count
    code = main(line)
    seconds, printed, written = time.process_time() - start, capsys.readouterr(), list_files(folder)
    shutil.rmtree(folder / "out", ignore_errors=True)
    assert seconds < MAX_SECONDS
    assert {path.split("/")[0] for path in written} <= {"out"}
    assert "Traceback" not in printed.out + printed.err
    if code == 2:
        assert printed.err.startswith("fedjax-diffusion: ")
        assert len(printed.err.splitlines()) == 1
        assert len(printed.err) < MAX_LINE
        assert written == []
    elif code == 1:
        assert "step" in printed.err or "diverged" in printed.err
    else:
        assert code == 0


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, which holds a config and nothing else."""
    (tmp_path / "mine.py").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_few_values_are_refused_or_built(folder):
    play(40, draw_setting(), lambda setting: check_value_of(*setting))
    assert list_files(folder) == []


def test_a_few_command_lines_end_with_one_line(folder, capsys):
    play(12, draw_line(), lambda line: check_line(line, capsys, folder))


@pytest.mark.slow
@pytest.mark.parametrize("piece", range(1, 11))
def test_2000_values_are_refused_or_built(piece, folder):
    play(200, draw_setting(), lambda setting: check_value_of(*setting), piece)
    assert list_files(folder) == []


@pytest.mark.slow
@pytest.mark.parametrize("piece", range(1, 11))
def test_500_command_lines_end_with_one_line(piece, folder, capsys):
    play(50, draw_line(), lambda line: check_line(line, capsys, folder), piece)
