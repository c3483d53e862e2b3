"""Progress messages of long work; silent by default."""

from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """A silent progress display; a subclass shows lines of text and the current task."""

    def tell(self, text: str) -> None:
        """Shows a line of text that stays."""

    @contextmanager
    def watch(self, text: str) -> Iterator[None]:
        """Shows the current task until the block ends, which may take minutes."""
        yield


SILENT = Progress()
