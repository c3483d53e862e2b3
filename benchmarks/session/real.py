"""Real CIFAR-10 runs, 8 bits on demand and full precision, with the same seed.

python -m benchmarks.session.real --output=FOLDER [--tiny] [--data_dir=TFDS_FOLDER]
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.session.child import end_on_request
from benchmarks.session.record import Part
from benchmarks.session.runs import Run, play, to_overrides
from benchmarks.session.start import TINY_CIFAR10

SETTINGS = {
    "num_rounds": 10,
    "cohort_size": 10,
    "local_work.local_steps": 20,
    "compute.dtype": "bfloat16",
    "allocator.error_budget.as_fixed_bits": 8,
    "sampling.every_rounds": 5,
}
METHODS = {"on demand": "on_demand", "full precision": "full_precision"}
LIMIT = 200.0
"""Seconds of each run."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs both; the second uses the first one's compiled programs."""
    part = Part.open("real", argv)
    changed = SETTINGS | (TINY_CIFAR10 if part.setting.is_tiny else {})
    changed["data.data_dir"] = part.setting.data_dir
    with tempfile.TemporaryDirectory(prefix="session-cache-") as cache:
        for case, method in list(METHODS.items())[: 1 if part.setting.is_tiny else None]:
            arguments = ["--config=cifar10", *to_overrides(changed)]
            run = Run([*arguments, f"--config.allocator.method={method}"], Path(cache), LIMIT)
            pictures = [f"real_{method}.png", f"real_{method}_earlier.png"]

            def measure(case: str = case, run: Run = run, pictures: list[str] = pictures):
                if part.setting.data_dir is None:
                    raise RuntimeError("no --data_dir with CIFAR-10 was given")
                return play(part, case, run, pictures)

            part.measure(case, measure)
    if part.setting.data_dir is not None:  # otherwise a later call may have it
        part.complete()


if __name__ == "__main__":
    end_on_request()
    main()
