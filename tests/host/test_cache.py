"""The compile cache: where it lies, who goes before it, and that a second process finds it."""

import os
import subprocess
import sys

import jax
import pytest

from fedjax_diffusion.host.cache import use_compile_cache

SCRIPT = """
import jax
from fedjax_diffusion.host.cache import use_compile_cache
use_compile_cache()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append("cache_hits" in name))
print(float(jax.jit(lambda x: x * 3 + 1)(2.0)), jax.config.jax_compilation_cache_dir, sum(hits))
"""


def start(**environment):
    """Returns what a fresh process prints: a result, the folder, and how many programs it found."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=inherited | {"JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.split()


def test_a_second_process_finds_what_the_first_compiled(tmp_path):
    first = start(XDG_CACHE_HOME=str(tmp_path))
    again = start(XDG_CACHE_HOME=str(tmp_path))
    assert first[0] == again[0] == "7.0"
    assert first[1] == again[1]
    assert first[1].startswith(str(tmp_path / "fedjax-diffusion"))
    assert (int(first[2]), int(again[2]) > 0) == (0, True)


@pytest.fixture
def use_cache(tmp_path):
    """Returns a call that gives the folder which JAX has after it, told this before."""
    names = ("jax_compilation_cache_dir", "jax_enable_compilation_cache")
    names = (*names, "jax_persistent_cache_min_compile_time_secs")
    before = {name: jax.config.values[name] for name in names}

    def use_cache(home, folder=None, is_on=True):
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_enable_compilation_cache", is_on)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(home))
            use_compile_cache()
        return jax.config.jax_compilation_cache_dir

    yield use_cache
    for name, value in before.items():
        jax.config.update(name, value)


def test_what_jax_was_told_goes_first(use_cache, tmp_path):
    """By ``JAX_COMPILATION_CACHE_DIR`` and ``JAX_ENABLE_COMPILATION_CACHE``, which it reads."""
    assert use_cache(tmp_path, folder=str(tmp_path / "mine")) == str(tmp_path / "mine")
    assert use_cache(tmp_path, is_on=False) is None
    assert not any(tmp_path.iterdir())
    assert use_cache(tmp_path).startswith(str(tmp_path / "fedjax-diffusion"))


def test_a_folder_that_cannot_be_made_is_no_reason_to_stop(use_cache, tmp_path):
    (tmp_path / "file").write_text("")
    assert use_cache(tmp_path / "file") is None


def test_what_a_gpu_autotunes_is_kept_beside():
    """JAX's own default; without it every new program times its convolutions again."""
    assert "autotune" in jax.config.jax_persistent_cache_enable_xla_caches
