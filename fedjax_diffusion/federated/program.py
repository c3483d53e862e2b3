"""Compiled functions of a simulator: initialization, and the round.

They hold no number that is in ``hyperparameters``, so simulators that differ in nothing else share
them, and each is traced and compiled once for all.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.federated.aggregation import (
    GivenServer,
    ServerUpdate,
    make_server_update,
    select,
)
from fedjax_diffusion.federated.averaging import GivenAveraging
from fedjax_diffusion.federated.client import (
    ClientInputs,
    GivenTraining,
    SharedInputs,
    make_train,
)
from fedjax_diffusion.federated.client_map import ClientMapping, make_client_map
from fedjax_diffusion.federated.hyperparameters import settle
from fedjax_diffusion.federated.round import RoundFn, RoundOutcome, make_round
from fedjax_diffusion.federated.simulation_state import RoundInfo, SimulationState
from fedjax_diffusion.federated.uplink import empty_client_memory
from fedjax_diffusion.federated.upload_statistics import NOT_MEASURED
from fedjax_diffusion.host.platforms import cpu_device
from fedjax_diffusion.keys import Stream, place_key, stream_key
from fedjax_diffusion.quantization import QuantizationConfig
from fedjax_diffusion.quantization.blocks import check_tensors
from fedjax_diffusion.types import Array, Key, Params

PureStep = Callable[..., tuple[SimulationState, RoundInfo]]
"""``pure_step(key, state, inputs [M], data, hyperparameters) -> (state, info)``."""


class Program(NamedTuple):
    """The functions that simulators share.

    Attributes:
      init: ``init(key, num_clients, hyperparameters) -> SimulationState``.
      step: ``pure_step``, compiled.
      pure_step: ``pure_step(key, state, inputs, data, hyperparameters) -> (state, info)``.
      placement: the devices of the state and of all inputs; None: the default one.
    """

    init: Callable[[Key, int, Any], SimulationState]
    step: PureStep
    pure_step: PureStep
    placement: Sharding | None


def make_program(
    init_params: Callable[[Key], Params],
    training: GivenTraining,
    *,
    mapping: ClientMapping,
    server: GivenServer,
    mode: str,
    quantization: QuantizationConfig,
    averaging: GivenAveraging | None = None,
    donate_state: bool,
) -> Program:
    """Returns the program of ``make_simulator`` with these arguments."""
    round_fn = make_round(
        make_train(training),
        make_client_map(mapping),
        make_server_update(server),
        mode=mode,
        quantization=quantization,
        averaging=averaging,
    )
    # All inputs are on the devices of the state, so the program transfers nothing.
    placement = None if mapping.mesh is None else NamedSharding(mapping.mesh, PartitionSpec())
    init = _make_init(init_params, server, quantization, placement)
    pure_step = _make_pure_step(round_fn, server, quantization)
    if mapping.name == "loop":
        return Program(init, pure_step, pure_step, placement)
    donated = (1,) if donate_state else ()
    step = jax.jit(pure_step, donate_argnums=donated, out_shardings=placement)
    return Program(init, step, pure_step, placement)


def _make_init(
    init_params: Callable[[Key], Params],
    server: GivenServer,
    quantization: QuantizationConfig,
    placement: Sharding | None,
) -> Callable[[Key, int, Any], SimulationState]:
    def make_state(key: Key, num_clients: int, hyperparameters: Any) -> SimulationState:
        params = init_params(stream_key(key, Stream.INIT))
        check_tensors(params)
        # A weak type, of ``jnp.full`` say, is gone after a round, which would be compiled again.
        params = jax.tree.map(lambda x: jnp.asarray(x, x.dtype), params)
        return SimulationState(
            round=jnp.int32(0),
            params=params,
            opt_state=settle(server, hyperparameters).optimizer.init(params),
            ema_params=params,
            bit_width_error=jnp.full((num_clients, len(BIT_WIDTHS)), NOT_MEASURED, jnp.float32),
            update_squared_norm=jnp.float32(NOT_MEASURED),
            client_memory=empty_client_memory(quantization, params, num_clients),
        )

    # One program instead of one per operation; the arrays of a state share no memory.
    compiled = jax.jit(make_state, static_argnums=1, out_shardings=placement)
    # Hundreds of small random arrays take an accelerator's compiler ten times as long as the CPU's.
    on_cpu = jax.jit(make_state, static_argnums=1)

    def init(key: Key, num_clients: int, hyperparameters: Any) -> SimulationState:
        if jax.default_backend() == "cpu" or isinstance(key, Tracer):
            return compiled(key, num_clients, hyperparameters)
        cpu = SingleDeviceSharding(cpu_device())
        hyperparameters = jax.device_put(jax.device_get(hyperparameters), cpu)
        state = on_cpu(place_key(key, cpu), num_clients, hyperparameters)
        return jax.device_put(jax.device_get(state), placement)

    return init


def _make_pure_step(
    round_fn: RoundFn, server: GivenServer, quantization: QuantizationConfig
) -> PureStep:
    def pure_step(
        key: Key, state: SimulationState, inputs: ClientInputs, data: Any, hyperparameters: Any
    ) -> tuple[SimulationState, RoundInfo]:
        chex.assert_rank([inputs.client, inputs.num_bits, state.bit_width_error], [1, 1, 2])
        shared = SharedInputs(key, state.round, state.params, data, hyperparameters)
        client_memory = jax.tree.map(lambda x: x[inputs.client], state.client_memory)
        inputs = dataclasses.replace(inputs, client_memory=client_memory)
        outcome = round_fn(shared, inputs, state.opt_state)
        settled = settle(server, hyperparameters)
        return _advance(settled, quantization, state, inputs.client, outcome)

    return pure_step


def _advance(
    server: ServerUpdate,
    quantization: QuantizationConfig,
    state: SimulationState,
    cohort: Array,
    outcome: RoundOutcome,
) -> tuple[SimulationState, RoundInfo]:
    clients = outcome.clients
    is_taken = outcome.is_any & ~outcome.is_refused
    is_measured = clients.is_included[:, None]
    bit_width_error = jnp.where(is_measured, clients.bit_width_error, state.bit_width_error[cohort])
    next_state = dataclasses.replace(
        state,
        round=state.round + 1,
        params=outcome.params,
        opt_state=outcome.opt_state,
        ema_params=optax.incremental_update(outcome.params, state.ema_params, 1 - server.ema_decay),
        bit_width_error=state.bit_width_error.at[cohort].set(bit_width_error),
        update_squared_norm=select(
            is_taken, outcome.update_squared_norm, state.update_squared_norm
        ),
        client_memory=jax.tree.map(
            lambda x, new: x.at[cohort].set(new), state.client_memory, outcome.client_memory
        ),
    )
    aggregation_factor = quantization.aggregation_factor(clients.weight)
    info = RoundInfo(
        loss=jnp.where(clients.weight.any(), _weighted_sum(clients.weight, clients.loss), jnp.nan),
        clients=clients,
        quantization_error=outcome.quantization_error,
        quantization_error_bound=_weighted_sum(aggregation_factor, clients.error_bound),
        update_squared_norm=outcome.update_squared_norm,
        is_refused=outcome.is_refused,
    )
    return next_state, info


def _weighted_sum(weight: Array, value: Array) -> Array:
    """Returns ``sum_k weight_k value_k`` []; a NaN with zero weight counts as zero."""
    return jnp.where(weight > 0, weight * value, 0.0).sum()
