"""Writing a file whole or not at all."""

import os
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Writes to a temporary name beside ``path`` and renames it; what was there stays till then.

    Two processes may write one path at once: either's content is there in the end, whole.

    Raises:
      OSError: the folder cannot be written to; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 as ``write_bytes`` does."""
    write_bytes(path, text.encode())
