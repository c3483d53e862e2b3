"""Telling a person what goes on within long work; silent where nobody looks."""

from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Says nothing. A subclass shows what it is told."""

    def tell(self, text: str) -> None:
        """Takes a line of text that stays."""

    @contextmanager
    def watch(self, text: str) -> Iterator[None]:
        """Takes what goes on from here to the end of the block, which may last minutes."""
        yield


SILENT = Progress()
