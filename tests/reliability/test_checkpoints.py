"""Checkpoints that were damaged, exchanged or renamed are never taken for good ones."""

import dataclasses
import shutil

import numpy as np
import pytest

from fedjax_diffusion.experiment.checkpoint_files import LEAVES, METADATA, DamagedError
from fedjax_diffusion.experiment.checkpoints import Checkpoints, ForeignError
from tests.experiment.test_checkpoints import assert_same_bits, state_at
from tests.reliability.broken import flip

IDENTITY = {"seed": 0, "client_optimizer.learning_rate": 0.1, "data.images_sha256": "0f"}
FOLDERS = ["bits[4,8]", "a\\b", "two words", "日本é", "*", "?", "{a,b}", "%41", "-", "~", ".hidden"]


@pytest.fixture
def checkpoints(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=3, identity=IDENTITY)
    for round in (3, 4):
        checkpoints.save(state_at(round), record="ab")
    return checkpoints


def restore(checkpoints, round):
    checkpoints.verify(round)
    return checkpoints.restore(round, state_at(0))


def count_silent(checkpoints, num_flips, seed):
    """Flips random bits, one at a time: each is refused, or the state has the same bits."""
    random, folder = np.random.default_rng(seed), checkpoints.path(4)
    silent = []
    for _ in range(num_flips):
        path = random.choice(sorted(folder.iterdir()))
        bit = int(random.integers(8 * path.stat().st_size))
        flip(path, bit)
        try:
            assert_same_bits(restore(checkpoints, 4), state_at(4))
        except DamagedError:
            pass
        except AssertionError:
            silent.append((path.name, bit))
        flip(path, bit)
    return silent


def test_a_flipped_bit_is_noticed(checkpoints):
    assert count_silent(checkpoints, 40, seed=0) == []


@pytest.mark.slow
def test_510_flipped_bits_are_noticed(checkpoints):
    assert count_silent(checkpoints, 510, seed=1) == []


def test_a_file_that_was_cut_emptied_or_lost_is_noticed(checkpoints):
    folder = checkpoints.path(4)
    for name in (LEAVES, METADATA):
        whole = (folder / name).read_bytes()
        for part in (whole[:-1], whole[:100], b"", whole + b"\0", None):
            (folder / name).unlink()
            if part is not None:
                (folder / name).write_bytes(part)
            try:  # a byte after the end of the JSON is refused too
                with pytest.raises(DamagedError, match=r"leaves\.bin|metadata\.json"):
                    checkpoints.verify(4)
            finally:
                (folder / name).write_bytes(whole)
    assert checkpoints.verify(4).record == "ab"


def test_something_else_in_the_place_of_a_checkpoint_is_noticed(checkpoints):
    for make in (lambda path: path.mkdir(), lambda path: path.write_text("{}")):
        shutil.rmtree(checkpoints.path(4), ignore_errors=True)
        make(checkpoints.path(4))
        with pytest.raises(DamagedError):
            checkpoints.verify(4)
    assert checkpoints.rounds() == [4, 3]


@pytest.mark.parametrize("key", IDENTITY)
def test_a_checkpoint_of_another_run_is_foreign(checkpoints, key):
    other = Checkpoints(checkpoints.path(0).parent, keep=3, identity=IDENTITY | {key: "other"})
    with pytest.raises(ForeignError, match=f"of another run \\({key}"):
        other.verify(4)
    new_key = Checkpoints(checkpoints.path(0).parent, keep=3, identity=IDENTITY | {"new": 1})
    assert new_key.verify(4).round == 4, "a later version may have more settings"


def test_a_renamed_checkpoint_is_noticed_and_set_aside(checkpoints):
    checkpoints.path(4).rename(checkpoints.path(99))
    with pytest.raises(DamagedError, match="it holds round 4"):
        checkpoints.verify(99)
    checkpoints.set_aside(99, "damaged")
    assert checkpoints.rounds() == [3]
    checkpoints.save(state_at(4))
    assert checkpoints.verify(4).round == 4


def test_two_checkpoints_of_a_round_are_set_aside_under_two_names(checkpoints):
    names = []
    for _ in range(2):
        names.append(checkpoints.set_aside(4, "damaged").name)
        checkpoints.save(state_at(4))
    assert names == ["damaged-4", "damaged-4-2"]


def test_a_state_of_another_model_is_refused(checkpoints):
    like = dataclasses.replace(state_at(0), client_memory=())
    with pytest.raises(DamagedError, match="of another model"):
        checkpoints.restore(4, like)
    like = dataclasses.replace(state_at(0), params={"w": state_at(0).params["w"]})
    with pytest.raises(DamagedError, match="of another model"):
        checkpoints.restore(4, like)


@pytest.mark.parametrize("name", FOLDERS)
def test_any_folder_name_works(tmp_path, name):
    checkpoints = Checkpoints(tmp_path / name / "checkpoints", keep=1)
    checkpoints.save(state_at(1))
    assert_same_bits(restore(checkpoints, 1), state_at(1))


def test_a_failure_to_write_leaves_the_earlier_checkpoints(checkpoints, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(state_at(5))
    assert checkpoints.rounds() == [4, 3]
    assert {path.name for path in checkpoints.path(0).parent.iterdir()} == {"3", "4"}
