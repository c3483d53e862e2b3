"""The compilation of the large model, by flags, lowerings and caches.

python -m benchmarks.session.compile --output=FOLDER [--tiny]
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.session.child import end_on_request, find_json, run_child
from benchmarks.session.record import Part, Values
from benchmarks.session.runs import make_environment
from fedjax_diffusion.host.platforms import GPU_FLAGS, add_flags

MODEL, TINY_MODEL = "35.7M-32x32", "tiny-8x8"
LIMIT = 100.0
"""Seconds of one compilation, with the start of its process."""
LEVEL, TRITON = "--xla_gpu_autotune_level", "--xla_gpu_enable_triton_gemm=false"
RUN = "a run's flags"
VARIANTS = {
    RUN: add_flags("", GPU_FLAGS),
    "level 0": f"{LEVEL}=0",
    "level 2": f"{LEVEL}=2",
    "level 4, XLA's own": f"{LEVEL}=4",
    "level 2 without Triton": f"{LEVEL}=2 {TRITON}",
    "level 0 without Triton": f"{LEVEL}=0 {TRITON}",
}
"""Flags of XLA; those of a run come first and are not measured twice."""


def probe(model: str, program: str, conv: str, cache: Path, variables: Mapping[str, str]) -> Values:
    """Returns seconds and operation counts of a compilation in a new process."""
    command = [sys.executable, "-m", "benchmarks.session.compile_probe", model, program, conv]
    environment = make_environment(cache, model == TINY_MODEL) | dict(variables)
    return find_json(run_child(command, LIMIT, env=environment))


def measure_caches(part: Part, model: str, program: str) -> None:
    """Measures a cold and a warm process with all of XLA's caches."""
    name = f"{program}, stock, all caches"
    with tempfile.TemporaryDirectory(prefix="session-cache-") as cache:
        kept = {
            "JAX_COMPILATION_CACHE_DIR": f"{cache}/xla",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "all",
        }
        for turn in ("cold", "warm"):
            part.measure(
                f"{name}, {turn}", lambda: probe(model, program, "stock", Path(cache), kept)
            )


def main(argv: Sequence[str] | None = None) -> None:
    """Measures the stock convolutions with every flag, then the products, then the caches."""
    part = Part.open("compile", argv)
    is_tiny = part.setting.is_tiny
    model = TINY_MODEL if is_tiny else MODEL
    others = [name for name, flags in VARIANTS.items() if flags != VARIANTS[RUN]]
    cases = [("step", "stock", RUN), ("round", "stock", RUN)]
    cases += [("step", "stock", variant) for variant in others]
    cases += [("step", "matmul", RUN), ("step", "matmul", "level 0"), ("round", "matmul", RUN)]
    off = {} if is_tiny else {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    with tempfile.TemporaryDirectory(prefix="session-cache-") as folder:
        for program, conv, variant in cases[:2] if is_tiny else cases:
            flags = {**off, "XLA_FLAGS": VARIANTS[variant]}
            part.measure(
                f"{program}, {conv}, {variant}",
                lambda p=program, c=conv, f=flags: probe(model, p, c, Path(folder), f),
            )
    if not is_tiny:
        measure_caches(part, model, "step")
    part.complete()


if __name__ == "__main__":
    end_on_request()
    main()
