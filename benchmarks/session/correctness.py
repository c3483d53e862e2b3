"""A comparison of codes, messages and rounds of this device with the CPU's.

python -m benchmarks.session.correctness --output=FOLDER [--tiny]
"""

import contextlib
import functools
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.engines.models import SESSION_MODELS
from benchmarks.session.cases import Case, make_case, make_config, make_way
from benchmarks.session.child import end_on_request, run_child
from benchmarks.session.record import Part, Values
from fedjax_diffusion import seed_to_key
from fedjax_diffusion.experiment.task import make_task
from fedjax_diffusion.federated import LocalWork
from fedjax_diffusion.host.platforms import prepare_platforms
from fedjax_diffusion.quantization import encode_update, stochastic_quantize
from fedjax_diffusion.types import PyTree

NUM_SEEDS = 8
TEST_LIMIT = 150.0
WAYS = ("map/stock", "vmap/stock", "vmap/matmul", "chunked:4/matmul")
REFERENCE = "map/plain"
"""The way of the reference on the CPU."""
Player = Callable[[int, int], tuple[float, np.ndarray]]
"""``play(seed, num_bits) -> (loss, parameters [d])`` of a round."""


def make_tree(model: str) -> PyTree:
    """Returns normal numbers as parameters of a model, on the host."""
    config, shape = make_config(model), SESSION_MODELS[model].image_shape
    task = make_task(config.model, config.diffusion, shape)
    shapes = jax.eval_shape(task.denoiser.init, seed_to_key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.standard_normal(x.shape).astype(np.float32), shapes)


def on_both(function: Callable[[], Any]) -> tuple[Any, Any]:
    """Returns a function's results on the accelerator and on the CPU, as host arrays."""
    results = []
    for device in (jax.local_devices()[0], jax.local_devices(backend="cpu")[0]):
        with jax.default_device(device):
            results.append(jax.device_get(function()))
    return results[0], results[1]


def compare_codes(tree: PyTree, num_bits: int) -> Values:
    """Compares the receiver's values after quantization here and on the CPU."""
    quantize = jax.jit(stochastic_quantize)
    here, there = on_both(lambda: quantize(seed_to_key(0), tree, jnp.int32(num_bits)))
    pairs = list(zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True))
    return {
        "is_equal": all(np.array_equal(a, b) for a, b in pairs),
        "num_entries": sum(a.size for a, _ in pairs),
        "num_different": int(sum((a != b).sum() for a, b in pairs)),
        "max_difference": float(max(np.abs(a - b).max() for a, b in pairs)),
    }


def compare_messages(tree: PyTree, num_bits: int) -> Values:
    """Compares the bytes of an upload, encoded here and on the CPU."""
    here, there = on_both(lambda: encode_update(seed_to_key(0), tree, num_bits))
    return {"is_equal": here == there, "num_bytes": len(here)}


def make_player(case: Case, way: str, device: Any, precision: str | None) -> Player:
    """Returns a function that runs the first round of a run with a seed and bits, on a device."""
    work = LocalWork(batch_size=case.batch_size, local_steps=case.num_steps)
    simulator = case.learner.make_simulator(make_way(way), work)
    cohort = np.arange(case.num_clients, dtype=np.int32)
    data = jax.device_put(case.data, device)
    cpu = jax.local_devices(backend="cpu")[0]

    @functools.cache
    def play(seed: int, num_bits: int) -> tuple[float, np.ndarray]:
        with jax.default_device(cpu):
            state = jax.device_get(simulator.init(seed_to_key(seed), jax.device_get(case.data)))
        context = contextlib.nullcontext() if precision is None else _at(precision)
        with jax.default_device(device), context:
            key, state = seed_to_key(seed), jax.device_put(state, device)
            bits = SimpleNamespace(num_bits=np.full(case.num_clients, num_bits))
            state, info = simulator.step(key, state, bits, cohort, data)
            leaves = jax.tree.leaves(jax.device_get(state.params))
        return float(info.loss), np.concatenate([leaf.ravel() for leaf in leaves])

    return play


def _at(precision: str) -> Any:
    return jax.default_matmul_precision(precision)


def compare_rounds(play: Player, reference: Player, num_bits: int) -> Values:
    """Compares a round with the CPU's."""
    expected_loss, expected = reference(0, num_bits)
    loss, params = play(0, num_bits)
    difference = np.abs(params - expected)
    return {
        "loss": loss,
        "loss_difference": loss - expected_loss,
        "max_difference": float(difference.max()),
        "relative_difference": float(np.linalg.norm(difference) / np.linalg.norm(expected)),
        "share_beyond_1e-5": float((difference > 1e-5).mean()),
    }


def compare_precision(default: Player, highest: Player, num_seeds: int) -> Values:
    """Compares the losses of rounds at JAX's default precision with those at the highest."""
    pairs = [[play(seed, 32)[0] for play in (default, highest)] for seed in range(num_seeds)]
    differences = np.array([first - second for first, second in pairs])
    return {
        "losses": pairs,
        "mean_difference": float(differences.mean()),
        "standard_error": float(differences.std(ddof=1) / np.sqrt(num_seeds)),
        "mean_loss": float(np.mean(pairs)),
    }


def run_tests(is_tiny: bool) -> Values:
    """Runs the tests that need this device."""
    if importlib.util.find_spec("pytest") is None:
        raise RuntimeError("pytest is not installed")
    chosen = ["--version"] if is_tiny else ["-m", "gpu", "tests", "-q", "-p", "no:cacheprovider"]
    ended = run_child([sys.executable, "-m", "pytest", *chosen], TEST_LIMIT)
    tail = [text for _, text in ended.lines if text.strip()][-15:]
    return {"code": ended.code, "is_passed": ended.code == 0, "reason": ended.reason, "tail": tail}


def main(argv: Sequence[str] | None = None) -> None:
    """Compares codes, messages, rounds and losses, and runs the tests."""
    prepare_platforms()
    part = Part.open("correctness", argv)
    is_tiny = part.setting.is_tiny
    model = "tiny-8x8" if is_tiny else "0.27M-8x8"
    tree, device = make_tree(model), jax.local_devices()[0]
    for num_bits in (8,) if is_tiny else (8, 2, 4, 16):
        part.measure(f"codes, {num_bits} bits", lambda b=num_bits: compare_codes(tree, b))
        part.measure(f"wire, {num_bits} bits", lambda b=num_bits: compare_messages(tree, b))
    case = make_case(model, *((2, 2) if is_tiny else (5, 5)))
    cpu = jax.local_devices(backend="cpu")[0]
    player = functools.cache(functools.partial(make_player, case))
    for way in WAYS[:1] if is_tiny else WAYS:
        for num_bits in (32, 8):
            part.measure(
                f"round, {num_bits} bits, {way}",
                lambda w=way, b=num_bits: compare_rounds(
                    player(w, device, "highest"), player(REFERENCE, cpu, "highest"), b
                ),
            )
    part.measure(
        "losses, default and highest precision",
        lambda: compare_precision(
            player(WAYS[0], device, "highest" if is_tiny else None),
            player(WAYS[0], device, "highest"),
            2 if is_tiny else NUM_SEEDS,
        ),
    )
    part.measure("pytest -m gpu", lambda: run_tests(is_tiny))
    part.complete()


if __name__ == "__main__":
    end_on_request()
    main()
