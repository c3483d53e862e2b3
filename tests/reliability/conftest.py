"""One finished run, of which every test breaks a copy."""

import pytest

from fedjax_diffusion import run
from tests.reliability.broken import config_of, interrupt


@pytest.fixture(scope="module")
def finished(compiled_so, tmp_path_factory):
    """A finished run, compiled as the runs that are compared with it."""
    del compiled_so
    return run(config_of(), tmp_path_factory.mktemp("reliability") / "run").workdir


@pytest.fixture
def interrupted(finished, tmp_path):
    """A copy of the run after two of its four rounds."""
    return interrupt(finished, tmp_path / "run")
