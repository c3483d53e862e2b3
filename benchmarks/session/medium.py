"""The middle model, 4.24M-32x32, in float32 (TF32 on a GPU), and PyTorch's, eager and compiled.

python -m benchmarks.session.medium --output=FOLDER [--tiny]
"""

from collections.abc import Sequence

from benchmarks.session.cases import Case, make_case, make_way
from benchmarks.session.child import end_on_request
from benchmarks.session.pytorch import measure_torch
from benchmarks.session.record import Part, Values
from benchmarks.session.turns import Turn, make_round, make_scan, make_steps, time_turns
from fedjax_diffusion.host.platforms import prepare_platforms

MODEL, TINY_MODEL = "4.24M-32x32", "tiny-8x8"
NUM_CLIENTS, NUM_STEPS, NUM_TURNS = 8, 20, 5
TORCH_STEPS, EAGER_LIMIT, COMPILED_LIMIT = 100, 90.0, 180.0
WAYS = ("map/stock", "map/plain", "map/matmul", "vmap/matmul")


def measure_share(case: Case, make: Turn, turns: int, dtype: str = "float32") -> Values:
    """Returns the speed of a turn, and its share of the device's peak."""
    values = time_turns(make, case.client_steps, turns)
    share = case.share_of_peak(values["milliseconds_per_client_step"], dtype)
    return values | {"share_of_peak": share, "step_flops": case.count_step_flops()}


def main(argv: Sequence[str] | None = None) -> None:
    """Measures ours and PyTorch, then the lower limit and the other ways."""
    prepare_platforms()
    part = Part.open("medium", argv)
    is_tiny = part.setting.is_tiny
    clients, steps, turns = (2, 2, 1) if is_tiny else (NUM_CLIENTS, NUM_STEPS, NUM_TURNS)
    case = make_case(TINY_MODEL if is_tiny else MODEL, clients, steps)
    torch_steps = 1 if is_tiny else TORCH_STEPS

    def way(text: str) -> None:
        part.measure(
            text, lambda: measure_share(case, lambda: make_round(case, make_way(text)), turns)
        )

    def plain(name: str, make: Turn) -> None:
        part.measure(name, lambda: measure_share(case, make, turns))

    stock = make_way("map/stock")
    way(WAYS[0])
    part.measure("PyTorch eager", lambda: measure_torch(part, case, torch_steps, EAGER_LIMIT))
    plain("scan x1/stock", lambda: make_scan(case, stock))
    part.measure(
        "PyTorch compiled",
        lambda: measure_torch(part, case, torch_steps, COMPILED_LIMIT, "--compile"),
    )
    for text in WAYS[1:2] if is_tiny else WAYS[1:]:
        way(text)
    plain("plain steps, one dispatch each", lambda: make_steps(case, stock))
    part.complete()


if __name__ == "__main__":
    end_on_request()
    main()
