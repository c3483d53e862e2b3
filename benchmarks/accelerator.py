"""Client-steps per second on one device, every mapping and lowering, against plain training steps.

    python benchmarks/accelerator.py   # on a GPU or TPU; anywhere, to see it work:
    python benchmarks/accelerator.py --models=digits --clients=2 --steps=2 --output=/dev/null

The models are those of ``configs/digits.py`` (0.27 M) and ``configs/cifar10.py`` (35.7 M, without
dropout), on images of noise. A way is a whole round: broadcast, local training, 8-bit quantization,
average. The limit is jitted steps of the same loss with no federation, stock convolutions. "auto"
is what a run would choose on this device by its own trials. Model FLOP utilization is the counted
FLOPs of the model over what the device can do: dense bfloat16, or TF32 for float32, by its data
sheet; give --peak_tflops where the device is not known here.
"""

import argparse
import dataclasses
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

from fedjax_diffusion import load_config, seed_to_key  # noqa: E402
from fedjax_diffusion.config import Config  # noqa: E402
from fedjax_diffusion.data import (  # noqa: E402
    ImageDataset,
    draw_batch,
    make_client_data,
    make_load_resident,
)
from fedjax_diffusion.diffusion import ddpm_loss  # noqa: E402
from fedjax_diffusion.federated import LocalWork  # noqa: E402
from fedjax_diffusion.hardware import ComputeConfig, describe_machine, resolve  # noqa: E402
from fedjax_diffusion.learner import Learner  # noqa: E402
from fedjax_diffusion.optimizers import OptimizerConfig, make_optimizer  # noqa: E402
from fedjax_diffusion.quantization import QuantizationConfig  # noqa: E402
from fedjax_diffusion.scenario import Scenario, build_scenario  # noqa: E402
from fedjax_diffusion.trials import Trials, tune  # noqa: E402

IMAGE_SHAPES = {"digits": (8, 8, 1), "cifar10": (32, 32, 3)}
EXAMPLES_PER_CLIENT = 256
PEAK_TFLOPS = {  # data sheets, dense: bfloat16, TF32
    "NVIDIA H100 80GB HBM3": {"bfloat16": 989.0, "float32": 494.0},
    "NVIDIA H200": {"bfloat16": 989.0, "float32": 494.0},
    "NVIDIA A100-SXM4-80GB": {"bfloat16": 312.0, "float32": 156.0},
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and a number of clients, of ``num_steps`` local steps a round."""

    config: Config
    image_shape: tuple[int, int, int]
    num_clients: int
    num_steps: int
    data: Any
    scenario: Scenario

    @functools.cached_property
    def learner(self) -> Learner:
        """On one device."""
        return Learner(self.config, self.image_shape, QuantizationConfig(), None)

    @property
    def batch_size(self) -> int:
        """Of a local step."""
        return self.config.local_work.batch_size


def make_case(name: str, num_clients: int, num_steps: int) -> Case:
    """Returns a case on noise that all clients draw from."""
    config = load_config(name)
    config.partition.num_clients, config.cohort_size, config.model.dropout = num_clients, None, 0.0
    num_examples = EXAMPLES_PER_CLIENT * min(num_clients, 8)
    rng, shape = np.random.default_rng(0), IMAGE_SHAPES[name]
    images = rng.integers(0, 256, (num_examples, *shape), dtype=np.uint8)
    dataset = ImageDataset(images, np.zeros(num_examples, np.int32), 10, "noise")
    shares = np.split(np.arange(num_examples), min(num_clients, 8))
    data = jax.device_put(make_client_data(dataset, [shares[k % 8] for k in range(num_clients)]))
    scenario = build_scenario(config, np.full(num_clients, EXAMPLES_PER_CLIENT), shape)
    return Case(config, shape, num_clients, num_steps, data, scenario)


def make_round(case: Case, compute: ComputeConfig) -> Callable[[], Any]:
    """Returns a function that plays a round; its client-steps are ``num_clients x num_steps``."""
    work = LocalWork(batch_size=case.batch_size, local_steps=case.num_steps)
    simulator = case.learner.make_simulator(compute, work)
    key, cohort = seed_to_key(0), np.arange(case.num_clients, dtype=np.int32)
    state: Any = simulator.init(key, case.data)

    class Bits:
        num_bits = np.full(case.num_clients, 8)

    def play() -> Any:
        nonlocal state
        state, info = simulator.step(key, state, Bits, cohort, case.data)
        return info.loss

    return play


def make_plain(case: Case, dtype: str) -> Callable[[], Any]:
    """Returns a function that takes as many plain steps as a round of ``make_round`` has."""
    compute = ComputeConfig("map", None, "stock", 1, "resident", dtype)
    denoiser = case.learner.make_denoiser(compute)
    loss_fn = functools.partial(ddpm_loss, denoiser.apply, case.learner.schedule)
    optimizer = make_optimizer(OptimizerConfig(**case.config.client_optimizer))
    key = seed_to_key(0)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, opt_state, i):
        row = i % case.num_clients
        batch = draw_batch(key, case.data, row, i, batch_size=case.batch_size)
        loss, grads = jax.value_and_grad(loss_fn)(params, batch, jax.random.key(i))
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    def play() -> Any:
        params, loss = denoiser.init(key), None
        opt_state = optimizer.init(params)
        for i in range(case.num_clients * case.num_steps):
            params, opt_state, loss = step(params, opt_state, jnp.int32(i))
        return loss

    return play


def measure(case: Case, ways: dict[str, Callable[[], Any]], num_turns: int) -> tuple[dict, dict]:
    """Returns client-steps per second by way, medians of turns, and what failed with its reason."""
    seconds: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    for way, make in ways.items():  # one after the other: together they may not fit into memory
        try:
            play = make()
            jax.block_until_ready(play())
            for _ in range(num_turns):
                start = time.perf_counter()
                jax.block_until_ready(play())
                seconds.setdefault(way, []).append(time.perf_counter() - start)
        except jax.errors.JaxRuntimeError as error:  # out of memory, for one
            failed[way] = str(error).splitlines()[0][:200]
        jax.clear_caches()
    steps = case.num_clients * case.num_steps
    return {way: steps / statistics.median(s) for way, s in seconds.items()}, failed


def list_ways(case: Case, dtype: str, arguments) -> dict[str, Callable[[], Any]]:
    """Returns what is timed: the limit, every mapping with every lowering, and the choice."""

    def way(**fields: Any) -> ComputeConfig:
        return resolve(ComputeConfig(cpu_devices=1, dtype=dtype, **fields), case.num_clients)

    ways: dict[str, Callable[[], Any]] = {"plain steps": lambda: make_plain(case, dtype)}
    for text in arguments.maps.split(","):
        client_map, _, size = text.partition(":")
        if size and int(size) >= case.num_clients:
            continue
        for conv in arguments.convs.split(","):
            compute = way(client_map=client_map, chunk_size=int(size) if size else None, conv=conv)
            ways[f"{text} {conv}"] = lambda compute=compute: make_round(case, compute)
    asked = ComputeConfig(cpu_devices=1, dtype=dtype)
    cohort = np.arange(case.num_clients, dtype=np.int32)
    load_first = functools.partial(make_load_resident(case.data), cohort)

    def make_auto() -> Callable[[], Any]:
        trials = Trials(case.learner, case.scenario, case.data, load_first)
        chosen = tune(asked, resolve(asked, case.num_clients), trials)
        print(f"  auto: {chosen}", flush=True)
        return make_round(case, chosen)

    return {**ways, "auto": make_auto}


def main() -> None:
    """Measures every case and writes the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", default="digits,cifar10")
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--maps", default="map,chunked:4,chunked:16,vmap")
    parser.add_argument("--convs", default="stock,plain,matmul")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--steps", type=int, default=8, help="local steps of a round")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--peak_tflops", type=float, help="of the device, for the utilization")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    kind, cases = jax.devices()[0].device_kind, []
    for name in arguments.models.split(","):
        for num_clients in map(int, arguments.clients.split(",")):
            case = make_case(name, num_clients, arguments.steps)
            flops = case.scenario.count_cost().flops * case.batch_size
            for dtype in arguments.dtypes.split(","):
                print(f"\n{name}, {num_clients} clients, {dtype}", flush=True)
                rates, failed = measure(case, list_ways(case, dtype, arguments), arguments.turns)
                peak = arguments.peak_tflops or PEAK_TFLOPS.get(kind, {}).get(dtype)
                used = (
                    {} if peak is None else {w: r * flops / peak / 1e12 for w, r in rates.items()}
                )
                for way, rate in sorted(rates.items(), key=lambda entry: -entry[1]):
                    share = f"{used[way]:7.1%} of the peak" if way in used else ""
                    print(f"  {way:20s} {rate:10.1f} client-steps/s {share}", flush=True)
                for way, reason in failed.items():
                    print(f"  {way:20s} not measured: {reason}", flush=True)
                cases.append(
                    {
                        "model": name,
                        "num_clients": num_clients,
                        "dtype": dtype,
                        "flops_per_client_step": flops,
                        "client_steps_per_second": rates,
                        "model_flop_utilization": used,
                        "not_measured": failed,
                    }
                )
                content = {
                    "date": time.strftime("%Y-%m-%d"),
                    "machine": describe_machine(),
                    "num_steps": arguments.steps,
                    "num_turns": arguments.turns,
                    "cases": cases,
                }
                arguments.output.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
