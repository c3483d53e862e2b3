"""Places, leftovers, lost results and pictures: one line, or a warning, and no lost work."""

import json
import os
import resource
import shutil

import pytest

from fedjax_diffusion import run
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.host.file_errors import explain_file_errors
from fedjax_diffusion.host.outputs import check_place
from fedjax_diffusion.runs.claims import read_owners, take
from fedjax_diffusion.runs.folder import check_same_config
from tests.reliability.broken import change_lines, config_of
from tests.tiny import PIXELS

FLAGS = [*PIXELS, "--config.checkpoint.every_rounds=1", "--config.checkpoint.keep=9"]


def make_places(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    names = ("file", "file/below", "dangling", "loop", "loop/x", "n" * 300, "a/" + "n" * 300)
    return [*(str(tmp_path / name) for name in names), "/proc/x", "/dev/null"]


def test_a_place_that_cannot_be_made_is_refused_in_one_line(tmp_path, capsys):
    for place in make_places(tmp_path):
        before = sorted(tmp_path.rglob("*"))
        assert main(["run", f"--workdir={place}", *FLAGS]) == 2, place
        error = capsys.readouterr().err
        assert error.startswith(f"fedjax-diffusion: {place if len(place) < 300 else place[:40]}")
        assert error.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before


def test_a_place_is_tried_without_a_trace(tmp_path):
    for place in (tmp_path, tmp_path / "a" / "b"):
        check_place(place)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to the superuser")
def test_a_read_only_place_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        check_place(tmp_path / "run")


def test_a_full_disk_is_one_line_that_says_how_it_goes_on(tmp_path):
    message = f"{tmp_path}: No space left .* repeat the command"
    with pytest.raises(ValueError, match=message), explain_file_errors(tmp_path):
        raise OSError(28, "No space left on device")
    with pytest.raises(BrokenPipeError), explain_file_errors(tmp_path):
        raise BrokenPipeError(32, "Broken pipe")


def test_leftovers_of_a_killed_start_do_not_count(tmp_path):
    for name in (".config.json.1.tmp", ".environment.json.77.tmp"):
        (tmp_path / name).write_text("")
    (tmp_path / "claims").mkdir()
    check_same_config(None, tmp_path)
    (tmp_path / ".config.json.mine.tmp").write_text("")
    with pytest.raises(ValueError, match="not empty and no run folder"):
        check_same_config(None, tmp_path)


def test_a_claim_for_which_there_is_no_room_is_released(tmp_path):
    """As on a full disk: a file may be created, and takes no bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            take(tmp_path, "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "run.1").read_bytes() == b""
    assert read_owners(tmp_path)["run"].state == "released"
    take(tmp_path, "run").release()


def test_lost_results_are_made_again(finished, tmp_path, caplog):
    folder = shutil.copytree(finished, tmp_path / "run")
    figure = folder / "figures" / "training.png"
    before = json.loads((folder / "summary.json").read_text()), figure.read_bytes()
    figure.unlink()
    assert not run(config_of(), folder).is_new
    assert figure.read_bytes() == before[1]
    (folder / "summary.json").write_bytes((folder / "summary.json").read_bytes()[:50])
    result = run(config_of(), folder)
    assert (result.summary, figure.read_bytes()) == before
    assert json.loads((folder / "summary.json").read_text()) == before[0]
    assert "summary.json is damaged; it is made again" in caplog.text


def test_a_finished_run_has_all_its_lines(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    change_lines(folder, lambda lines: lines[:3])
    with pytest.raises(ValueError, match=r"has 3 lines, but the run is finished after 4 rounds"):
        run(config_of(), folder)


def test_pictures_that_cannot_be_written_end_no_run(interrupted, caplog):
    for name in ("samples", "figures"):
        shutil.rmtree(interrupted / name, ignore_errors=True)
        (interrupted / name).write_text("mine")
    assert run(config_of(), interrupted).is_new
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert (interrupted / "figures").read_text() == "mine"


@pytest.mark.parametrize("name", ["environment.json", "config.json"])
@pytest.mark.parametrize("content", ["[]", "3", "", "{", '{"compute": 3}', "\ufeff{}", "[" * 9999])
def test_a_damaged_file_is_named_in_one_line(interrupted, name, content, capsys):
    (interrupted / name).write_text(content)
    assert main(["run", f"--workdir={interrupted}", *FLAGS]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(interrupted) in error


@pytest.mark.parametrize("name", ["checkpoints", "metrics.jsonl", "summary.json"])
def test_something_else_under_the_name_of_a_file_is_found_at_the_start(interrupted, name, capsys):
    path = interrupted / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.write_text("mine") if name == "checkpoints" else path.mkdir()
    assert main(["run", f"--workdir={interrupted}", *FLAGS]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"fedjax-diffusion: {path}")
    assert error.count("\n") == 1
