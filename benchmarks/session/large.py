"""The large model, CIFAR-10's 35.7 M, batch 64, in bfloat16, and PyTorch's, compiled.

python -m benchmarks.session.large --output=FOLDER [--tiny]
"""

from collections.abc import Sequence

from benchmarks.session.cases import make_case, make_way
from benchmarks.session.child import end_on_request
from benchmarks.session.medium import measure_share
from benchmarks.session.pytorch import measure_torch
from benchmarks.session.record import Part
from benchmarks.session.turns import Turn, make_round, make_scan
from fedjax_diffusion.host.platforms import prepare_platforms

MODEL, TINY_MODEL = "35.7M-32x32", "tiny-8x8"
NUM_CLIENTS, NUM_STEPS, NUM_TURNS = 4, 10, 5
TORCH_STEPS, COMPILED_LIMIT, EAGER_LIMIT = 50, 240.0, 90.0


def main(argv: Sequence[str] | None = None) -> None:
    """Measures ours and PyTorch, then the lower limit and the products."""
    prepare_platforms()
    part = Part.open("large", argv)
    is_tiny = part.setting.is_tiny
    clients, steps, turns = (2, 2, 1) if is_tiny else (NUM_CLIENTS, NUM_STEPS, NUM_TURNS)
    case = make_case(TINY_MODEL if is_tiny else MODEL, clients, steps)
    torch_steps = 1 if is_tiny else TORCH_STEPS

    def measure(name: str, make: Turn, dtype: str = "bfloat16") -> None:
        part.measure(f"{name}, {dtype}", lambda: measure_share(case, make, turns, dtype))

    def torch(name: str, limit: float, *options: str) -> None:
        part.measure(
            name, lambda: measure_torch(part, case, torch_steps, limit, "--autocast", *options)
        )

    stock = make_way("map/stock", "bfloat16")
    measure("map/stock", lambda: make_round(case, stock))
    torch("PyTorch compiled, autocast", COMPILED_LIMIT, "--compile")
    measure("scan x1/stock", lambda: make_scan(case, stock))
    torch("PyTorch eager, autocast", EAGER_LIMIT)
    if not is_tiny:
        measure("map/matmul", lambda: make_round(case, make_way("map/matmul", "bfloat16")))
        measure("map/stock", lambda: make_round(case, make_way("map/stock")), "float32")
    part.complete()


if __name__ == "__main__":
    end_on_request()
    main()
