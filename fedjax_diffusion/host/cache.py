"""Cache folders of the user, and JAX's cache of compiled programs in one of them."""

import os
import zlib
from pathlib import Path
from typing import Any

import jax

_MIN_SECONDS = 0.05
"""Programs that compile in less time are not stored."""


def use_compile_cache() -> None:
    """Lets JAX store compiled programs in the user's cache folder.

    The folder is in ``$XDG_CACHE_HOME/fedjax-diffusion`` (``~/.cache`` without the variable), one
    for each kind of processor, because programs for another kind may not run here. Does nothing if
    JAX already has a folder (``JAX_COMPILATION_CACHE_DIR``), if its cache is off
    (``JAX_ENABLE_COMPILATION_CACHE=false``), or if the folder cannot be made. The programs are
    bit-identical to those without a cache.
    """
    config: Any = jax.config  # its flags are made at run time
    if config.jax_compilation_cache_dir or not config.jax_enable_compilation_cache:
        return
    folder = cache_folder()
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_SECONDS)


def cache_folder() -> Path | None:
    """Returns the user's cache folder for this kind of processor; None if it cannot be made."""
    return user_folder(f"{_processor_fingerprint():08x}")


def user_folder(name: str) -> Path | None:
    """Returns a writable folder in the user's cache; makes it if needed. None if that fails.

    It is in ``$XDG_CACHE_HOME/fedjax-diffusion`` (``~/.cache`` without the variable).

    Args:
      name: the folder's name.
    """
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = root / "fedjax-diffusion" / name
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None
    return folder if os.access(folder, os.W_OK) else None


def _processor_fingerprint() -> int:
    """Returns a CRC-32 of the processor's features and model; a constant if they are unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    return zlib.crc32("\n".join(sorted(features)).encode())
