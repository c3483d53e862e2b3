"""The file metrics.jsonl: written line by line, and compared with the checksums of its lines.

A checkpoint holds the checksums of all lines before it, so the record is chained to the state.
"""

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from fedjax_diffusion.host.atomic import sync_folder
from fedjax_diffusion.runs.records import METRICS, Totals, parse_line

_DIGITS = 16
"""Hexadecimal digits of a line's checksum, the first ones of its SHA-256."""


class RecordError(ValueError):
    """A line of metrics.jsonl is not the one that the run wrote."""


class MetricsLog:
    """The file metrics.jsonl: one line per round, readable at once; none is kept here.

    Attributes:
      workdir: the run folder.
    """

    def __init__(
        self,
        workdir: Path,
        num_rounds: int,
        check: Callable[[], object] = lambda: None,
        *,
        is_writer: bool = True,
        is_synced: bool = True,
    ):
        """Opens the log and cuts it to its first ``num_rounds`` lines, so that a run can resume.

        Args:
          workdir: the run folder.
          num_rounds: number of lines to keep.
          check: called before each line; it raises if another process has taken the run over.
          is_writer: False writes nothing; another process writes the file.
          is_synced: wait until each line is on disk. False leaves that to ``sync``: lines after
            the last checkpoint are written again in any case.

        Raises:
          RecordError: the log has fewer lines than that.
        """
        self.workdir, self._path, self._check = workdir, workdir / METRICS, check
        self._is_synced = is_synced
        self._checksums = bytearray()  # _DIGITS for each line
        self._file: BinaryIO | None = None
        if not is_writer:
            return
        size = 0
        for line in itertools.islice(_read_lines(self._path), num_rounds):
            self._checksums += _sum(line)
            size += len(line)
        if self._num_lines < num_rounds:
            raise _missing(self._path, self._num_lines, num_rounds)
        with self._path.open("ab") as file:
            file.truncate(size)
            os.fsync(file.fileno())
        sync_folder(workdir)
        self._file = self._path.open("ab")

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *_) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def checksums(self) -> str:
        """Checksums of all lines, for the checkpoint."""
        return self._checksums.decode()

    @property
    def _num_lines(self) -> int:
        return len(self._checksums) // _DIGITS

    def append(self, record: dict) -> None:
        """Appends one line."""
        self._check()
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        if self._file is not None:
            self._file.write(line)
            self._file.flush()
            self._checksums += _sum(line)
            if self._is_synced:
                self.sync()

    def sync(self) -> None:
        """Waits until all lines are on disk; called before a checkpoint that relies on them."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def verify(self) -> None:
        """Raises RecordError unless the file holds the lines that were written, and no others."""
        if self._file is not None:
            check_lines(self._path, self._num_lines, self.checksums)
            if self._path.stat().st_size != self._file.tell():
                raise RecordError(f"{self._path} has more lines than the run has rounds")


def count_lines(workdir: Path) -> int:
    """Returns the number of whole lines of metrics.jsonl; 0 if there is no such file."""
    return sum(1 for _ in _read_lines(Path(workdir) / METRICS))


def check_lines(path: Path, num_rounds: int, checksums: str | None) -> None:
    """Compares the first lines of metrics.jsonl with a checkpoint.

    Args:
      path: of the file.
      num_rounds: number of lines before the checkpoint.
      checksums: of the checkpoint; None: it is of an earlier version, and the lines are looked at
        one by one.

    Raises:
      MissingLinesError: the file ends before them, perhaps in the middle of a line.
      RecordError: a line is not the one that the run wrote; names it.
    """
    num_lines, totals = 0, Totals()
    for line in itertools.islice(_read_lines(path), num_rounds):
        num_lines += 1
        if checksums is None:
            is_right = _is_record(line, num_lines - 1, totals)
        else:
            there = checksums[_DIGITS * (num_lines - 1) : _DIGITS * num_lines]
            is_right = _sum(line) == there.encode()
        if not is_right:
            raise RecordError(f"{path}, line {num_lines}: not the line that the run wrote")
    if num_lines < num_rounds:
        raise _missing(path, num_lines, num_rounds)


class MissingLinesError(RecordError):
    """The file metrics.jsonl ends too early."""


def _missing(path: Path, num_lines: int, num_rounds: int) -> MissingLinesError:
    return MissingLinesError(
        f"{path}, line {num_lines + 1}: missing or cut off, but {num_rounds} rounds were played"
    )


def _is_record(line: bytes, round: int, totals: Totals) -> bool:
    """Returns whether a line without a checksum is that of a round, and adds it to the totals."""
    try:
        record = parse_line(line)
        totals.add(record)
        return record["round"] == round
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _read_lines(path: Path) -> Iterator[bytes]:
    """Yields the whole lines of a file; those of a file that is not there are none."""
    if path.exists():
        with path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))


def _sum(line: bytes) -> bytes:
    return hashlib.sha256(line).hexdigest()[:_DIGITS].encode()
