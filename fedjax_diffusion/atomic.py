"""Writing a file whole or not at all."""

from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Writes to a temporary name beside ``path`` and renames it; what was there stays till then.

    Raises:
      OSError: the folder cannot be written to; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
