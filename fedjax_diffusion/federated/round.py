"""One federated round: broadcast -> local training -> quantize -> upload -> aggregate."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from fedjax_diffusion.bits import FULL_PRECISION_BITS
from fedjax_diffusion.federated.aggregation import (
    ServerUpdateFn,
    is_sound,
    normalize_weights,
    select,
)
from fedjax_diffusion.federated.averaging import Averaging, GivenAveraging, update_norm
from fedjax_diffusion.federated.client import ClientInputs, SharedInputs, TrainFn
from fedjax_diffusion.federated.client_map import ClientFn, ClientMap
from fedjax_diffusion.federated.hyperparameters import settle
from fedjax_diffusion.federated.uplink import SendFn, Upload, make_send
from fedjax_diffusion.keys import Stream, stream_key
from fedjax_diffusion.quantization import (
    QuantizationConfig,
    blocks_squared_norm,
    blocks_to_tree,
    stochastic_quantize,
    tree_to_blocks,
)
from fedjax_diffusion.types import Array, Params, PyTree


@flax.struct.dataclass
class ClientReport:
    """Results of each client in a round, [M] in the cohort's order.

    Attributes:
      is_included: bool [M], it participated, all its numbers were finite, and its update was
        within the limit, if there is one.
      weight: float32 [M], a_k over the included clients, 0 for the others.
      loss: float32 [M], mean over its local steps; undefined if it did not participate.
      error_bound: float32 [M], bound on its upload's squared error, of the quantizer's table in
        ``quantizers``; 0 if not included.
      bit_width_error: float32 [M, 17], that bound at each of ``BIT_WIDTHS``; 0 if not included.
      upload: its message, [M]; zeros if not included.
    """

    is_included: Array
    weight: Array
    loss: Array
    error_bound: Array
    bit_width_error: Array
    upload: Upload


@flax.struct.dataclass
class RoundOutcome:
    """State of the server after the round, and the results of the round.

    Attributes:
      params: the new global model.
      opt_state: the server optimizer's new state.
      clients: ``ClientReport``.
      quantization_error: float32 [], ``||sum_k a_k (Q(u_k) - u_k)||^2``, measured; of the weighted
        mean, whichever the average is.
      update_squared_norm: float32 [], squared norm of the mean update; 0 if no client was included.
      client_memory: the cohort's new memory, [M]; unchanged for a client that was not included, and
        for everybody if the server's step is refused.
      is_any: bool [], the average is over at least one client; for the weighted mean, over a total
        weight above 0.
      is_refused: bool [], clients were included, but the server's step would have ended at a model
        that is not finite, see ``is_sound``; ``params`` and ``opt_state`` are the earlier ones.
    """

    params: Params
    opt_state: PyTree
    clients: ClientReport
    quantization_error: Array
    update_squared_norm: Array
    client_memory: PyTree
    is_any: Array
    is_refused: Array


RoundFn = Callable[[Any, ClientInputs, PyTree], RoundOutcome]
"""``round_fn(shared, cohort [M], opt_state) -> RoundOutcome``."""


def make_round(
    train: TrainFn,
    client_map: ClientMap,
    server_update: ServerUpdateFn,
    *,
    mode: str,
    quantization: QuantizationConfig | None = None,
    averaging: GivenAveraging | None = None,
) -> RoundFn:
    """Returns one round as a pure function to be jitted; the bits are arguments.

    A client whose loss or upload is not finite, or whose update is above the limit, detects it and
    sends nothing: it is excluded, and the weights of the others are normalized again. If no client
    is left, or the server's step is refused, the model does not change.

    Args:
      train: local training of one client, from ``make_train``.
      client_map: from ``make_client_map``.
      server_update: from ``make_server_update``.
      mode: ``"model"`` quantizes w_k as the paper does, ``"update"`` quantizes w_k - w.
      quantization: quantizer and options; None: stochastic quantization without options.
      averaging: of the updates; None: their weighted mean, without a limit.

    Raises:
      ValueError: an unknown mode, or a mode that does not support the options.
    """
    quantization = QuantizationConfig() if quantization is None else quantization
    averaging = Averaging() if averaging is None else averaging
    client_round = _make_client_round(train, make_send(quantization, mode), averaging)

    def round_fn(shared: SharedInputs, cohort: ClientInputs, opt_state: PyTree) -> RoundOutcome:
        params = shared.params
        received = _receive(shared, quantization.downlink_bits)
        broadcast = dataclasses.replace(shared, params=received)
        (update, error), reports = client_map(client_round, broadcast, cohort)
        kept, is_included, loss, error_bound, bit_width_error, upload, client_memory = reports
        weight = normalize_weights(cohort.weight, is_included)
        total_weight = jnp.where(is_included, cohort.weight, 0.0).sum()
        scale = 1.0 / jnp.maximum(total_weight, jnp.finfo(jnp.float32).tiny)
        rule = settle(averaging, shared.hyperparameters)
        update = rule.combine(kept, is_included) if rule.keeps_updates else update * scale
        if mode == "model" and received is not params:
            # The update is relative to the server's model, not to the quantized broadcast model.
            update += tree_to_blocks(received) - tree_to_blocks(params)
        updated = server_update(shared, opt_state, blocks_to_tree(update, params))
        is_any = is_included.any() if rule.keeps_updates else total_weight > 0
        is_refused = is_any & ~is_sound(*updated)
        new_params, opt_state = select(is_any & ~is_refused, updated, (params, opt_state))
        return RoundOutcome(
            update_squared_norm=jnp.where(is_any, blocks_squared_norm(update, params), 0.0),
            params=new_params,
            opt_state=opt_state,
            clients=ClientReport(is_included, weight, loss, error_bound, bit_width_error, upload),
            quantization_error=blocks_squared_norm(error * scale, params),
            client_memory=select(is_refused, cohort.client_memory, client_memory),
            is_any=is_any,
            is_refused=is_refused,
        )

    return round_fn


def _receive(shared: SharedInputs, downlink_bits: int) -> Params:
    """Returns the global model as the clients receive it."""
    if downlink_bits == FULL_PRECISION_BITS:
        return shared.params
    key = stream_key(shared.run_key, Stream.DOWNLINK, shared.round)
    return stochastic_quantize(key, shared.params, downlink_bits)


def _make_client_round(train: TrainFn, send: SendFn, averaging: GivenAveraging) -> ClientFn:
    """Returns the work of ONE client: train, quantize, send.

    Its contribution to the mean is summed over the clients; for another average, its update is
    among the outputs instead.
    """

    def client_round(shared: SharedInputs, inputs: ClientInputs):
        rule = settle(averaging, shared.hyperparameters)
        trained, loss = train(shared, inputs)
        if inputs.update_factor is not None:
            trained = _multiply_update(trained, shared.params, inputs.update_factor)
        key = stream_key(shared.run_key, Stream.QUANTIZE, shared.round, inputs.client)
        num_bits = jnp.maximum(inputs.num_bits, 1)
        sent = send(key, trained, shared.params, num_bits, inputs.client_memory)
        is_included = (inputs.num_bits > 0) & jnp.isfinite(loss) & sent.is_sendable
        if rule.max_update_norm is not None:
            is_included &= update_norm(trained, shared.params) <= rule.max_update_norm
        if rule.keeps_updates:
            weighed, kept = ((), inputs.weight * sent.error), sent.update
        else:
            weighed, kept = (inputs.weight * sent.update, inputs.weight * sent.error), ()
        results = (weighed, sent.error_bound, sent.bit_width_error, sent.upload, kept)
        zeros = jax.tree.map(jnp.zeros_like, results)
        contribution, *measured, kept = select(is_included, results, zeros)
        client_memory = select(is_included, sent.client_memory, inputs.client_memory)
        return contribution, (kept, is_included, loss, *measured, client_memory)

    return client_round


def _multiply_update(trained: Params, received: Params, factor: Array) -> Params:
    """Returns the model whose update is ``factor`` times as large; at 1 the same, to the bit."""
    return jax.tree.map(
        lambda w, w0: jnp.where(factor == 1, w, w0 + factor * (w - w0)), trained, received
    )
