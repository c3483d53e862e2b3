"""PyTorch on the same device, in its own process."""

import importlib.util
import sys

from benchmarks.session.cases import Case
from benchmarks.session.child import find_json, run_child
from benchmarks.session.record import Part, Values


def measure_torch(
    part: Part, case: Case, num_steps: int, limit: float, *options: str, turns: int = 3
) -> Values:
    """Returns milliseconds per step of the case's model in PyTorch.

    Args:
      part: part of the session, with the device.
      case: the model.
      num_steps: of a turn.
      limit: in seconds, with compilation.
      options: ``--compile``, ``--autocast``.
      turns: number of timed turns.

    Raises:
      RuntimeError: PyTorch is not installed, fails, or exceeds the limit.
    """
    if importlib.util.find_spec("torch") is None:
        raise RuntimeError("PyTorch is not installed")
    device = "cuda" if part.machine["platform"] == "gpu" else "cpu"
    command = [sys.executable, "-m", "benchmarks.engines.torch_device", case.model]
    command += [str(num_steps), str(case.count_parameters())]
    command += [f"--device={device}", f"--turns={turns}", *options]
    return find_json(run_child(command, limit))
