"""Strict JAX for every test: 8 CPU devices, rank promotion raises.

Programs that several tests (and several workers) compile are compiled once: they share a cache that
lives as long as the test session. No test reads or writes decoded images in the user's cache.
"""

import atexit
import gc
import os
import pathlib
import shutil
import tempfile

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _cache = tempfile.mkdtemp(prefix="fedjax-diffusion-tests-")
    atexit.register(shutil.rmtree, _cache, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"

os.environ["JAX_NUM_CPU_DEVICES"] = "8"
os.environ["JAX_PLATFORMS"] = os.environ.get("JAX_PLATFORMS", "cpu")
os.environ["MPLBACKEND"] = "Agg"

import jax
import pytest

from fedjax_diffusion.data.image_cache import VARIABLE

jax.config.update("jax_numpy_rank_promotion", "raise")

MAX_MAPPINGS = 20_000
"""Of memory, after which compiled programs are let go: Linux gives a process 65,530."""


@pytest.fixture(scope="session", autouse=True)
def _own_data_cache(tmp_path_factory):
    """Keeps decoded images in one folder for all tests: entries differ by their source's path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("decoded")))
        yield


@pytest.fixture(scope="module", autouse=True)
def few_mappings():
    """Lets go of compiled programs, each of which holds mappings of memory, between test files."""
    yield
    maps = pathlib.Path("/proc/self/maps")  # of Linux
    if maps.exists() and len(maps.read_bytes().splitlines()) > MAX_MAPPINGS:
        jax.clear_caches()
        gc.collect()
