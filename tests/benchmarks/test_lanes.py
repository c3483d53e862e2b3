"""The benchmark of lanes times methods that lanes have."""

from benchmarks.lanes import PARTS
from fedjax_diffusion.sweep.lanes import Lanes


def test_what_is_timed_is_there():
    assert all(callable(getattr(Lanes, name)) for name in PARTS)
