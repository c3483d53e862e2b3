"""Arrays in a folder that several users share: the first to store them decides, for all."""

import errno
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fedjax_diffusion.evaluation import cache as module
from fedjax_diffusion.evaluation import keep_arrays

NAME = "weights"
NUM_USERS = 8


@pytest.fixture
def make(monkeypatch):
    """Makes other arrays each time, as other machines do: no cache of the user."""
    monkeypatch.setattr(module, "cache_folder", lambda: None)
    numbers = itertools.count()
    return lambda: {"weights": np.full(1000, next(numbers))}


def read(make, shared):
    return keep_arrays(NAME, make, shared)["weights"][0]


def test_users_who_make_arrays_at_once_all_get_those_that_were_stored_first(make, tmp_path):
    shared, all_made = tmp_path / "shared", threading.Barrier(NUM_USERS)

    def make_together():
        arrays = make()
        all_made.wait(10)
        return arrays

    with ThreadPoolExecutor(NUM_USERS) as users:
        got = list(users.map(lambda _: read(make_together, shared), range(NUM_USERS)))
    assert len(set(got)) == 1
    assert len(list(shared.iterdir())) == 1
    assert read(lambda: pytest.fail("made again"), shared) == got[0]


def test_shared_arrays_come_before_those_of_the_users_cache(tmp_path, monkeypatch):
    user = tmp_path / "user"
    monkeypatch.setattr(module, "cache_folder", lambda: user)
    keep_arrays(NAME, lambda: {"weights": np.ones(1)})
    assert read(lambda: pytest.fail("made"), tmp_path / "first") == 1  # and stored there
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "another")
    keep_arrays(NAME, lambda: {"weights": np.zeros(1)})
    assert read(lambda: pytest.fail("made"), tmp_path / "first") == 1


@pytest.mark.parametrize("change", [lambda content: content[:-9], lambda content: b""])
def test_a_damaged_shared_file_is_made_again_with_one_line(change, make, tmp_path, caplog):
    read(make, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(change(path.read_bytes()))
    assert (read(make, tmp_path), read(make, tmp_path)) == (1, 1)
    (line,) = caplog.messages
    assert line == f"{path} is damaged; it is made again, perhaps with other numbers than before"


def test_a_shared_folder_that_is_full_is_one_line(make, tmp_path, monkeypatch, caplog):
    def refuse(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_new", refuse)
    assert read(make, tmp_path) == 0
    (line,) = caplog.messages
    assert line.endswith(
        "weights.npz is not stored (No space left on device); other machines may make another one"
    )
