"""The record of a session: one JSON file, rewritten after every new result of a part."""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FILE = "session.json"
MOST_ATTEMPTS = 2
"""A case that was interrupted this many times is not begun again."""
Values = dict[str, Any]


def read_session(folder: Path) -> Values:
    """Returns the content of the folder's record; an empty one has no parts."""
    path = folder / FILE
    return json.loads(path.read_text()) if path.exists() else {"parts": {}}


def write_session(folder: Path, content: Values) -> None:
    """Writes the record atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{FILE}.draft"
    draft.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(draft, folder / FILE)


def is_of(entry: Values, machine: Values, is_tiny: bool) -> bool:
    """Returns whether a part was measured on the same machine, JAX and size."""
    names = ("device", "jax")
    return entry["is_tiny"] == is_tiny and all(entry[name] == machine[name] for name in names)


class Setting(NamedTuple):
    """Settings of all parts.

    Attributes:
      output: folder of the record and of the pictures.
      is_tiny: whether all sizes are small, for a rehearsal on a CPU.
      data_dir: folder of prepared TFDS data sets; None: there is none.
    """

    output: Path
    is_tiny: bool = False
    data_dir: str | None = None

    def to_arguments(self) -> list[str]:
        """Returns the setting as arguments for ``Part.open``."""
        arguments = [f"--output={self.output}"] + ["--tiny"] * self.is_tiny
        return arguments + ([] if self.data_dir is None else [f"--data_dir={self.data_dir}"])


class Part:
    """A part's entry in the record; earlier measurements of this machine are kept."""

    def __init__(self, name: str, setting: Setting):
        self.name, self.setting = name, setting
        content = read_session(setting.output)
        machine, earlier = content["machine"], content["parts"].get(name)
        self.machine: Values = machine
        self.cases: dict[str, Values] = {}
        if earlier and is_of(earlier, machine, setting.is_tiny):
            self.cases = earlier["cases"]
        self._start = time.perf_counter()
        self._write()

    @classmethod
    def open(cls, name: str, argv: Sequence[str] | None = None) -> "Part":
        """Returns the part of this process, with the setting of its command line."""
        parser = argparse.ArgumentParser()
        parser.add_argument("--output", type=Path, required=True)
        parser.add_argument("--tiny", action="store_true")
        parser.add_argument("--data_dir")
        arguments = parser.parse_args(argv)
        return cls(name, Setting(arguments.output, arguments.tiny, arguments.data_dir))

    def _write(self, **facts: Any) -> None:
        content = read_session(self.setting.output)
        content["parts"][self.name] = {
            "device": self.machine["device"],
            "jax": self.machine["jax"],
            "is_tiny": self.setting.is_tiny,
            "date": time.strftime("%Y-%m-%d"),
            "seconds": round(time.perf_counter() - self._start, 1),
            "is_complete": False,
            "cases": self.cases,
            **facts,
        }
        write_session(self.setting.output, content)

    def keep(self, case: str, values: Values) -> None:
        """Records the values of a case."""
        self.cases[case] = values
        self._write()

    def has(self, case: str) -> bool:
        """Returns whether a case was measured."""
        return case in self.cases and "not_measured" not in self.cases[case]

    def measure(self, case: str, function: Callable[[], Values]) -> Values:
        """Returns and records the values of a case; the reason if it fails.

        A case that was measured before is not measured again. While ``function`` works it may
        record values under the case's name.
        """
        earlier = self.cases.get(case, {})
        attempts = earlier.get("attempts", 0)
        if self.has(case) or attempts >= MOST_ATTEMPTS:
            return earlier
        print(f"{self.name}: {case} ...", flush=True)
        started = {"not_measured": "cut off", "attempts": attempts + 1}
        self.keep(case, started)
        start = time.perf_counter()
        try:
            values = function()
        except Exception as error:  # after any error the other cases are still measured
            values = self.cases[case] | {"not_measured": to_line(error)}
        values.pop("attempts", None)
        values["seconds"] = round(time.perf_counter() - start, 2)
        self.keep(case, values)
        print(f"{self.name}: {case}: {to_text(values)}", flush=True)
        return values

    def complete(self) -> None:
        """Records that every case has been tried."""
        self._write(is_complete=True)


def to_line(error: Exception) -> str:
    """Returns an error as one line of at most 300 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def to_text(values: Values) -> str:
    """Returns the numbers and short texts of a case as one line."""
    facts = []
    for name, value in values.items():
        if isinstance(value, float):
            facts.append(f"{name} {value:.4g}")
        elif isinstance(value, bool | int | str):
            facts.append(f"{name} {value}")
    return ", ".join(facts)
