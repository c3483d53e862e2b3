"""Files by which processes agree, and file systems that keep none of that."""

import logging
import os

import pytest

from fedjax_diffusion.host import shared_files


def test_a_file_is_created_once(tmp_path):
    os.close(shared_files.create(tmp_path / "a"))
    with pytest.raises(FileExistsError):
        shared_files.create(tmp_path / "a")


def test_the_clock_is_that_of_the_files_and_leaves_none(tmp_path):
    before = shared_files.read_server_clock(tmp_path)
    (tmp_path / "a").touch()
    os.utime(tmp_path / "a", (0, 0))
    assert shared_files.touch(tmp_path / "a") >= before > 0
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_system_that_cannot_keep_claims_is_named(tmp_path, monkeypatch, caplog):
    assert shared_files.is_reliable(tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(
        shared_files, "create", lambda path: os.open(path, os.O_CREAT | os.O_WRONLY)
    )
    monkeypatch.setattr(os, "utime", lambda *_: None)
    with caplog.at_level(logging.WARNING):
        shared_files.is_reliable.cache_clear()
        assert not shared_files.is_reliable(tmp_path)
    assert "creates one file twice; let one process at a time" in caplog.text
    assert "does not keep the times" in caplog.text
