"""Timed turns of training: whole rounds, and plain steps without federation."""

import functools
import gc
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.session.cases import Case
from benchmarks.session.record import Values
from fedjax_diffusion import seed_to_key
from fedjax_diffusion.data import ClientData, draw_batch
from fedjax_diffusion.experiment.compute import ComputeConfig
from fedjax_diffusion.experiment.optimizers import make_optimizer
from fedjax_diffusion.federated import LocalWork
from fedjax_diffusion.keys import step_key
from fedjax_diffusion.simulator import Simulator
from fedjax_diffusion.types import Array

Turn = Callable[[], Any]
"""A function that trains and returns the loss, which may not be ready yet."""
_compiled = [0.0]
"""Seconds of compilation so far, in this process."""


def _add_compilation(event: str, duration_secs: float, **_: Any) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        _compiled[0] += duration_secs


jax.monitoring.register_event_duration_secs_listener(_add_compilation)


def count_compile_seconds() -> float:
    """Returns the seconds of compilation so far, in this process."""
    return _compiled[0]


def make_round(case: Case, compute: ComputeConfig, simulator: Simulator | None = None) -> Turn:
    """Returns a turn of one round: broadcast, local training, 8-bit quantization, average."""
    if simulator is None:
        work = LocalWork(batch_size=case.batch_size, local_steps=case.num_steps)
        simulator = case.learner.make_simulator(compute, work)
    step, key = simulator.step, seed_to_key(0)
    cohort = np.arange(case.num_clients, dtype=np.int32)
    bits = SimpleNamespace(num_bits=np.full(case.num_clients, 8))
    state: Any = simulator.init(key, case.data)

    def play() -> Array:
        nonlocal state
        state, info = step(key, state, bits, cohort, case.data)
        return info.loss

    return play


def make_step(case: Case, compute: ComputeConfig) -> tuple[Callable, Callable]:
    """Returns ``start(key)`` and ``step(carry, data, row, i)`` of one model, without federation."""
    task = case.learner.make_task(compute)
    loss_fn = task.make_loss(case.config.guidance.label_dropout)
    is_flat = jax.default_backend() != "cpu"  # as in a run
    optimizer = make_optimizer(case.config.client_optimizer, is_flat=is_flat)
    key = seed_to_key(0)

    def start(key: Array) -> tuple[Any, Any]:
        params = task.denoiser.init(key)
        return params, optimizer.init(params)

    def step(carry: tuple[Any, Any], data: ClientData, row: Array, i: Array):
        params, opt_state = carry
        batch = draw_batch(key, data, row, i, batch_size=case.batch_size)
        loss, grads = jax.value_and_grad(loss_fn)(params, batch, step_key(key, i))
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    return start, step


def make_scan(case: Case, compute: ComputeConfig, width: int = 1) -> Turn:
    """Returns a turn of a round's number of plain steps in one program, its lower limit.

    Args:
      case: model, data, number of steps.
      compute: lowering and precision; its mapping is not used.
      width: number of models that are trained in parallel, by ``vmap``.
    """
    start, step = make_step(case, compute)
    rows = jnp.arange(width, dtype=jnp.int32) % case.num_clients

    def one(carry: Any, i: Array, data: ClientData) -> tuple[Any, Array]:
        if width == 1:
            return step(carry, data, i % case.num_clients, i)
        carry, losses = jax.vmap(step, (0, None, 0, None))(carry, data, rows, i)
        return carry, losses.mean()

    @functools.partial(jax.jit, donate_argnums=0)
    def scan(carry: Any, data: ClientData) -> tuple[Any, Array]:
        steps = jnp.arange(case.client_steps // width, dtype=jnp.int32)
        carry, losses = jax.lax.scan(lambda c, i: one(c, i, data), carry, steps)
        return carry, losses.mean()

    key = seed_to_key(0)
    carry = jax.jit(start if width == 1 else jax.vmap(start))(
        key if width == 1 else jax.random.split(key, width)
    )

    def play() -> Array:
        nonlocal carry
        carry, loss = scan(carry, case.data)
        return loss

    return play


def make_steps(case: Case, compute: ComputeConfig) -> Turn:
    """Returns a turn of a round's number of plain steps, one dispatch each."""
    start, step = make_step(case, compute)
    carry, jitted = jax.jit(start)(seed_to_key(0)), jax.jit(step, donate_argnums=0)

    def play() -> Any:
        nonlocal carry
        loss = None
        for i in range(case.client_steps):
            carry, loss = jitted(carry, case.data, jnp.int32(i % case.num_clients), jnp.int32(i))
        return loss

    return play


def time_turns(make: Callable[[], Turn], client_steps: int, num_turns: int) -> Values:
    """Returns a turn's median and fastest time per client-step, and the first turn's time.

    The compiled programs and their memory are released afterwards.

    Args:
      make: makes the turn.
      client_steps: of a turn.
      num_turns: number of turns, after the first, which compiles, and a second to warm up.
    """
    seconds, compiled, loss = [], count_compile_seconds(), float("nan")
    try:
        play = make()
        start = time.perf_counter()
        jax.block_until_ready(play())
        first, compiled = time.perf_counter() - start, count_compile_seconds() - compiled
        jax.block_until_ready(play())
        for _ in range(num_turns):
            start = time.perf_counter()
            loss = jax.block_until_ready(play())
            seconds.append(time.perf_counter() - start)
        return {
            "milliseconds_per_client_step": 1e3 * statistics.median(seconds) / client_steps,
            "fastest_milliseconds": 1e3 * min(seconds) / client_steps,
            "first_turn_seconds": first,
            "compile_seconds": compiled,
            "client_steps": client_steps,
            "num_turns": num_turns,
            "loss": float(loss),
            "peak_memory_bytes": count_peak_bytes(),
        }
    finally:
        play = None
        jax.clear_caches()
        gc.collect()


def count_peak_bytes() -> int | None:
    """Returns the peak memory of this process on the device; None if it is unknown."""
    statistics_ = jax.local_devices()[0].memory_stats() or {}
    return statistics_.get("peak_bytes_in_use")
