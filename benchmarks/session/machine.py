"""The machine of a session as a line of JSON, from its own process.

    python -m benchmarks.session.machine

The process that starts the parts must not start a backend, which would hold the device's memory.
"""

import importlib.metadata
import json

from fedjax_diffusion.experiment.compute import describe_machine


def main() -> None:
    """Prints the machine, and the version of PyTorch or None."""
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        torch = None
    print(json.dumps({**describe_machine(), "torch": torch}))


if __name__ == "__main__":
    main()
