"""PyTorch, eager, channels last: clients one after the other, two threads inside an operation.

    python -m benchmarks.engines.torch_steps MODEL NUM_CLIENTS NUM_STEPS NUM_PARAMETERS

Nothing is averaged and nothing quantized.
"""

import sys

import torch

from benchmarks.engines.models import serve
from benchmarks.engines.torch_client import make_client


def main(name: str, num_clients: str, num_steps: str, num_parameters: str) -> None:
    """Times ``num_steps`` local steps of each client."""
    torch.set_num_threads(2)
    weights, train = make_client(name, int(num_clients), int(num_steps), int(num_parameters))
    start = {key: value.clone() for key, value in weights().items()}

    def run() -> float:
        losses = [train(client, start) for client in range(int(num_clients))]
        return float(torch.stack(losses).mean())

    serve(run)


if __name__ == "__main__":
    main(*sys.argv[1:])
