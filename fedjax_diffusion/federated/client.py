"""The local training of ONE client: any loss, any optax optimizer, any number of steps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fedjax_diffusion.federated.hyperparameters import settle
from fedjax_diffusion.keys import Stream, step_key, stream_key
from fedjax_diffusion.types import Array, BatchFn, Key, LossFn, Params, PyTree
from fedjax_diffusion.values import MAX_COUNT, Count, Range, check_fields


@flax.struct.dataclass
class SharedInputs:
    """Inputs of a round that are the same for all clients.

    Attributes:
      run_key: [], the run's key; each client derives its own streams from it.
      round: int32 [], the round's number.
      params: the global model.
      data: ``ClientData``, or any other input of the batch function.
      hyperparameters: any pytree; argument of settings that are given as functions.
    """

    run_key: Key
    round: Array
    params: Params
    data: Any
    hyperparameters: Any = ()


@flax.struct.dataclass
class ClientInputs:
    """Inputs of one client in a round; those of a cohort have a leading [M].

    All zero for a client that does not participate: it does not train and contributes nothing.

    Attributes:
      client: int32 [], its id in 0..K-1.
      row: int32 [], row of its examples in the data: its id, or its place in the cohort if only
        the cohort's data are on the device.
      weight: float32 [], its aggregation weight before normalization (its number of examples).
      num_bits: int32 [], 1..16 or 32; 0: it does not participate.
      num_steps: int32 [], number of local steps.
      client_memory: float32 [R, 128], the error it kept of its last upload; () without error
        feedback.
      update_factor: float32 [], the client's update is multiplied by it, as by a fault: 1 changes
        nothing; None for all clients: there is no such factor in the program.
    """

    client: Array
    row: Array
    weight: Array
    num_bits: Array
    num_steps: Array
    client_memory: PyTree = ()
    update_factor: Array | None = None


@dataclass(frozen=True)
class LocalWork:
    """A client's amount of training in a round: steps, or epochs over its own examples.

    Attributes:
      batch_size: examples per local step, in 1..1,048,576.
      local_steps: steps per round, >= 1, or None when ``local_epochs`` is given.
      local_epochs: passes over the client's examples, in (0, 1e9], rounded up to whole batches (the
        last batch is filled from the next pass), or None when ``local_steps`` is given.

    Raises:
      ValueError: not exactly one of the two is given, or a number is out of range.

    >>> LocalWork(batch_size=32, local_epochs=2).num_steps(np.array([10, 100])).tolist()
    [1, 7]
    """

    batch_size: Annotated[int, Range(1, 2**20)]
    local_steps: Count | None = None
    local_epochs: Annotated[float, Range(0, 1e9, is_above=True)] | None = None

    def __post_init__(self):
        check_fields(self, "local_work")
        if (self.local_steps is None) == (self.local_epochs is None):
            raise ValueError(
                "local_work: give exactly one of local_steps and local_epochs, and None for the "
                f"other (local_steps=None), got {self.local_steps} and {self.local_epochs}"
            )

    def num_steps(self, num_examples: np.ndarray) -> np.ndarray:
        """Returns the local steps of clients with ``num_examples`` [...] examples, int32 [...].

        Raises:
          ValueError: the epochs are more steps than int32 holds.
        """
        if self.local_epochs is None:
            return np.full(np.shape(num_examples), self.local_steps, np.int32)
        steps = np.ceil(num_examples * self.local_epochs / self.batch_size)
        if np.max(steps, initial=0) > MAX_COUNT:
            raise ValueError(
                f"local_work.local_epochs must be at most {MAX_COUNT} steps of a client, got "
                f"{self.local_epochs:g} epochs, {np.max(steps):g} steps"
            )
        return steps.astype(np.int32)


def gather_inputs(
    cohort: Array | np.ndarray,
    num_bits: Array | np.ndarray,
    num_examples: Array | np.ndarray,
    work: LocalWork,
    *,
    rows: Array | np.ndarray | None = None,
    num_steps: np.ndarray | None = None,
    update_factor: np.ndarray | None = None,
) -> ClientInputs:
    """Returns the inputs of a cohort, [M], as host arrays.

    Args:
      cohort: int [M], client ids.
      num_bits: int [M], 1..16 or 32; 0 for a client that does not participate: it takes no step.
      num_examples: int [K], or one entry per row of the data.
      work: sets the local steps if ``num_steps`` is None.
      rows: int [M], the clients' rows in the data; None: their ids.
      num_steps: int [M], local steps; None: from ``work``.
      update_factor: float [M], factors of the clients' updates; None: there are none.
    """
    cohort, num_bits = (np.asarray(jax.device_get(x), np.int32) for x in (cohort, num_bits))
    rows = cohort if rows is None else np.asarray(jax.device_get(rows), np.int32)
    num_examples = np.asarray(jax.device_get(num_examples))[rows]
    num_steps = work.num_steps(num_examples) if num_steps is None else num_steps
    num_steps = np.where(num_bits > 0, num_steps, 0).astype(np.int32)
    weight = num_examples.astype(np.float32)
    fields: tuple[Any, ...] = (cohort, rows, weight, num_bits, num_steps)
    factor: Any = None if update_factor is None else np.asarray(update_factor, np.float32)
    return ClientInputs(*fields, update_factor=factor)


@dataclass(frozen=True)
class LocalTraining:
    """Settings of the clients' training.

    Attributes:
      loss_fn: ``(params, batch, key) -> float32 []``, the mean over the batch.
      batch_fn: ``(key, data, row, step) -> Batch``; reads ``work.batch_size`` examples.
      optimizer: any optax optimizer; its state is initialized in each round.
      work: amount of training in a round.
      proximal_weight: mu >= 0 of FedProx (Li et al. 2020, eq. 2); 0 is FedAvg (McMahan et al.
        2017, Alg. 1). An array, which may be traced, is not checked.
      round_schedule: ``n -> s_n``, the learning-rate multiplier of round n; None: 1.

    Raises:
      ValueError: ``proximal_weight`` is negative.
    """

    loss_fn: LossFn
    batch_fn: BatchFn
    optimizer: optax.GradientTransformation
    work: LocalWork
    proximal_weight: float | Array = 0.0
    round_schedule: optax.Schedule | None = None

    def __post_init__(self):
        if not isinstance(self.proximal_weight, jax.Array) and self.proximal_weight < 0:
            raise ValueError(f"proximal_weight must be at least 0, got {self.proximal_weight}")


GivenTraining = LocalTraining | Callable[[Any], LocalTraining]
"""Settings, or a function of the hyperparameters that returns them."""
TrainFn = Callable[[SharedInputs, ClientInputs], tuple[Params, Array]]
"""``train(shared, inputs) -> (params, loss float32 [])`` of one client."""


def make_train(training: GivenTraining) -> TrainFn:
    """Returns the training of one client as a pure function, to be mapped over clients.

        w <- w - s_n optimizer(grad loss(w; batch) + mu (w - w_global)),   ``num_steps`` times

    The number of steps is traced: clients with fewer steps stop earlier and do not recompile.

    Args:
      training: settings, or a function of the hyperparameters; ``ClientInputs.num_steps`` replaces
        their ``work``.

    Returns:
      ``train(shared, inputs) -> (params, loss)``; loss float32 [] is the mean over the steps.
    """

    def train(shared: SharedInputs, inputs: ClientInputs) -> tuple[Params, Array]:
        settings = settle(training, shared.hyperparameters)
        optimizer, proximal_weight = settings.optimizer, settings.proximal_weight
        has_penalty = isinstance(proximal_weight, jax.Array) or proximal_weight > 0
        key_batch = stream_key(shared.run_key, Stream.BATCH, shared.round, inputs.client)
        key_loss = stream_key(shared.run_key, Stream.LOSS, shared.round, inputs.client)

        def local_step(step, carry):
            params, opt_state, loss_sum = carry
            batch = settings.batch_fn(key_batch, shared.data, inputs.row, step)
            value_and_grad = jax.value_and_grad(settings.loss_fn)
            loss, grads = value_and_grad(params, batch, step_key(key_loss, step))
            if has_penalty:
                grads = jax.tree.map(
                    lambda g, w, w0: g + proximal_weight * (w - w0), grads, params, shared.params
                )
            updates, opt_state = optimizer.update(grads, opt_state, params)
            if settings.round_schedule is not None:
                updates = optax.tree.scale(settings.round_schedule(shared.round), updates)
            return optax.apply_updates(params, updates), opt_state, loss_sum + loss

        carry = (shared.params, optimizer.init(shared.params), jnp.float32(0))
        params, _, loss_sum = jax.lax.fori_loop(0, inputs.num_steps, local_step, carry)
        return params, loss_sum / jnp.maximum(inputs.num_steps, 1)

    return train
