"""The local training of ONE client: any loss, any optax optimizer, any number of steps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fedjax_diffusion.keys import Stream, step_key, stream_key
from fedjax_diffusion.types import Array, BatchFn, Key, LossFn, Params, PyTree


@flax.struct.dataclass
class SharedInputs:
    """What every client of a round gets, the same for all.

    Attributes:
      run_key: [], the run's key; a client derives its own streams from it.
      round: int32 [], the round's number.
      params: the global model.
      data: ``ClientData``, or whatever the batch function reads.
    """

    run_key: Key
    round: Array
    params: Params
    data: Any


@flax.struct.dataclass
class ClientInputs:
    """What differs from client to client in a round; the cohort's carries a leading [M].

    An all-zero entry is a client that does not participate: it trains nothing and contributes
    nothing.

    Attributes:
      client: int32 [], its id in 0..K-1.
      row: int32 [], where its examples lie in the data: its id, or its place in a cohort whose data
        alone are on the device.
      weight: float32 [], its aggregation weight before normalization (its number of examples).
      num_bits: int32 [], 1..16 or 32; 0: it does not participate.
      num_steps: int32 [], local steps to take.
      memory: what it kept of its last upload, float32 [R, 128]; () for stateless clients.
    """

    client: Array
    row: Array
    weight: Array
    num_bits: Array
    num_steps: Array
    memory: PyTree = ()


@dataclass(frozen=True)
class LocalWork:
    """How much a client trains in a round: a number of steps, or of epochs over its own examples.

    Attributes:
      batch_size: examples per local step, >= 1.
      local_steps: steps per round, >= 1, or None when ``local_epochs`` is given.
      local_epochs: passes over the client's examples, > 0, rounded up to whole batches (the last
        batch is filled from the next pass), or None when ``local_steps`` is given.

    Raises:
      ValueError: not exactly one of the two is given, or a number is out of range.

    >>> LocalWork(batch_size=32, local_epochs=2).num_steps(np.array([10, 100])).tolist()
    [1, 7]
    """

    batch_size: int
    local_steps: int | None = None
    local_epochs: float | None = None

    def __post_init__(self):
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if (self.local_steps is None) == (self.local_epochs is None):
            raise ValueError(
                "give exactly one of local_steps and local_epochs, "
                f"got {self.local_steps} and {self.local_epochs}"
            )
        amount = self.local_steps if self.local_steps is not None else self.local_epochs
        if amount is not None and not amount > 0:
            raise ValueError(f"local_steps or local_epochs must be above 0, got {amount}")

    def num_steps(self, num_examples: np.ndarray) -> np.ndarray:
        """Returns the local steps of clients with ``num_examples`` [...] examples, int32 [...]."""
        if self.local_epochs is None:
            return np.full(np.shape(num_examples), self.local_steps, np.int32)
        return np.ceil(num_examples * self.local_epochs / self.batch_size).astype(np.int32)


LocalTraining = Callable[[SharedInputs, ClientInputs], tuple[Params, Array]]
"""``train(broadcast, inputs) -> (params, loss float32 [])`` of one client."""


def make_local_training(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    batch_fn: BatchFn,
    *,
    proximal_weight: float = 0.0,
    round_schedule: optax.Schedule | None = None,
) -> LocalTraining:
    """Returns the local training of one client, a pure function to be mapped over clients.

        w <- w - s_n optimizer(grad loss(w; batch) + mu (w - w_global)),   ``num_steps`` times

    The number of steps is traced: clients with fewer steps stop earlier and do not recompile.
    The optimizer's state starts afresh in each round.

    Args:
      loss_fn: ``(params, batch, key) -> []``, the mean over the batch.
      optimizer: any optax optimizer.
      batch_fn: ``(key, data, row, step) -> Batch``.
      proximal_weight: mu >= 0 of FedProx (Li et al. 2020, eq. 2); 0 is FedAvg (McMahan et al.
        2017, Alg. 1).
      round_schedule: ``n -> s_n``, what the learning rate is multiplied by in round n; None: 1.

    Returns:
      ``train(broadcast, inputs) -> (params, loss)``, loss float32 [] the mean over the steps.

    Raises:
      ValueError: ``proximal_weight`` is negative.
    """
    if proximal_weight < 0:
        raise ValueError(f"proximal_weight must be at least 0, got {proximal_weight}")

    def train(broadcast: SharedInputs, inputs: ClientInputs) -> tuple[Params, Array]:
        key_batch = stream_key(broadcast.run_key, Stream.BATCH, broadcast.round, inputs.client)
        key_loss = stream_key(broadcast.run_key, Stream.LOSS, broadcast.round, inputs.client)

        def local_step(step, carry):
            params, opt_state, loss_sum = carry
            batch = batch_fn(key_batch, broadcast.data, inputs.row, step)
            loss, grads = jax.value_and_grad(loss_fn)(params, batch, step_key(key_loss, step))
            if proximal_weight:
                grads = jax.tree.map(
                    lambda g, w, w0: g + proximal_weight * (w - w0),
                    grads,
                    params,
                    broadcast.params,
                )
            updates, opt_state = optimizer.update(grads, opt_state, params)
            if round_schedule is not None:
                updates = optax.tree.scale(round_schedule(broadcast.round), updates)
            return optax.apply_updates(params, updates), opt_state, loss_sum + loss

        carry = (broadcast.params, optimizer.init(broadcast.params), jnp.float32(0))
        params, _, loss_sum = jax.lax.fori_loop(0, inputs.num_steps, local_step, carry)
        return params, loss_sum / jnp.maximum(inputs.num_steps, 1)

    return train
