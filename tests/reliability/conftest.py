"""One finished run, of which every test breaks a copy."""

import pytest

from fedjax_diffusion import run
from tests.reliability.broken import config_of, interrupt


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    return run(config_of(), tmp_path_factory.mktemp("reliability") / "run").workdir


@pytest.fixture
def interrupted(finished, tmp_path):
    """A copy of the run after two of its four rounds."""
    return interrupt(finished, tmp_path / "run")
