"""Atomic writing of files."""

import os
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a temporary file beside ``path`` and renames it; an old file stays until then.

    If two processes write one path at once, the complete content of one of them remains.

    Raises:
      OSError: the folder cannot be written to; the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes text in UTF-8 with ``write_bytes``."""
    write_bytes(path, text.encode())
