"""PyTorch on one device: milliseconds per step of one client, after a warm-up, as a line of JSON.

    python -m benchmarks.engines.torch_device MODEL NUM_STEPS NUM_PARAMETERS \
        [--device=cuda] [--compile] [--autocast] [--turns=3]

Channels last; float32 products use TF32 if the device has it; Adam is fused. In the first turn
PyTorch compiles and cuDNN chooses its algorithms.
"""

import argparse
import json
import statistics
import time

import torch

from benchmarks.engines.torch_client import Options, make_client


def main() -> None:
    """Times ``num_steps`` local steps of one client, several turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("num_steps", type=int)
    parser.add_argument("num_parameters", type=int)
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--compile", action="store_true", help="compile the network by torch.compile"
    )
    parser.add_argument("--autocast", action="store_true", help="to bfloat16")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    is_gpu = arguments.device == "cuda"
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    options = Options(arguments.device, arguments.compile, arguments.autocast)
    weights, train = make_client(
        arguments.model, 1, arguments.num_steps, arguments.num_parameters, options
    )
    start_weights = {key: value.clone() for key, value in weights().items()}
    seconds, loss = [], 0.0
    for _ in range(arguments.turns + 1):
        start = time.perf_counter()
        loss = float(train(0, start_weights))  # waits for the device
        seconds.append(time.perf_counter() - start)
    first, *others = seconds
    result = {
        "milliseconds_per_client_step": 1e3 * statistics.median(others) / arguments.num_steps,
        "fastest_milliseconds": 1e3 * min(others) / arguments.num_steps,
        "first_turn_seconds": first,
        "loss": loss,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if is_gpu else "cpu",
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if is_gpu else None,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
