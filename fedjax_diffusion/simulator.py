"""The simulator: ``init`` makes the state of a federation, ``step`` plays one round on it."""

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
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.federated import (
    ClientInputs,
    ClientReport,
    LocalWork,
    RoundOutcome,
    SharedInputs,
    empty_client_memory,
    make_client_map,
    make_local_training,
    make_round,
    make_server_update,
)
from fedjax_diffusion.federated.aggregation import select
from fedjax_diffusion.federated.round import RoundFn
from fedjax_diffusion.host.platforms import cpu_device
from fedjax_diffusion.keys import Stream, place_key, stream_key
from fedjax_diffusion.quantization import QuantizationConfig
from fedjax_diffusion.types import Array, BatchFn, Key, LossFn, Params, PyTree

NOT_MEASURED = -1.0
"""``bit_width_error`` and ``update_squared_norm`` before there was anything to measure."""


@flax.struct.dataclass
class SimulationState:
    """What the next step needs, and nothing else. No keys: they are derived from the run's key.

    Attributes:
      round: int32 [], the round that comes next.
      params: the global model, float32.
      opt_state: the server optimizer's state.
      ema_params: exponential moving average of ``params`` over rounds; samples come from it.
      bit_width_error: float32 [K, 17], bound on the squared error of each client's last upload at
        each of ``BIT_WIDTHS``, in squared parameter units; ``NOT_MEASURED`` for a client that has
        not uploaded yet.
      update_squared_norm: float32 [], squared norm of the last mean update, in the same unit;
        ``NOT_MEASURED`` at first.
      client_memory: what clients keep of their last uploads, float32 [K, R, 128], under error
        feedback; () for stateless clients.
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
        """Bound at one bit, float32 [K], squared parameter units: V_k of the paper's quantizer."""
        return self.bit_width_error[:, 0]


@flax.struct.dataclass
class RoundInfo:
    """Diagnostics of one round; the next round needs none of them.

    Attributes:
      loss: float32 [], mean local loss weighted by a_k; NaN if no client was included.
      clients: ``ClientReport``, [M].
      quantization_error: float32 [], ``||sum_k a_k (Q(u_k) - u_k)||^2``, squared parameter units.
      quantization_error_bound: float32 [], ``sum_k a_k^2 bound_k``, Theorem 1 with the ranges that
        were really sent; ``sum_k a_k bound_k`` of errors that do not have mean zero. Same unit.
      update_squared_norm: float32 [], squared norm of the mean update. Same unit.
    """

    loss: Array
    clients: ClientReport
    quantization_error: Array
    quantization_error_bound: Array
    update_squared_norm: Array


class HasNumBits(Protocol):
    """Anything with the bits of each client of the cohort: an ``Allocation``, for one."""

    @property
    def num_bits(self) -> Any:
        """Bits of each client, int [M]: 1..16 or 32; 0 for a client that does not participate."""


class Simulator(NamedTuple):
    """The simulator.

    Attributes:
      init: ``init(key, data) -> SimulationState``; of the data it reads ``num_examples`` [K].
      step: ``step(key, state, allocation, cohort, data, rows=None, num_steps=None) ->
        (SimulationState, RoundInfo)``; one compilation serves all rounds, bits, channels, steps and
        keys. ``key`` is the run's key in every call: what a round draws is derived from it and
        ``state.round``. ``cohort`` int32 [M] are client ids, ``allocation.num_bits`` [M] their
        bits, ``rows`` int32 [M] where the data hold them; None: at their ids. ``num_steps`` int [M]
        are their local steps; None: as ``local_work`` says. It gathers these on the host, so it can
        be neither jitted nor mapped, and returns as soon as the devices have their work.
    """

    init: Callable[[Key, Any], SimulationState]
    step: Callable[..., tuple[SimulationState, RoundInfo]]


def make_simulator(
    init_params: Callable[[Key], Params],
    loss_fn: LossFn,
    batch_fn: BatchFn,
    *,
    local_work: LocalWork,
    client_optimizer: optax.GradientTransformation,
    server_optimizer: optax.GradientTransformation | None = None,
    client_map: str = "map",
    chunk_size: int | None = None,
    mesh: Mesh | None = None,
    mode: str = "update",
    proximal_weight: float = 0.0,
    round_schedule: optax.Schedule | None = None,
    ema_decay: float = 0.0,
    quantization: QuantizationConfig | None = None,
    donate_state: bool = False,
) -> Simulator:
    """Builds the simulator from any model, loss and data; nothing here is specific to diffusion.

    Args:
      init_params: ``key -> params``.
      loss_fn: ``(params, batch, key) -> float32 []``.
      batch_fn: ``(key, data, row, step) -> Batch`` of ``local_work.batch_size`` examples of a row.
      local_work: how much a client trains in a round.
      client_optimizer: optax, fresh in every round.
      server_optimizer: optax; None is ``sgd(1.0)``, federated averaging.
      client_map: ``loop`` (not jitted), ``map``, ``vmap`` or ``chunked``, see ``make_client_map``.
      chunk_size: clients at once, for ``chunked``.
      mesh: 1-D mesh with axis ``"clients"``; the state is kept on all its devices.
      mode: ``"update"`` or ``"model"``: what is quantized.
      proximal_weight: mu >= 0 of FedProx.
      round_schedule: of the round, multiplies the clients' learning rate; None: 1.
      ema_decay: in [0, 1), per round; 0 keeps no average (``ema_params == params``).
      quantization: quantizer and options; None: the paper's quantizer without any.
      donate_state: let ``step`` write the next state over the one it is given, which is then gone.

    Raises:
      ValueError: ``ema_decay`` or ``proximal_weight`` out of range, unknown ``mode`` or map, or
        error feedback in another mode than ``"update"``.

    Guarantees: what ``init`` and ``step`` return depends on their arguments alone; 32 bits, plain
    SGD and one local step are centralized SGD.
    """
    if not 0 <= ema_decay < 1:
        raise ValueError(f"ema_decay must be in [0, 1), got {ema_decay}")
    server_optimizer = optax.sgd(1.0) if server_optimizer is None else server_optimizer
    train = functools.partial(make_local_training, loss_fn, client_optimizer, batch_fn)(
        proximal_weight=proximal_weight, round_schedule=round_schedule
    )
    mapping = make_client_map(client_map, chunk_size=chunk_size, mesh=mesh)
    quantization = QuantizationConfig() if quantization is None else quantization
    server_update = make_server_update(server_optimizer)
    round_fn = make_round(train, mapping, server_update, mode=mode, quantization=quantization)
    advance = functools.partial(_advance, ema_decay, quantization)
    init = _make_init(init_params, server_optimizer, quantization, mesh)
    options = {} if mesh is None else {"out_shardings": NamedSharding(mesh, PartitionSpec())}
    jit = functools.partial(jax.jit, donate_argnums=(1,) if donate_state else (), **options)
    compile_step = _identity if client_map == "loop" else jit
    return Simulator(init, _make_step(round_fn, advance, local_work, compile_step, mesh))


def _make_init(
    init_params: Callable[[Key], Params],
    server_optimizer: optax.GradientTransformation,
    quantization: QuantizationConfig,
    mesh: Mesh | None,
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
    sharding = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    compiled = jax.jit(make_state, static_argnums=1, out_shardings=sharding)
    if jax.default_backend() == "cpu":
        return lambda key, data: compiled(key, len(data.num_examples))
    # Hundreds of small random arrays take an accelerator's compiler ten times as long as the CPU's.
    on_cpu = jax.jit(make_state, static_argnums=1)

    def init(key: Key, data: Any) -> SimulationState:
        state = on_cpu(place_key(key, SingleDeviceSharding(cpu_device())), len(data.num_examples))
        return jax.device_put(jax.device_get(state), sharding)

    return init


def _make_step(
    round_fn: RoundFn,
    advance: Callable[..., tuple[SimulationState, RoundInfo]],
    local_work: LocalWork,
    compile_step: Callable[[Callable], Callable],
    mesh: Mesh | None,
) -> Callable[..., tuple[SimulationState, RoundInfo]]:
    def pure_step(key: Key, state: SimulationState, cohort: ClientInputs, data: Any):
        chex.assert_rank([cohort.client, cohort.num_bits, state.bit_width_error], [1, 1, 2])
        broadcast = SharedInputs(key, state.round, state.params, data)
        memory = jax.tree.map(lambda x: x[cohort.client], state.client_memory)
        cohort = dataclasses.replace(cohort, memory=memory)
        outcome = round_fn(broadcast, cohort, state.opt_state)
        return advance(state, cohort.client, outcome)

    compiled_step = compile_step(pure_step)
    # All inputs lie where the state does: no transfer is left to the program.
    placement = None if mesh is None else NamedSharding(mesh, PartitionSpec())

    def step(
        key: Key,
        state: SimulationState,
        allocation: HasNumBits,
        cohort: Array,
        data: Any,
        rows: Array | None = None,
        num_steps: np.ndarray | None = None,
    ):
        rows = cohort if rows is None else rows
        num_examples = jax.device_get(data.num_examples)[jax.device_get(rows)]
        num_bits = np.asarray(jax.device_get(allocation.num_bits))
        steps = local_work.num_steps(num_examples) if num_steps is None else num_steps
        fields = (  # of ClientInputs, in its order
            np.asarray(jax.device_get(cohort), np.int32),
            np.asarray(jax.device_get(rows), np.int32),
            num_examples.astype(np.float32),
            num_bits.astype(np.int32),
            np.where(num_bits > 0, steps, 0).astype(np.int32),
        )
        fields, data = jax.device_put((fields, data), placement)
        inputs = ClientInputs(*fields)
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
            lambda x, new: x.at[cohort].set(new), state.client_memory, outcome.memory
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


def _identity(function: Callable) -> Callable:
    return function


def _weighted_sum(weight: Array, value: Array) -> Array:
    """Returns ``sum_k weight_k value_k`` [], where a zero weight also removes a NaN."""
    return jnp.where(weight > 0, weight * value, 0.0).sum()
