"""One federated round: broadcast -> local training -> quantize -> upload -> aggregate."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from fedjax_diffusion.federated.aggregation import (
    ServerUpdate,
    normalize_weights,
    select,
)
from fedjax_diffusion.federated.client import Broadcast, ClientInputs, LocalTraining
from fedjax_diffusion.federated.client_map import ClientFn, ClientMap
from fedjax_diffusion.keys import Stream, stream_key
from fedjax_diffusion.quantization import (
    blocks_squared_norm,
    blocks_to_tree,
    grid_error_bound,
    grid_range_energy,
    is_quantizable,
    make_grid,
    quantize_blocks,
    tree_to_blocks,
)
from fedjax_diffusion.types import Array, Params, PyTree

MODES = ("model", "update")
"""What is quantized: the local model w_k (the paper), or its difference w_k - w from the global."""


@flax.struct.dataclass
class ClientReport:
    """What the round learns from each client, [M] in the cohort's order.

    Attributes:
      is_included: bool [M], it took part and all its numbers were finite.
      weight: float32 [M], a_k over the included clients, 0 for the others.
      loss: float32 [M], mean over its local steps; meaningless where it took no part.
      error_bound: float32 [M], Theorem 1's bound for its upload; 0 where not included.
      range_energy: float32 [M], V_k of its upload; 0 where not included.
    """

    is_included: Array
    weight: Array
    loss: Array
    error_bound: Array
    range_energy: Array


@flax.struct.dataclass
class RoundOutcome:
    """What the server has after the round.

    Attributes:
      params: the new global model.
      opt_state: the server optimizer's new state.
      clients: ``ClientReport``.
      quantization_error: float32 [], ``||sum_k a_k (Q(u_k) - u_k)||^2``, measured.
      update_energy: float32 [], squared norm of the mean update; 0 if nobody was included.
    """

    params: Params
    opt_state: PyTree
    clients: ClientReport
    quantization_error: Array
    update_energy: Array


RoundFn = Callable[[Any, ClientInputs, PyTree], RoundOutcome]
"""``round_fn(broadcast, cohort [M], opt_state) -> RoundOutcome``."""


def make_round(
    train: LocalTraining,
    client_map: ClientMap,
    server_update: ServerUpdate,
    *,
    mode: str,
) -> RoundFn:
    """Returns one round as a pure function; jit it, with bits and channels as arguments.

    A client whose loss or upload is not finite detects it and sends nothing: it is left out of
    the mean by selection, and the weights of the others are normalized again. When nobody is left
    the model stays as it is.

    Args:
      train: local training of one client, from ``make_local_training``.
      client_map: from ``make_client_map``.
      server_update: from ``make_server_update``.
      mode: ``"model"`` quantizes w_k as the paper does, ``"update"`` quantizes w_k - w.

    Raises:
      ValueError: an unknown mode.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")

    client_round = _make_client_round(train, mode)

    def round_fn(broadcast: Broadcast, cohort: ClientInputs, opt_state: PyTree) -> RoundOutcome:
        totals, reports = client_map(client_round, broadcast, cohort)
        is_included, loss, error_bound, energy = reports
        weight = normalize_weights(cohort.weight, is_included)
        total_weight = jnp.where(is_included, cohort.weight, 0.0).sum()
        scale = 1.0 / jnp.maximum(total_weight, jnp.finfo(jnp.float32).tiny)
        update, error = jax.tree.map(lambda x: x * scale, totals)
        mean_update = blocks_to_tree(update, broadcast.params)
        updated = server_update(broadcast.params, opt_state, mean_update)
        params, opt_state = select(total_weight > 0, updated, (broadcast.params, opt_state))
        return RoundOutcome(
            params=params,
            opt_state=opt_state,
            clients=ClientReport(is_included, weight, loss, error_bound, energy),
            quantization_error=blocks_squared_norm(error, broadcast.params),
            update_energy=blocks_squared_norm(update, broadcast.params),
        )

    return round_fn


def _make_client_round(train: LocalTraining, mode: str) -> ClientFn:
    """Returns what ONE client does: train, quantize, send."""

    def client_round(broadcast: Broadcast, inputs: ClientInputs):
        trained, loss = train(broadcast, inputs)
        local, start = tree_to_blocks(trained), tree_to_blocks(broadcast.params)
        payload = local if mode == "model" else local - start
        grid = make_grid(payload, trained, jnp.maximum(inputs.num_bits, 1))
        key = stream_key(broadcast.run_key, Stream.QUANTIZE, broadcast.round, inputs.client)
        decoded = quantize_blocks(key, payload, grid, trained)
        update = decoded - start if mode == "model" else decoded
        sent = (
            (inputs.weight * update, inputs.weight * (decoded - payload)),
            grid_error_bound(grid, trained),
            grid_range_energy(grid, trained),
        )
        is_included = (inputs.num_bits > 0) & jnp.isfinite(loss) & is_quantizable(grid)
        contribution, *measured = select(is_included, sent, jax.tree.map(jnp.zeros_like, sent))
        return contribution, (is_included, loss, *measured)

    return client_round
