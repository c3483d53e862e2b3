"""Commands that are killed, or started several times at once, end as if nothing had happened."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedjax_diffusion import run
from fedjax_diffusion.runs.records import METRICS, SUMMARY, read_metrics
from tests.reliability.broken import config_of, interrupt
from tests.reliability.test_resumption import FLAGS, without_time

FIGURE = "training.png"
"""Made of the records alone, and left empty here where a test plays the run itself."""
FORKS = Path(__file__).with_name("forks.py")
VARIANTS = ("full_precision: allocator.method=full_precision", "two: allocator.method=fixed_bits:2")
BASELINES = ("full_precision", "full_precision:max_frequency")
COMMANDS = {
    "run": ["run", *FLAGS],
    "sweep": ["sweep", *FLAGS, "--sweep.seed=0..1", "--no_evaluation"],
    "compare": [
        *("compare", *FLAGS),
        "--config.evaluation.num_samples=24",
        f"--config.allocator.baselines={BASELINES}",
        f"--config.compare.variants={VARIANTS}",
        "--config.compare.num_seeds=2",
    ],
}
KILLED = COMMANDS | {"run": [*COMMANDS["run"], "--config.num_rounds=200"]}
LATEST = {"run": 0.3, "sweep": 0.6, "compare": 0.6}
"""Of a play's time, the latest moment of a signal: most of nine come before the end."""
PLANS = [("run", seed) for seed in range(5)]
PLANS += [(command, seed) for command in ("sweep", "compare") for seed in range(3)]
KILLS = 9
"""Of each plan: 99 in all, less those that come after its end."""


def play(**asked):
    """Returns the exit codes and the stderr of forks."""
    command = [sys.executable, str(FORKS), json.dumps(asked)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def read_results(folder, besides=None):
    """All that must be equal, by relative path: states, images, records and totals.

    Besides the files of a name.
    """
    results = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.name == METRICS:
            results[name] = without_time(read_metrics(path.parent))
        elif path.name == SUMMARY:
            results[name] = json.loads(path.read_text()) | {"wall_seconds": 0}
        elif path.name == "leaves.bin" or (path.suffix == ".png" and path.name != besides):
            results[name] = path.read_bytes()
    return results


@pytest.fixture(scope="module")
def undisturbed(compiled_so, tmp_path_factory):
    """Results and seconds of each command, played once without disturbance."""
    del compiled_so
    played = {}

    def find(command):
        if command not in played:
            folder, start = tmp_path_factory.mktemp(command) / "folder", time.monotonic()
            for _ in range(2):  # the second one without compilation
                start, folder = time.monotonic(), folder.with_name(f"{folder.name}-")
                arguments = [*KILLED[command], f"--workdir={folder}"]
                answer = play(play="race", command=arguments, seed=0, processes=1)
                assert answer["exit_codes"] == [0], answer
            played[command] = read_results(folder), time.monotonic() - start
        return played[command]

    return find


@pytest.mark.slow
@pytest.mark.parametrize(("command", "seed"), PLANS)
def test_a_command_that_is_killed_again_and_again_ends_with_the_same_bits(
    undisturbed, tmp_path, command, seed
):
    expected, seconds = undisturbed(command)
    seconds *= LATEST[command]
    arguments = [*KILLED[command], f"--workdir={tmp_path}/folder"]
    answer = play(play="kill", command=arguments, seed=seed, seconds=seconds, times=KILLS)
    print(command, seed, answer["exit_codes"])
    assert set(answer["exit_codes"]) <= {0, -9, 143, -15}, "-15: before or after its work"
    assert answer["exit_codes"][-1] == 0
    assert not [error for error in answer["errors"] if "Traceback" in error]
    assert read_results(tmp_path / "folder") == expected
    assert not list(tmp_path.rglob(".*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3, 4])
@pytest.mark.parametrize("seed", range(17))
def test_of_several_processes_on_a_folder_one_plays(finished, tmp_path, seed, processes):
    folder = interrupt(finished, tmp_path / "run")
    arguments = [*COMMANDS["run"], f"--workdir={folder}"]
    answer = play(play="race", command=arguments, seed=seed, processes=processes)
    codes = answer["exit_codes"]
    print(processes, seed, codes)
    assert codes.count(0) >= 1
    for code, error in zip(codes, answer["errors"], strict=True):
        assert code in (0, 2)
        assert "Traceback" not in error
        assert code == 0 or re.fullmatch(r"fedjax-diffusion: .* works on it since .*\n", error)
    assert read_results(folder, FIGURE) == read_results(finished, FIGURE)


def check_full_disk(finished, folder, monkeypatch, number):
    """Fills the disk at a write of a run; returns whether the run needed that write."""
    folder, calls = interrupt(finished, folder), []

    def sync(descriptor):
        calls.append(descriptor)
        if len(calls) > number:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", sync)
        try:
            run(config_of(), folder)
            said = ""
        except ValueError as error:
            said = str(error)
    assert said == "" or "No space left on device; make room and repeat the command" in said
    assert "\n" not in said
    run(config_of(), folder)
    assert read_results(folder, FIGURE) == read_results(finished, FIGURE)
    return len(calls) > number


def test_a_full_disk_is_one_line_and_the_run_goes_on_once_there_is_room(
    finished, tmp_path, monkeypatch
):
    for number in (2, 9):
        assert check_full_disk(finished, tmp_path / str(number), monkeypatch, number)


@pytest.mark.slow
def test_the_disk_may_be_full_at_every_write(finished, tmp_path, monkeypatch):
    number = 0
    while check_full_disk(finished, tmp_path / str(number), monkeypatch, number):
        number += 1
    print(f"{number} writes")
    assert number > 20


@pytest.mark.slow
@pytest.mark.parametrize("max_bytes", [0, 100, 300, 1000, 3000, 10_000, 20_000, 40_000])
def test_a_file_that_may_not_grow_is_one_line(finished, tmp_path, max_bytes):
    folder = interrupt(finished, tmp_path / "run")
    arguments = [*COMMANDS["run"], f"--workdir={folder}"]
    answer = play(play="fill", command=arguments, max_bytes=max_bytes)
    print(max_bytes, answer)
    assert answer["exit_codes"][0] in (0, 2)
    assert "Traceback" not in answer["errors"][0]
    assert play(play="race", command=arguments, seed=0, processes=1)["exit_codes"] == [0]
    assert read_results(folder, FIGURE) == read_results(finished, FIGURE)
