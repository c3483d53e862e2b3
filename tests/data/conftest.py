"""No test of the data reads or writes the user's cache."""

import pytest

from fedjax_diffusion.data.image_cache import VARIABLE


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory):
    """Returns a cache folder for all tests: entries differ by the path of their source."""
    return tmp_path_factory.mktemp("decoded")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, shared_cache):
    monkeypatch.setenv(VARIABLE, str(shared_cache))
