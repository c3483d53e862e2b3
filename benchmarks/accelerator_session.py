"""The measurements of an accelerator, in order of importance, within a few minutes.

    python benchmarks/accelerator_session.py [--minutes=8] [--output=FOLDER] [--parts=a,b]
        [--data_dir=TFDS_FOLDER] [--again] [--tiny]

Each part is a process with its own limit. FOLDER/session.json holds the results and is updated
after every case; FOLDER/session.log holds the output. A second call continues the session: parts
that are complete for this device and JAX are skipped, and measured cases are kept. The table at the
end shows results and aims, and marks cases that were not measured.

Parts: start, a run's first line with a cold and a warm cache; correctness, against the CPU; small,
medium, large, the three models beside plain steps and PyTorch; lanes, packs of runs; quantize;
sampling; real, CIFAR-10 from --data_dir; compile, the compile times. PyTorch's rows need PyTorch
in this environment.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.session.child import (  # noqa: E402
    GRACE_SECONDS,
    end_on_request,
    find_json,
    run_child,
)
from benchmarks.session.record import (  # noqa: E402
    Setting,
    is_of,
    read_session,
    write_session,
)
from benchmarks.session.table import format_table, list_rows  # noqa: E402

LIMITS = {  # seconds, in order of importance
    "start": 300,
    "correctness": 200,
    "small": 240,
    "medium": 240,
    "lanes": 240,
    "large": 420,
    "quantize": 60,
    "sampling": 180,
    "real": 420,
    "compile": 600,
}
MACHINE_LIMIT = 120.0
LEAST_SECONDS = 10.0
"""No part begins with less time left."""
OUTPUT = Path(__file__).with_name("accelerator")
SHARED_MEMORY = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.6"}
"""Setting of our processes, which leaves memory of the device for PyTorch."""
GROWING_MEMORY = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""Setting of the part that runs the tests at the same time."""


class Log:
    """A log of lines on the terminal and in a file."""

    def __init__(self, file: TextIO):
        self._file = file

    def tell(self, text: str) -> None:
        """Shows a line at once."""
        print(text, flush=True)
        print(text, file=self._file, flush=True)


def ask_machine() -> dict[str, Any]:
    """Returns the machine's description from another process."""
    command = [sys.executable, "-m", "benchmarks.session.machine"]
    return find_json(run_child(command, MACHINE_LIMIT))


def play_part(name: str, setting: Setting, limit: float, log: Log) -> None:
    """Runs a part and records its end."""
    command = [sys.executable, "-u", "-m", f"benchmarks.session.{name}", *setting.to_arguments()]
    memory = SHARED_MEMORY | (GROWING_MEMORY if name == "correctness" else {})
    log.tell(f"\n== {name}, at most {limit:.0f} s")
    ended = run_child(
        command,
        limit,
        env={**memory, **os.environ},
        on_line=lambda seconds, text: log.tell(f"{seconds:7.1f} {text}"),
        grace=4 * GRACE_SECONDS,
    )
    content = read_session(setting.output)
    if name in content["parts"]:
        content["parts"][name]["ended"] = ended.reason or "done"
        content["parts"][name]["seconds"] = round(ended.seconds, 1)
        write_session(setting.output, content)
    log.tell(f"== {name}: {ended.reason or 'done'}, {ended.seconds:.0f} s")


def is_done(name: str, content: dict[str, Any], is_tiny: bool) -> bool:
    """Returns whether a part is complete for this machine."""
    entry = content["parts"].get(name)
    return entry is not None and entry["is_complete"] and is_of(entry, content["machine"], is_tiny)


def play_session(names: list[str], setting: Setting, arguments: Any, log: Log) -> None:
    """Runs the parts while there is time."""
    end = time.perf_counter() + 60 * arguments.minutes
    content = read_session(setting.output)
    content["machine"] = ask_machine()
    content["date"] = time.strftime("%Y-%m-%d")
    for name in names if arguments.again else ():
        content["parts"].pop(name, None)
    write_session(setting.output, content)
    log.tell(f"{content['date']}: {json.dumps(content['machine'])}")
    for name in names:
        left = end - time.perf_counter()
        if is_done(name, content, setting.is_tiny):
            log.tell(f"== {name}: complete already")
        elif left < LEAST_SECONDS:
            log.tell(f"== {name}: not begun, the minutes are used up")
        else:
            play_part(name, setting, min(arguments.limit or LIMITS[name], left), log)


def show_table(setting: Setting, log: Log) -> None:
    """Prints the table of all measurements of this machine, and stores it in the record."""
    content = read_session(setting.output)
    machine = content.get("machine")
    parts = {
        name: entry
        for name, entry in content["parts"].items()
        if machine is not None and is_of(entry, machine, setting.is_tiny)
    }
    rows = list_rows(parts)
    content["table"] = [row._asdict() | {"is_met": row.is_met} for row in rows]
    write_session(setting.output, content)
    device = "nothing" if machine is None else f"{machine['device']}, jax {machine['jax']}"
    rehearsal = ", a rehearsal with tiny models" if setting.is_tiny else ""
    log.tell(f"\nMeasured on {device}{rehearsal}:\n{format_table(rows)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the parts while there is time and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="limit of all parts together")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--parts", default=",".join(LIMITS), help="parts to run, in this order")
    parser.add_argument(
        "--limit", type=float, help="limit of each part in seconds; default: its own"
    )
    parser.add_argument("--data_dir", help="folder of prepared TFDS data sets with cifar10")
    parser.add_argument("--again", action="store_true", help="also measure complete parts again")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal with small sizes")
    arguments = parser.parse_args(argv)
    names = [name for name in arguments.parts.split(",") if name]
    if unknown := set(names) - LIMITS.keys():
        parser.error(f"--parts must be of {', '.join(LIMITS)}, got {', '.join(sorted(unknown))}")
    data_dir = None if arguments.data_dir is None else str(Path(arguments.data_dir).resolve())
    setting = Setting(arguments.output.resolve(), arguments.tiny, data_dir)
    setting.output.mkdir(parents=True, exist_ok=True)
    with (setting.output / "session.log").open("a") as file:
        log = Log(file)
        try:
            play_session(names, setting, arguments, log)
        except RuntimeError as error:  # there is no device to measure
            log.tell(f"nothing was measured: {error}")
            return 1
        finally:
            show_table(setting, log)
    return 0


if __name__ == "__main__":
    end_on_request()
    sys.exit(main())
