"""The server's step: clients cannot go on from a state that is not finite."""

import jax
import numpy as np
import optax
import pytest

from fedjax_diffusion.federated import ServerUpdate, SharedInputs, make_server_update
from fedjax_diffusion.federated.aggregation import is_sound
from fedjax_diffusion.keys import seed_to_key
from tests.federated.problems import jit_init_params, make_data

PARAMS = jit_init_params(seed_to_key(1))


def grow(scale):
    """Returns an update of all clients, far from zero."""
    return jax.tree.map(lambda w: np.float32(scale) * (np.float32(0.1) + np.asarray(w)), PARAMS)


@pytest.mark.parametrize(
    ("optimizer", "scale"),
    [
        (optax.sgd(1e38), 1.0),  # a finite model, whose norm is not
        (optax.sgd(1e38, momentum=0.9), 1e6),  # an infinite model
        (optax.adam(1e-3), 1e25),  # a finite model; the second moment holds it for ever
    ],
)
def test_a_step_that_is_not_finite_is_not_sound(optimizer, scale):
    shared = SharedInputs(seed_to_key(0), np.int32(4), PARAMS, make_data())
    server_update = make_server_update(ServerUpdate(optimizer))

    @jax.jit
    def is_sound_after(update):
        return is_sound(*server_update(shared, optimizer.init(PARAMS), update))

    assert not is_sound_after(grow(scale))
    assert is_sound_after(grow(1e-30))
