"""Progress of long work, shown to a person; silent by default."""

from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Shows nothing. A subclass shows lines of text and what is under way."""

    def tell(self, text: str) -> None:
        """Shows a line of text that stays."""

    @contextmanager
    def watch(self, text: str) -> Iterator[None]:
        """Shows what is under way until the block ends, which may take minutes."""
        yield


SILENT = Progress()
