"""CSV file of the rows of runs, which a later comparison can reuse."""

import csv
import io
import typing
from collections.abc import Sequence
from pathlib import Path

from fedjax_diffusion.compare.rows import RunRow
from fedjax_diffusion.compare.variants import Play, fingerprint_settings
from fedjax_diffusion.host.atomic import write_text
from fedjax_diffusion.host.old_names import OLD_NAMES
from fedjax_diffusion.host.tables import parse_cell


def write_runs(path: Path, rows: Sequence[RunRow]) -> None:
    """Writes one line per run; None is an empty field."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([RunRow._fields, *rows])
    write_text(path, text.getvalue())


def read_runs(path: str | Path) -> list[RunRow]:
    """Returns exactly the rows of a file of ``write_runs``.

    Raises:
      ValueError: there is no such file, it is not CSV, it has other columns, or a field is not a
        number.
    """
    kinds = typing.get_type_hints(RunRow)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            header, *lines = list(csv.reader(file)) or [[]]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: byte {error.start}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except csv.Error as error:
        raise ValueError(f"{path} is not CSV: {error}") from None
    header = [OLD_NAMES["runs"].get(name, name) for name in header]
    if tuple(header) != RunRow._fields:
        raise ValueError(f"{path} is not a runs.csv of this version: its columns are {header}")
    rows = []
    for number, line in enumerate(lines, 2):
        try:
            if len(line) != len(header):
                raise ValueError(f"{len(line)} fields instead of {len(header)}")
            fields = [
                parse_cell(text, kinds[name]) for name, text in zip(header, line, strict=True)
            ]
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        rows.append(RunRow(*fields))
    return rows


def match_earlier(plays: Sequence[Play], earlier: Sequence[RunRow]) -> dict[str, RunRow]:
    """Returns those earlier runs that are requested, by hash.

    Raises:
      ValueError: one of them has other settings.
    """
    asked = {(play.variant, play.seed): play.point for play in plays}
    known = {}
    for row in earlier:
        point = asked.get(row[:2])
        if point is None:
            continue
        settings = fingerprint_settings(point.config)
        if row.settings != settings:
            raise ValueError(
                f"the earlier run of {row.variant} with seed {row.seed} was played with other "
                f"settings (fingerprint {row.settings}, now {settings}); leave it out, or use its "
                "config"
            )
        known[point.hash] = row
    return known
