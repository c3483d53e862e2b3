"""The simulator: a state, and the round that turns it into the next state."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.federated import (
    NOT_MEASURED,
    ClientInputs,
    ClientMapping,
    ClientReport,
    LocalTraining,
    LocalWork,
    RoundOutcome,
    ServerUpdate,
    SharedInputs,
    UploadStatistics,
    empty_client_memory,
    gather_inputs,
    make_client_map,
    make_round,
    make_server_update,
    make_train,
)
from fedjax_diffusion.federated.aggregation import select
from fedjax_diffusion.federated.round import RoundFn
from fedjax_diffusion.host.platforms import cpu_device
from fedjax_diffusion.keys import Stream, place_key, stream_key
from fedjax_diffusion.quantization import QuantizationConfig
from fedjax_diffusion.types import Array, Key, Params, PyTree


@flax.struct.dataclass
class SimulationState:
    """The complete input of the next step. It has no keys: they are derived from the run's key.

    Attributes:
      round: int32 [], the number of the next round.
      params: the global model, float32.
      opt_state: the server optimizer's state.
      ema_params: exponential moving average of ``params`` over rounds; samples come from it.
      bit_width_error: float32 [K, 17], bound on the squared error of each client's last upload at
        each of ``BIT_WIDTHS``, in squared parameter units; ``NOT_MEASURED`` for a client that has
        not uploaded yet.
      update_squared_norm: float32 [], squared norm of the last mean update, in the same unit;
        ``NOT_MEASURED`` at first.
      client_memory: float32 [K, R, 128], the error that each client kept of its last upload; ()
        without error feedback.
    """

    round: Array
    params: Params
    opt_state: PyTree
    ema_params: Params
    bit_width_error: Array
    update_squared_norm: Array
    client_memory: PyTree = ()

    @property
    def range_variance(self) -> Array:
        """Bound at one bit, float32 [K], squared parameter units: V_k."""
        return self.bit_width_error[:, 0]

    @property
    def upload_statistics(self) -> UploadStatistics:
        """The part that the plan of the next round needs; nothing is copied."""
        return UploadStatistics(self.round, self.bit_width_error, self.update_squared_norm)


@flax.struct.dataclass
class RoundInfo:
    """Diagnostics of one round; the next round needs none of them.

    Attributes:
      loss: float32 [], mean local loss weighted by a_k; NaN if no client was included.
      clients: ``ClientReport``, [M].
      quantization_error: float32 [], ``||sum_k a_k (Q(u_k) - u_k)||^2``, squared parameter units.
      quantization_error_bound: float32 [], ``sum_k a_k^2 bound_k``, with the ranges of the sent
        updates; ``sum_k a_k bound_k`` if the errors do not have mean zero. Same unit.
      update_squared_norm: float32 [], squared norm of the mean update. Same unit.
    """

    loss: Array
    clients: ClientReport
    quantization_error: Array
    quantization_error_bound: Array
    update_squared_norm: Array


class HasNumBits(Protocol):
    """Any object with the bits of each client of the cohort, such as an ``Allocation``."""

    @property
    def num_bits(self) -> Any:
        """Bits of each client, int [M]: 1..16 or 32; 0 for a client that does not participate."""


PureStep = Callable[[Key, SimulationState, ClientInputs, Any], tuple[SimulationState, RoundInfo]]
"""``pure_step(key, state, inputs [M], data) -> (state, info)``."""


class Simulator(NamedTuple):
    """The functions of a simulator.

    Attributes:
      init: ``init(key, data) -> SimulationState``; of the data it reads only the length K of
        ``num_examples``. It can be vmapped over keys.
      step: ``step(key, state, allocation, cohort, data, rows=None, num_steps=None) ->
        (SimulationState, RoundInfo)``; gathers the round's inputs on the host, see
        ``gather_inputs``, and calls the compiled ``pure_step``: one compilation serves all rounds,
        bits, channels, steps and keys. ``key`` is the run's key in every call; the draws of a round
        depend on it and ``state.round``. ``cohort`` int32 [M] holds client ids,
        ``allocation.num_bits`` [M] their bits, ``rows`` int32 [M] their rows in the data (None:
        their ids), ``num_steps`` int [M] their local steps (None: from ``LocalTraining.work``).
        It returns before the devices have finished, and copies nothing to the host.
      pure_step: ``pure_step(key, state, inputs, data) -> (SimulationState, RoundInfo)``, a pure
        function of arrays that is not compiled by itself: jit it, or vmap it over the S runs of a
        sweep. ``key`` [] is the run's key, ``inputs`` the cohort's ``ClientInputs`` [M]; their
        ``client_memory`` is ignored, the state's is used. Over S runs ``key`` is [S] and every
        array of ``state`` has a leading [S]; so do the ``inputs`` in which the runs differ.
    """

    init: Callable[[Key, Any], SimulationState]
    step: Callable[..., tuple[SimulationState, RoundInfo]]
    pure_step: PureStep


def make_simulator(
    init_params: Callable[[Key], Params],
    training: LocalTraining,
    *,
    mapping: ClientMapping | None = None,
    server: ServerUpdate | None = None,
    mode: str = "update",
    quantization: QuantizationConfig | None = None,
    donate_state: bool = False,
) -> Simulator:
    """Builds a simulator for any model, loss and data; nothing here is specific to diffusion.

    Args:
      init_params: ``key -> params``.
      training: loss, batches, optimizer and amount of work of the clients.
      mapping: mapping of clients to the hardware; None: one after the other. The state is kept on
        all devices of its mesh. Under ``loop`` nothing is jitted.
      server: use of the mean update by the server; None: federated averaging.
      mode: ``"update"`` or ``"model"``, the quantized quantity.
      quantization: quantizer and options; None: stochastic quantization without options.
      donate_state: let ``step`` overwrite the given state with the next; do not use it afterwards.

    Raises:
      ValueError: unknown ``mode``, or error feedback in another mode than ``"update"``.

    Guarantees:
      32 bits, plain SGD and one local step are centralized SGD.
    """
    mapping = ClientMapping() if mapping is None else mapping
    server = ServerUpdate() if server is None else server
    quantization = QuantizationConfig() if quantization is None else quantization
    round_fn = make_round(
        make_train(training),
        make_client_map(mapping),
        make_server_update(server.optimizer),
        mode=mode,
        quantization=quantization,
    )
    # All inputs are on the devices of the state, so the program transfers nothing.
    placement = None if mapping.mesh is None else NamedSharding(mapping.mesh, PartitionSpec())
    init = _make_init(init_params, server.optimizer, quantization, placement)
    advance = functools.partial(_advance, server.ema_decay, quantization)
    pure_step = _make_pure_step(round_fn, advance)
    compiled_step = pure_step
    if mapping.name != "loop":
        donated = (1,) if donate_state else ()
        compiled_step = jax.jit(pure_step, donate_argnums=donated, out_shardings=placement)
    return Simulator(init, _make_step(compiled_step, training.work, placement), pure_step)


def _make_init(
    init_params: Callable[[Key], Params],
    server_optimizer: optax.GradientTransformation,
    quantization: QuantizationConfig,
    placement: Sharding | None,
) -> Callable[[Key, Any], SimulationState]:
    def make_state(key: Key, num_clients: int) -> SimulationState:
        params = init_params(stream_key(key, Stream.INIT))
        return SimulationState(
            round=jnp.int32(0),
            params=params,
            opt_state=server_optimizer.init(params),
            ema_params=params,
            bit_width_error=jnp.full((num_clients, len(BIT_WIDTHS)), NOT_MEASURED, jnp.float32),
            update_squared_norm=jnp.float32(NOT_MEASURED),
            client_memory=empty_client_memory(quantization, params, num_clients),
        )

    # One program instead of one per operation; the arrays of a state share no memory.
    compiled = jax.jit(make_state, static_argnums=1, out_shardings=placement)
    # Hundreds of small random arrays take an accelerator's compiler ten times as long as the CPU's.
    on_cpu = jax.jit(make_state, static_argnums=1)

    def init(key: Key, data: Any) -> SimulationState:
        num_clients = len(data.num_examples)
        if jax.default_backend() == "cpu" or isinstance(key, Tracer):
            return compiled(key, num_clients)
        state = on_cpu(place_key(key, SingleDeviceSharding(cpu_device())), num_clients)
        return jax.device_put(jax.device_get(state), placement)

    return init


def _make_pure_step(
    round_fn: RoundFn, advance: Callable[..., tuple[SimulationState, RoundInfo]]
) -> PureStep:
    def pure_step(key: Key, state: SimulationState, inputs: ClientInputs, data: Any):
        chex.assert_rank([inputs.client, inputs.num_bits, state.bit_width_error], [1, 1, 2])
        shared = SharedInputs(key, state.round, state.params, data)
        client_memory = jax.tree.map(lambda x: x[inputs.client], state.client_memory)
        inputs = dataclasses.replace(inputs, client_memory=client_memory)
        outcome = round_fn(shared, inputs, state.opt_state)
        return advance(state, inputs.client, outcome)

    return pure_step


def _make_step(
    compiled_step: PureStep, work: LocalWork, placement: Sharding | None
) -> Callable[..., tuple[SimulationState, RoundInfo]]:
    def step(
        key: Key,
        state: SimulationState,
        allocation: HasNumBits,
        cohort: Array,
        data: Any,
        rows: Array | None = None,
        num_steps: np.ndarray | None = None,
    ):
        inputs = gather_inputs(
            cohort,
            allocation.num_bits,
            data.num_examples,
            work,
            rows=rows,
            num_steps=num_steps,
            placement=placement,
        )
        data = jax.device_put(data, placement)
        return compiled_step(place_key(key, placement), state, inputs, data)

    return step


def _advance(
    ema_decay: float,
    quantization: QuantizationConfig,
    state: SimulationState,
    cohort: Array,
    outcome: RoundOutcome,
) -> tuple[SimulationState, RoundInfo]:
    clients = outcome.clients
    is_any = clients.is_included.any()
    is_measured = clients.is_included[:, None]
    bit_width_error = jnp.where(is_measured, clients.bit_width_error, state.bit_width_error[cohort])
    next_state = dataclasses.replace(
        state,
        round=state.round + 1,
        params=outcome.params,
        opt_state=outcome.opt_state,
        ema_params=optax.incremental_update(outcome.params, state.ema_params, 1 - ema_decay),
        bit_width_error=state.bit_width_error.at[cohort].set(bit_width_error),
        update_squared_norm=select(is_any, outcome.update_squared_norm, state.update_squared_norm),
        client_memory=jax.tree.map(
            lambda x, new: x.at[cohort].set(new), state.client_memory, outcome.client_memory
        ),
    )
    aggregation_factor = quantization.aggregation_factor(clients.weight)
    info = RoundInfo(
        loss=jnp.where(is_any, _weighted_sum(clients.weight, clients.loss), jnp.nan),
        clients=clients,
        quantization_error=outcome.quantization_error,
        quantization_error_bound=_weighted_sum(aggregation_factor, clients.error_bound),
        update_squared_norm=outcome.update_squared_norm,
    )
    return next_state, info


def _weighted_sum(weight: Array, value: Array) -> Array:
    """Returns ``sum_k weight_k value_k`` []; a NaN with zero weight counts as zero."""
    return jnp.where(weight > 0, weight * value, 0.0).sum()
