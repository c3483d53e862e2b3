"""A prepared folder, a cache of its own, and what is decoded into it."""

import pytest

from fedjax_diffusion.data import sources
from fedjax_diffusion.data.image_cache import VARIABLE


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "tfds"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Returns this test's own cache folder."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch):
    """Returns the list of splits that have been decoded since."""
    calls, decode = [], sources.decode

    def count(folder, columns, piece, make_arrays):
        calls.append(tuple(piece))
        return decode(folder, columns, piece, make_arrays)

    monkeypatch.setattr(sources, "decode", count)
    return calls
