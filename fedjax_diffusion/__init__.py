"""A JAX simulator of quantized, energy-aware federated training of diffusion models on one host.

    config = load_config("configs/digits.py")
    result = run(config, "runs/digits")

Everything below ``run`` is public too: the data and its partition, the quantizer and its wire
format, the allocator, and ``make_simulator`` for any model and loss.

The public names are those that ``__init__.pyi`` imports. A module is imported when one of its names
is first used: the command line answers ``--help`` without JAX.
"""

import ast
import importlib
import importlib.util
from pathlib import Path
from typing import Any


def _read_modules() -> dict[str, str]:
    """Returns the module of every public name."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text())
    imports = [statement for statement in stub.body if isinstance(statement, ast.ImportFrom)]
    return {alias.name: str(line.module) for line in imports for alias in line.names}


_MODULES = _read_modules()
__all__ = [name for name in _MODULES if name != "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Returns a public name or a module of the package, imported now."""
    if name in _MODULES:
        value = getattr(importlib.import_module(_MODULES[name]), name)
    elif name[0] != "_" and importlib.util.find_spec(f"{__name__}.{name}"):
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(_MODULES)
