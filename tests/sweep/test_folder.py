"""The folder of a sweep: what it takes, what it refuses, and that it can be moved."""

import dataclasses
import json
import os
import shutil

import pytest

from fedjax_diffusion.experiment.config import with_overrides
from fedjax_diffusion.runs import claims
from fedjax_diffusion.sweep import hyper
from fedjax_diffusion.sweep.folder import (
    check_folders,
    grow_sweep,
    merge_sweep,
    open_sweep,
)
from fedjax_diffusion.sweep.listing import SWEEP, list_folders
from fedjax_diffusion.sweep.points import expand
from fedjax_diffusion.sweep.runner import play_sweep
from tests.sweep.stubs import CONFIG, OLD, make_points, make_sweep, play_stub


def damage(workdir, change):
    content = json.loads((workdir / SWEEP).read_text())
    change(content)
    (workdir / SWEEP).write_text(json.dumps(content))


def test_a_sweep_is_read_as_it_was_written(tmp_path):
    sweep = make_sweep(
        tmp_path / "s",
        hyper.sweep("model.channel_multipliers", [(1,), (1, 2)]),
        hyper.sweep("cohort_size", [None, 4]),
        hyper.sweep("client_optimizer.learning_rate", [1]),
    )
    assert open_sweep(tmp_path / "s") == sweep
    assert [path.name for path in (tmp_path / "s").iterdir()] != []


def test_points_are_added_and_none_is_lost(tmp_path):
    make_sweep(tmp_path, hyper.sweep("seed", [5, 6]))
    more = make_sweep(tmp_path, hyper.sweep("seed", [6, 7]))
    assert [p.config.seed for p in more.points] == [5, 6, 7]
    before = (tmp_path / SWEEP).stat().st_mtime_ns
    assert make_sweep(tmp_path, hyper.sweep("seed", [5])) == open_sweep(tmp_path)
    assert (tmp_path / SWEEP).stat().st_mtime_ns == before
    merge_sweep(CONFIG, make_points(hyper.sweep("seed", [9])), tmp_path)
    assert len(open_sweep(tmp_path).points) == 3


def test_a_lost_list_of_points_is_made_again_and_labels_are_kept(tmp_path):
    named = [dataclasses.replace(p, label=f"mine+{p.config.seed}") for p in make_points()]
    sweep = grow_sweep(CONFIG, named, tmp_path, "a family")
    assert open_sweep(tmp_path) == sweep == make_sweep(tmp_path)
    play_sweep(tmp_path, play=play_stub)
    (tmp_path / SWEEP).unlink()
    again = make_sweep(tmp_path)
    assert [point.label for point in again.points] == ["seed-0", "seed-1", "seed-2"]
    assert play_sweep(tmp_path, play=play_stub).num_played == 0


def test_an_axis_at_its_base_value_keeps_finished_points(tmp_path):
    make_sweep(tmp_path, hyper.sweep("seed", [0, 1]))
    play_sweep(tmp_path, play=play_stub)
    make_sweep(tmp_path, hyper.sweep("seed", [0, 1]), hyper.sweep("num_rounds", [40, 41]))
    assert play_sweep(tmp_path, play=play_stub).num_played == 2
    assert len(list_folders(tmp_path)) == 4


def test_settings_that_change_no_number_follow_the_newest_command(tmp_path):
    make_sweep(tmp_path)
    other = with_overrides(CONFIG, {"evaluation.num_samples": 77, "checkpoint.keep": 1})
    grow_sweep(other, expand(other, lambda h: h.sweep("seed", [0])), tmp_path)
    sweep = open_sweep(tmp_path)
    assert sweep.base.evaluation.num_samples == 77
    assert [p.config.checkpoint.keep for p in sweep.points] == [1, 1, 1]


def test_a_moved_sweep_goes_on(tmp_path):
    make_sweep(tmp_path / "here", hyper.sweep("seed", [0]))
    play_sweep(tmp_path / "here", play=play_stub)
    make_sweep(tmp_path / "here", hyper.sweep("seed", [0, 1]))
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert play_sweep(tmp_path / "there", play=play_stub).num_played == 1


def refuse(workdir, message, config=CONFIG):
    points = expand(config, lambda h: h.sweep("seed", [0]))
    with pytest.raises(ValueError, match=message) as error:
        grow_sweep(config, points, workdir)
    assert "\n" not in str(error.value)


def test_folders_of_something_else_are_left_alone(tmp_path):
    shutil.copytree(OLD / "run", tmp_path / "run")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("precious")
    (tmp_path / "file").write_text("")
    refuse(tmp_path / "run", "is the folder of a run")
    refuse(tmp_path / "thesis", "is not empty and no sweep")
    refuse(tmp_path / "file", "is a file")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["thesis.tex"]


def test_another_sweep_is_refused_with_the_difference(tmp_path):
    make_sweep(tmp_path)
    before = (tmp_path / SWEEP).read_bytes()
    other = with_overrides(CONFIG, {"num_rounds": 9})
    refuse(tmp_path, r"holds another sweep \(num_rounds: 40 there, 9 here\)", other)
    assert (tmp_path / SWEEP).read_bytes() == before
    swept = with_overrides(CONFIG, {"seed": 9})  # which every point sets
    assert len(grow_sweep(swept, expand(swept, lambda h: h.sweep("seed", [4])), tmp_path).points)


FLAWS = {
    r"its schema is 2, this version reads 1": lambda content: content.update(schema=2),
    r"sweep.json is damaged": lambda content: content.pop("schema"),
    r"point seed-0 have the hash \w{12}, there 123": lambda c: c["points"][0].update(hash="123"),
}


@pytest.mark.parametrize("message", FLAWS)
def test_a_sweep_that_cannot_be_read_is_refused(message, tmp_path):
    make_sweep(tmp_path)
    damage(tmp_path, FLAWS[message])
    refuse(tmp_path, message)


def test_a_file_cut_in_the_middle_is_damaged(tmp_path):
    make_sweep(tmp_path)
    (tmp_path / SWEEP).write_text((tmp_path / SWEEP).read_text()[:99])
    refuse(tmp_path, "is damaged")
    refuse_open = pytest.raises(ValueError, match="is not the folder of a sweep")
    with refuse_open:
        open_sweep(tmp_path / "nowhere")


def test_a_point_under_another_ones_name_is_refused(tmp_path):
    make_sweep(tmp_path)
    play_sweep(tmp_path, play=play_stub)
    check_folders(tmp_path)
    one, two, _ = list_folders(tmp_path).values()
    (two / "config.json").write_bytes((one / "config.json").read_bytes())
    with pytest.raises(ValueError, match="holds a run of other settings"):
        play_sweep(tmp_path, play=play_stub)
    (two / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"config\.json cannot be read"):
        check_folders(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_bad_input(tmp_path):
    tmp_path.chmod(0o500)
    refuse(tmp_path / "sweep", "cannot be written")


def test_two_processes_add_points_one_after_the_other(tmp_path, monkeypatch):
    make_sweep(tmp_path)
    monkeypatch.setattr("fedjax_diffusion.sweep.folder._GROWING_SECONDS", 0.0)
    with claims.take(tmp_path / claims.FOLDER, "sweep"), pytest.raises(claims.ClaimedError):
        make_sweep(tmp_path, hyper.sweep("seed", [8]))
    assert len(make_sweep(tmp_path, hyper.sweep("seed", [8])).points) == 4
