"""A run goes on from what is whole and its own, and says what it left aside."""

import json
import shutil

import pytest

from fedjax_diffusion import load_run, run
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.data import load_images
from fedjax_diffusion.experiment.checkpoint_files import LEAVES, METADATA
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.runs.records import METRICS, read_metrics
from fedjax_diffusion.runs.resumption import find_start, open_checkpoints
from tests.reliability.broken import change_lines, config_of, contents, flip, interrupt
from tests.tiny import PIXELS

FLAGS = [*PIXELS, "--config.checkpoint.every_rounds=1", "--config.checkpoint.keep=9"]


def start_of(folder, config=None, every_rounds=1):
    """The round at which a run would go on."""
    config = to_run_config(config or config_of())
    checkpoints = open_checkpoints(folder, config, load_images(**vars(config.data)))
    return find_start(folder, checkpoints, every_rounds)


def newest(folder, name=""):
    return folder / "checkpoints" / "2" / name


def without_time(records):
    return [{k: v for k, v in record.items() if k != "wall_seconds"} for record in records]


def test_an_unharmed_run_goes_on_at_its_newest_checkpoint(interrupted, caplog):
    assert start_of(interrupted) == 2
    assert not caplog.records


DAMAGES = {
    "a flipped bit": lambda path: flip(path / LEAVES, 8 * 1000),
    "cut": lambda path: (path / LEAVES).write_bytes((path / LEAVES).read_bytes()[:100]),
    "without metadata": lambda path: (path / METADATA).unlink(),
    "an empty folder": lambda path: [file.unlink() for file in path.iterdir()],
    "a file": lambda path: (shutil.rmtree(path), path.write_text("")),
    "renamed": lambda path: path.rename(path.with_name("99")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_is_set_aside(interrupted, damage, caplog):
    DAMAGES[damage](newest(interrupted))
    assert start_of(interrupted) == 1
    (record,) = caplog.records
    number = 99 if damage == "renamed" else 2
    assert str(interrupted / "checkpoints" / str(number)) in record.getMessage()
    assert f"set aside as damaged-{number}, going on at round 1" in record.getMessage()
    names = {path.name for path in (interrupted / "checkpoints").iterdir()}
    assert names == {"1", f"damaged-{number}"}
    assert start_of(interrupted) == 1


def test_a_checkpoint_of_another_seed_is_not_taken(interrupted):
    with pytest.raises(ValueError, match=r"2: it is of another run \(seed: 0 there, 7 here\)"):
        start_of(interrupted, config_of(seed=7))
    assert {path.name for path in (interrupted / "checkpoints").iterdir()} == {"1", "2"}


def test_settings_that_do_not_decide_the_state_may_differ(interrupted):
    config = config_of(sampling__num_samples=9, evaluation__num_samples=30, num_rounds=9)
    assert start_of(interrupted, config) == 2
    with pytest.raises(ValueError, match="of another run"):
        start_of(interrupted, config_of(round_schedule="cosine"))


def test_lost_checkpoints_are_no_silent_new_start(interrupted):
    shutil.rmtree(interrupted / "checkpoints")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"has no checkpoint, but metrics.jsonl has 2 rounds"):
            start_of(interrupted)
        (interrupted / "checkpoints").mkdir(exist_ok=True)
    assert len(read_metrics(interrupted)) == 2


def test_rounds_before_the_first_checkpoint_are_played_again_and_it_is_said(interrupted, caplog):
    shutil.rmtree(interrupted / "checkpoints")
    path = interrupted / "environment.json"
    environment = json.loads(path.read_text())
    path.write_text(json.dumps(environment | {"has_checkpoint": False}))
    assert start_of(interrupted, every_rounds=1) == 0
    assert "no checkpoint yet, 2 rounds are played again" in caplog.text
    del environment["has_checkpoint"]  # of an earlier version
    path.write_text(json.dumps(environment))
    assert start_of(interrupted, every_rounds=2) == 0
    with pytest.raises(ValueError, match="has no checkpoint, but"):
        start_of(interrupted, every_rounds=1)


def test_with_no_good_checkpoint_the_way_out_is_named_and_nothing_moved(interrupted):
    for round in (1, 2):
        flip(interrupted / "checkpoints" / str(round) / LEAVES, 99)
    with pytest.raises(ValueError, match=r"no checkpoint can be used .*--restart"):
        start_of(interrupted)
    assert {path.name for path in (interrupted / "checkpoints").iterdir()} == {"1", "2"}


def double(line):
    return json.dumps(json.loads(line) | {"total_joules": 1.0}).encode() + b"\n"


CHANGES = {
    "a changed number": (lambda lines: [double(lines[0]), lines[1]], 1),
    "a line twice": (lambda lines: [lines[0], lines[0], lines[1]], 2),
    "swapped lines": (lambda lines: [lines[1], lines[0]], 1),
    "a line lost": (lambda lines: [lines[1]], 1),
    "5": (lambda lines: [lines[0], b"5\n"], 2),
    "no JSON": (lambda lines: [lines[0], b'{"round": 1, "los\n'], 2),
    "spaces": (lambda lines: [lines[0], lines[1].replace(b": ", b":")], 2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_record_is_refused_by_file_and_line(interrupted, change):
    function, line = CHANGES[change]
    change_lines(interrupted, function)
    before = contents(interrupted)
    with pytest.raises(ValueError, match=rf"metrics\.jsonl, line {line}: not the line .*--restart"):
        start_of(interrupted)
    assert contents(interrupted) == before


def test_a_record_that_was_cut_is_played_again_from_an_older_checkpoint(interrupted, caplog):
    change_lines(interrupted, lambda lines: [lines[0], lines[1][:50]])
    assert start_of(interrupted) == 1
    assert "metrics.jsonl, line 2: missing or cut off" in caplog.text
    assert (interrupted / "checkpoints" / "ahead-2").is_dir()


def test_a_lost_record_is_refused(interrupted):
    (interrupted / METRICS).unlink()
    with pytest.raises(ValueError, match=r"line 1: missing or cut off.*--restart"):
        start_of(interrupted)


def test_a_run_with_a_damaged_checkpoint_ends_with_the_same_bits(finished, tmp_path, caplog):
    folder = interrupt(finished, tmp_path / "bits[4,8] \\ é" / "run", rounds=3)
    flip(folder / "checkpoints" / "3" / LEAVES, 8 * 500)
    change_lines(folder, lambda lines: [*lines, b'{"round": 3, "lo'])
    (folder / ".summary.json.123.tmp").write_text("half")
    (folder / "checkpoints" / ".4.123.tmp").mkdir()
    assert main(["run", f"--workdir={folder}", *FLAGS]) == 0
    (record,) = caplog.records
    assert "damaged-3, going on at round 2" in record.getMessage()
    assert without_time(read_metrics(folder)) == without_time(read_metrics(finished))
    names = {path.name for path in (folder / "checkpoints").iterdir()}
    assert names == {"1", "2", "3", "4", "damaged-3"}
    assert not (folder / ".summary.json.123.tmp").exists()
    same = ("checkpoints/4/leaves.bin", "samples/round_00004.png")
    assert all((folder / name).read_bytes() == (finished / name).read_bytes() for name in same)
    summaries = [json.loads((f / "summary.json").read_text()) for f in (folder, finished)]
    assert len({json.dumps(s | {"wall_seconds": 0}) for s in summaries}) == 1


def test_a_restart_keeps_the_old_files_beside(finished, tmp_path):
    folder = interrupt(finished, tmp_path / "run")
    shutil.rmtree(folder / "checkpoints")
    before = contents(folder)
    with pytest.raises(ValueError, match="--restart"):
        run(config_of(), folder)
    started_at = []
    stop = lambda _, first: started_at.append(first) or 1 / 0  # noqa: E731
    with pytest.raises(ZeroDivisionError):
        run(config_of(), folder, on_start=stop, restart=True)
    assert started_at == [0]
    kept = contents(folder / "before_restart_1")
    assert kept == {name: before[name] for name in before if name != "config.json"}
    assert read_metrics_or_none(folder) in (None, [])


def read_metrics_or_none(folder):
    return read_metrics(folder) if (folder / METRICS).exists() else None


def test_images_of_a_finished_run_come_from_its_last_round_only(finished, interrupted, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "copy")
    flip(folder / "checkpoints" / "4" / LEAVES, 77)
    with pytest.raises(ValueError, match=r"last checkpoint is damaged .*remove summary.json"):
        load_run(folder)
    flip(newest(interrupted, LEAVES), 77)
    assert int(load_run(interrupted)[1].round) == 1
    assert newest(interrupted).is_dir(), "it reads, and moves nothing"
