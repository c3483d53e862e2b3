"""Federated averaging of a quadratic: the model goes to the weighted mean, with few bits too.

Client k has the loss |w - c_k|^2 / 2 and n_k examples, so the best w is sum_k n_k c_k / sum_k n_k.
One local step of SGD per round makes federated averaging gradient descent on the whole loss.
"""

from types import SimpleNamespace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from fedjax_diffusion import LocalTraining, LocalWork, make_simulator, seed_to_key

NUM_CLIENTS, DIMENSION = 5, 20


class Data(NamedTuple):
    """The clients' centers c [K, D] and numbers of examples [K]."""

    centers: Any
    num_examples: Any


def batch_fn(key, data, row, step):
    """Returns all that a client has."""
    return data.centers[row]


def loss_fn(w, center, key):
    """Returns |w - c|^2 / 2."""
    return jnp.sum((w - center) ** 2) / 2


def main(num_rounds: int = 30) -> dict[int, float]:
    """Returns the distance from the best w after some rounds, by the bits of all clients."""
    generator = np.random.default_rng(0)
    centers = generator.normal(size=(NUM_CLIENTS, DIMENSION)).astype(np.float32)
    data = Data(centers, np.array([10, 20, 30, 40, 50]))
    best = np.average(data.centers, axis=0, weights=data.num_examples)
    training = LocalTraining(loss_fn, batch_fn, optax.sgd(0.3), LocalWork(1, local_steps=1))
    simulator = make_simulator(lambda key: jnp.zeros(DIMENSION), training)
    distances = {}
    for bits in (32, 8, 4, 2):  # bits are an input: all four share one compiled round
        key, given = seed_to_key(0), SimpleNamespace(num_bits=np.full(NUM_CLIENTS, bits))
        state = simulator.init(key, data)
        for _ in range(num_rounds):
            state, _ = simulator.step(key, state, given, np.arange(NUM_CLIENTS), data)
        distances[bits] = float(np.linalg.norm(np.asarray(state.params) - best))
        print(f"{bits:2} bits: distance from the best w {distances[bits]:.2e}")
    return distances


if __name__ == "__main__":
    main()
