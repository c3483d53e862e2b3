"""One federated round: broadcast -> local training -> quantize -> upload -> aggregate."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from fedjax_diffusion.bits import FULL_PRECISION_BITS
from fedjax_diffusion.federated.aggregation import ServerUpdateFn, normalize_weights, select
from fedjax_diffusion.federated.client import ClientInputs, SharedInputs, TrainFn
from fedjax_diffusion.federated.client_map import ClientFn, ClientMap
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
    """What the round learns from each client, [M] in the cohort's order.

    Attributes:
      is_included: bool [M], it participated and all its numbers were finite.
      weight: float32 [M], a_k over the included clients, 0 for the others.
      loss: float32 [M], mean over its local steps; meaningless where it took no part.
      error_bound: float32 [M], bound on its upload's squared error, Theorem 1's for the paper's
        quantizer; 0 where not included.
      bit_width_error: float32 [M, 17], that bound at each of ``BIT_WIDTHS``; 0 where not included.
      upload: what it sent, [M]; zeros where not included.
    """

    is_included: Array
    weight: Array
    loss: Array
    error_bound: Array
    bit_width_error: Array
    upload: Upload


@flax.struct.dataclass
class RoundOutcome:
    """What the server has after the round.

    Attributes:
      params: the new global model.
      opt_state: the server optimizer's new state.
      clients: ``ClientReport``.
      quantization_error: float32 [], ``||sum_k a_k (Q(u_k) - u_k)||^2``, measured.
      update_squared_norm: float32 [], squared norm of the mean update; 0 if nobody was included.
      client_memory: what the cohort's clients keep, [M]; as it was where not included.
    """

    params: Params
    opt_state: PyTree
    clients: ClientReport
    quantization_error: Array
    update_squared_norm: Array
    client_memory: PyTree


RoundFn = Callable[[Any, ClientInputs, PyTree], RoundOutcome]
"""``round_fn(shared, cohort [M], opt_state) -> RoundOutcome``."""


def make_round(
    train: TrainFn,
    client_map: ClientMap,
    server_update: ServerUpdateFn,
    *,
    mode: str,
    quantization: QuantizationConfig | None = None,
) -> RoundFn:
    """Returns one round as a pure function; jit it, with bits and channels as arguments.

    A client whose loss or upload is not finite detects it and sends nothing: it is left out of
    the mean by selection, and the weights of the others are normalized again. When nobody is left
    the model stays as it is.

    Args:
      train: local training of one client, from ``make_train``.
      client_map: from ``make_client_map``.
      server_update: from ``make_server_update``.
      mode: ``"model"`` quantizes w_k as the paper does, ``"update"`` quantizes w_k - w.
      quantization: quantizer and options; None: the paper's quantizer without any.

    Raises:
      ValueError: an unknown mode, or one that the options do not go with.
    """
    quantization = QuantizationConfig() if quantization is None else quantization
    client_round = _make_client_round(train, make_send(quantization, mode))

    def round_fn(shared: SharedInputs, cohort: ClientInputs, opt_state: PyTree) -> RoundOutcome:
        params = shared.params
        received = _receive(shared, quantization.downlink_bits)
        shared = dataclasses.replace(shared, params=received)
        (update, error), reports = client_map(client_round, shared, cohort)
        is_included, loss, error_bound, bit_width_error, upload, client_memory = reports
        weight = normalize_weights(cohort.weight, is_included)
        total_weight = jnp.where(is_included, cohort.weight, 0.0).sum()
        scale = 1.0 / jnp.maximum(total_weight, jnp.finfo(jnp.float32).tiny)
        update, error = update * scale, error * scale
        if mode == "model" and received is not params:
            # The mean of the models, seen from the server's own: what it broadcast was not that.
            update += tree_to_blocks(received) - tree_to_blocks(params)
        updated = server_update(params, opt_state, blocks_to_tree(update, params))
        is_any = total_weight > 0
        new_params, opt_state = select(is_any, updated, (params, opt_state))
        update_squared_norm = jnp.where(is_any, blocks_squared_norm(update, params), 0.0)
        return RoundOutcome(
            params=new_params,
            opt_state=opt_state,
            clients=ClientReport(is_included, weight, loss, error_bound, bit_width_error, upload),
            quantization_error=blocks_squared_norm(error, params),
            update_squared_norm=update_squared_norm,
            client_memory=client_memory,
        )

    return round_fn


def _receive(shared: SharedInputs, downlink_bits: int) -> Params:
    """Returns what the clients receive of the global model."""
    if downlink_bits == FULL_PRECISION_BITS:
        return shared.params
    key = stream_key(shared.run_key, Stream.DOWNLINK, shared.round)
    return stochastic_quantize(key, shared.params, downlink_bits)


def _make_client_round(train: TrainFn, send: SendFn) -> ClientFn:
    """Returns what ONE client does: train, quantize, send."""

    def client_round(shared: SharedInputs, inputs: ClientInputs):
        trained, loss = train(shared, inputs)
        key = stream_key(shared.run_key, Stream.QUANTIZE, shared.round, inputs.client)
        num_bits = jnp.maximum(inputs.num_bits, 1)
        sent = send(key, trained, shared.params, num_bits, inputs.client_memory)
        is_included = (inputs.num_bits > 0) & jnp.isfinite(loss) & sent.is_sendable
        weighed = (inputs.weight * sent.update, inputs.weight * sent.error)
        told = (weighed, sent.error_bound, sent.bit_width_error, sent.upload)
        contribution, *measured = select(is_included, told, jax.tree.map(jnp.zeros_like, told))
        client_memory = select(is_included, sent.client_memory, inputs.client_memory)
        return contribution, (is_included, loss, *measured, client_memory)

    return client_round
