"""XLA's two emitters of loops: the older for tests, in half the time, the newer as for a run.

Read before JAX is imported, so the module imports none of it.
"""

import contextlib
import functools
import importlib.util
import mmap
import os
import pathlib

import pytest

_EMITTERS = "xla_cpu_use_fusion_emitters"
_OLDER = f"--{_EMITTERS}=false"
GIVEN = os.environ.get("XLA_FLAGS", "").replace(_OLDER, "").strip()
"""Flags that the tests were started with; a worker's are those of its parent."""


def with_fast_emitters(flags):
    """Returns ``flags`` of XLA, and that of the older emitter unless they name either."""
    if _EMITTERS in flags or not _is_known(_EMITTERS):
        return flags
    return f"{flags} {_OLDER}".strip()


@contextlib.contextmanager
def compile_as_for_a_run():
    """Compiles with the newer emitter inside; a process reads ``XLA_FLAGS`` only once."""
    from jax._src import compiler  # options of all compilations have no public function

    choose = compiler.get_compile_options

    def choose_newer(*args, **kwargs):
        options = choose(*args, **kwargs)
        options.env_option_overrides = [*options.env_option_overrides, (_EMITTERS, True)]
        return options

    with pytest.MonkeyPatch.context() as patch:
        if _is_known(_EMITTERS):
            patch.setattr(compiler, "get_compile_options", choose_newer)
        yield


@functools.cache
def _is_known(flag):
    """Whether the installed XLA has a flag: it ends the process at one that it has not."""
    specification = importlib.util.find_spec("jaxlib")
    library = pathlib.Path(specification.origin).with_name("libjax_common.so")
    if not library.exists():
        return False
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as binary:
        return binary.find(flag.encode()) >= 0
