"""The package's own command as timed runs, with the time of each line."""

import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.session.child import run_child
from benchmarks.session.record import ROOT, Part, Values

_HEADER = "data "
_ROUND = re.compile(r"round +\d+/\d+ ")
_MOST_LINES = 40
_OF_JAX = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE", "XLA_PYTHON_CLIENT", "XLA_FLAGS")
"""Prefixes of variables that a session may set and a user does not."""


class Run(NamedTuple):
    """A timed run.

    Attributes:
      arguments: of the command ``run``, without ``--workdir``.
      cache: folder that replaces the user's cache.
      limit: seconds.
      module: the module to run as a program.
    """

    arguments: Sequence[str]
    cache: Path
    limit: float
    module: str = "fedjax_diffusion"


def to_overrides(values: Mapping[str, object]) -> list[str]:
    """Returns settings of a config as arguments of the command."""
    return [f"--config.{key}={value}" for key, value in values.items()]


def make_environment(cache: Path, is_tiny: bool) -> dict[str, str]:
    """Returns this process's environment with ``cache`` as the only cache.

    A rehearsal may use the caches of the environment.
    """
    kept = {k: v for k, v in os.environ.items() if is_tiny or not k.startswith(_OF_JAX)}
    path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    caches = {"XDG_CACHE_HOME": str(cache), "CUDA_CACHE_PATH": str(cache / "cuda")}
    return {**kept, **caches, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def play(part: Part, case: str, run: Run, pictures: Sequence[str] = ()) -> Values:
    """Returns the times and results of a run; records them while it prints.

    It runs in an empty folder. Times are seconds since its start.

    Args:
      part: records the values.
      case: their name.
      run: the run.
      pictures: names, in the output folder, of the last grids of samples.

    Raises:
      RuntimeError: it fails, or does not end within its limit.
    """
    seen: Values = {"lines": []}
    started = part.cases[case]

    def note(seconds: float, text: str) -> None:
        if not text.strip():
            return
        if text.startswith(_HEADER):
            seen.setdefault("header_seconds", seconds)
        if _ROUND.match(text):
            seen.setdefault("first_round_seconds", seconds)
        if len(seen["lines"]) < _MOST_LINES:
            seen["lines"].append(f"{seconds:7.2f} {text[:160]}")
        part.keep(case, started | seen)
        print(f"  {seconds:7.2f} {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="session-run-") as folder:
        workdir = Path(folder) / "run"
        command = [sys.executable, "-m", run.module, "run", f"--workdir={workdir}", *run.arguments]
        environment = make_environment(run.cache, part.setting.is_tiny)
        try:
            ended = run_child(command, run.limit, env=environment, cwd=Path(folder), on_line=note)
            seen["whole_seconds"] = ended.seconds
        finally:
            seen |= read_rounds(workdir)
            part.keep(case, started | seen)
            _copy_pictures(workdir, [part.setting.output / name for name in pictures])
        if ended.code != 0:
            raise RuntimeError(ended.reason)
        return seen | read_summary(workdir)


def read_rounds(workdir: Path) -> Values:
    """Returns loss, cost and seconds of the rounds in a run folder so far."""
    path = workdir / "metrics.jsonl"
    if not path.exists():
        return {}
    whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    rounds = [json.loads(line) for line in whole]
    names = {"loss": "losses", "total_joules": "joules", "uplink_bytes": "bytes"}
    columns = {column: [entry[name] for entry in rounds] for name, column in names.items()}
    return {
        **columns,
        "num_bits": [entry["num_bits"] for entry in rounds],
        "round_seconds": [entry["wall_seconds"] for entry in rounds],
        "num_rounds": len(rounds),
    }


def read_summary(workdir: Path) -> Values:
    """Returns the last results of a finished run, and its use of the machine."""
    summary = json.loads((workdir / "summary.json").read_text())
    environment = json.loads((workdir / "environment.json").read_text())
    own = next(row for row in summary["methods"] if row["method"] == "this_run")
    return {
        "loss": summary["loss"],
        "total_joules": own["total_joules"],
        "megabytes": own["uplink_bytes"] / 1e6,
        "num_parameters": summary["num_parameters"],
        "compute": environment["compute"],
        "xla_flags": environment.get("xla_flags"),
    }


def _copy_pictures(workdir: Path, targets: Sequence[Path]) -> None:
    """Copies the last grids of samples, beginning with the last one."""
    grids = sorted((workdir / "samples").glob("round_*.png"), reverse=True)
    for grid, target in zip(grids, targets, strict=False):
        target.write_bytes(grid.read_bytes())
