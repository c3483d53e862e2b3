"""Codes and messages are promised to the bit: they are compiled as for a run."""

import pytest


@pytest.fixture(scope="module")
def is_optimized():
    """Of every file of this folder."""
    return True
