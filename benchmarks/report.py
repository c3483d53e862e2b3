"""Time and size of a report on synthetic sweeps.

python -m benchmarks.report [--points=64,1024] [--rounds=40] [--output=benchmarks/report.json]

Each report is a process of its own, ``fedjax-diffusion report``, as a user starts it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.synthetic_sweep import make_sweep


def measure(num_points: int, num_rounds: int) -> dict[str, Any]:
    """Returns wall and processor seconds, and megabytes, of the report on a new sweep."""
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder, "sweep")
        make_sweep(workdir, num_points, num_rounds)
        command = [sys.executable, "-m", "fedjax_diffusion", "report", f"--workdir={workdir}"]
        start, before = time.perf_counter(), os.times()
        subprocess.run(command, check=True, stdout=subprocess.PIPE)
        seconds, after = time.perf_counter() - start, os.times()
        size = (workdir / "report.html").stat().st_size
    spent = after.children_user + after.children_system
    spent -= before.children_user + before.children_system
    return {
        "num_points": num_points,
        "num_rounds": num_rounds,
        "seconds": round(seconds, 1),
        "processor_seconds": round(spent, 1),
        "megabytes": round(size / 1e6, 2),
    }


def main() -> None:
    """Measures all sizes and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", default="64,1024")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--output")
    arguments = parser.parse_args()
    rows = [measure(int(number), arguments.rounds) for number in arguments.points.split(",")]
    text = json.dumps({"load": os.getloadavg()[0], "reports": rows}, indent=2) + "\n"
    print(text, end="")
    if arguments.output:
        Path(arguments.output).write_text(text)


if __name__ == "__main__":
    main()
