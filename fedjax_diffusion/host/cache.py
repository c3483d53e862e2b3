"""Compiled programs outlive the process: the second run of a model starts in seconds."""

import os
import zlib
from pathlib import Path
from typing import Any

import jax

_MIN_SECONDS = 0.05
"""Programs that compile faster are not worth a file."""


def use_compile_cache() -> None:
    """Lets JAX keep what it compiles in the user's cache folder.

    ``$XDG_CACHE_HOME/fedjax-diffusion`` (``~/.cache`` without the variable), in a folder for this
    kind of processor: programs for another one may not run here. Does nothing where JAX was given
    a folder (``JAX_COMPILATION_CACHE_DIR``), where it is told to keep nothing
    (``JAX_ENABLE_COMPILATION_CACHE=false``), or where the folder cannot be made. The programs are
    the same as without, to the bit.
    """
    config: Any = jax.config  # its flags are made at run time
    if config.jax_compilation_cache_dir or not config.jax_enable_compilation_cache:
        return
    folder = cache_folder()
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_SECONDS)


def cache_folder() -> Path | None:
    """Returns this processor's folder in the user's cache, made if needed; None if it cannot be."""
    return user_folder(f"{_processor_fingerprint():08x}")


def user_folder(name: str) -> Path | None:
    """Returns a folder in the user's cache, made if needed; None if it cannot be.

    It lies in ``$XDG_CACHE_HOME/fedjax-diffusion`` (``~/.cache`` without the variable).

    Args:
      name: of the folder, for all that lies in it.
    """
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = root / "fedjax-diffusion" / name
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None
    return folder if os.access(folder, os.W_OK) else None


def _processor_fingerprint() -> int:
    """Returns a CRC-32 of what this processor can do, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    return zlib.crc32("\n".join(sorted(features)).encode())
