"""A network of your own in Flax NNX: `split` into structure and parameters, and `merge`d again."""

from collections import namedtuple
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from fedjax_diffusion import LocalTraining, LocalWork, make_simulator, seed_to_key

NUM_CLIENTS, NUM_EXAMPLES = 4, 64


class Network(nnx.Module):
    """One hidden layer."""

    def __init__(self, rngs: nnx.Rngs):
        """Draws the weights."""
        self.hidden, self.output = nnx.Linear(1, 32, rngs=rngs), nnx.Linear(32, 1, rngs=rngs)

    def __call__(self, x):
        """Returns [B, 1] for x [B, 1]."""
        return self.output(nnx.tanh(self.hidden(x)))


STRUCTURE = nnx.split(nnx.eval_shape(lambda: Network(nnx.Rngs(0))))[0]


Data = namedtuple("Data", "x y num_examples")  # the first axis is the clients


def loss_fn(params, batch, key):
    """Returns the mean squared error."""
    return jnp.mean((nnx.merge(STRUCTURE, params)(batch[0]) - batch[1]) ** 2)


def main(num_rounds: int = 40) -> list[float]:
    """Returns the loss of every round of learning a sine, of which each client has a part."""
    x = np.linspace(-3, 3, NUM_CLIENTS * NUM_EXAMPLES, dtype=np.float32)
    x = x.reshape(NUM_CLIENTS, NUM_EXAMPLES, 1)
    data = Data(x, np.sin(x), np.full(NUM_CLIENTS, NUM_EXAMPLES))
    batch_fn = lambda key, data, row, step: (data.x[row], data.y[row])  # noqa: E731
    training = LocalTraining(loss_fn, batch_fn, optax.adam(1e-2), LocalWork(NUM_EXAMPLES, 5))
    simulator = make_simulator(lambda key: nnx.split(Network(nnx.Rngs(key)))[1], training)
    key, losses = seed_to_key(0), []
    state = simulator.init(key, data)
    for _ in range(num_rounds):
        given = SimpleNamespace(num_bits=np.full(NUM_CLIENTS, 8))
        state, info = simulator.step(key, state, given, np.arange(NUM_CLIENTS), data)
        losses.append(float(info.loss))
    print(f"loss {losses[0]:.3f} in the first round, {losses[-1]:.4f} in the last")
    return losses


if __name__ == "__main__":
    main()
