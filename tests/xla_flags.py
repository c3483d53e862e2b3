"""Flags of XLA by which tests compile in half the time; those of a run where bits are held.

Read before JAX is imported, so the module imports none of it.
"""

import contextlib
import functools
import importlib.util
import mmap
import os
import pathlib

import pytest

_FAST = {"xla_cpu_use_fusion_emitters": "false", "xla_cpu_parallel_codegen_split_count": "1"}
"""The older of the two emitters of loops, and one module of LLVM for a program, not up to 32."""
_OF_A_RUN = {"xla_cpu_use_fusion_emitters": True, "xla_cpu_parallel_codegen_split_count": 32}


def _without_fast(flags):
    """Returns ``flags`` without those that ``with_fast_flags`` adds."""
    ours = {f"--{name}={value}" for name, value in _FAST.items()}
    return " ".join(flag for flag in flags.split() if flag not in ours)


GIVEN = _without_fast(os.environ.get("XLA_FLAGS", ""))
"""Flags that the tests were started with; a worker's are those of its parent."""


def with_fast_flags(flags):
    """Returns ``flags`` of XLA, and those of fast compilation that it does not name."""
    ours = [f"--{name}={value}" for name, value in _FAST.items() if name not in flags]
    return " ".join([flags, *(flag for flag in ours if _is_known(flag[2:].split("=")[0]))]).strip()


@contextlib.contextmanager
def compile_as_for_a_run():
    """Compiles by XLA's defaults inside; a process reads ``XLA_FLAGS`` only once."""
    from jax._src import compiler  # options of all compilations have no public function

    choose = compiler.get_compile_options
    changed = [(name, value) for name, value in _OF_A_RUN.items() if _is_known(name)]

    def choose_defaults(*args, **kwargs):
        options = choose(*args, **kwargs)
        options.env_option_overrides = [*options.env_option_overrides, *changed]
        return options

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "get_compile_options", choose_defaults)
        yield


def share_context():
    """Lets a process lower all programs in one context of MLIR: to make one takes 6 ms."""
    from jax._src.interpreters import mlir  # a context per program is no public choice

    mlir.make_ir_context = functools.cache(mlir.make_ir_context)


@functools.cache
def _is_known(flag):
    """Whether the installed XLA has a flag: it ends the process at one that it has not."""
    specification = importlib.util.find_spec("jaxlib")
    library = pathlib.Path(specification.origin).with_name("libjax_common.so")
    if not library.exists():
        return False
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as binary:
        return binary.find(flag.encode()) >= 0
