"""The error bound as numbers: against float64 formulas, per tensor and with bits per tensor."""

import jax
import numpy as np

from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.quantization import quantization_error_bound, range_variance
from tests.each import check_each

RNG = np.random.default_rng(0)
TREE = {
    "w": np.float32(RNG.normal(size=(20, 30))),
    "b": np.float32(RNG.uniform(5, 6, size=70)),
    "constant": np.full(9, 0.3, np.float32),
    "empty": np.zeros((0, 3), np.float32),
}

jit_bound = jax.jit(quantization_error_bound)


def energy(x):
    """Returns ``D (hi - lo)^2 / 4`` in float64."""
    x = np.asarray(x, np.float64)
    return x.size * np.ptp(x) ** 2 / 4 if x.size else 0.0


def test_range_energy():
    expected = sum(energy(x) for x in jax.tree.leaves(TREE))
    np.testing.assert_allclose(float(jax.jit(range_variance)(TREE)), expected, rtol=1e-6)


def test_the_bound_is_theorem_1_with_a_step_up_to_a_128th_wider():
    def check(num_bits):
        theorem = sum(energy(x) for x in jax.tree.leaves(TREE)) / (2**num_bits - 1) ** 2
        bound = float(jit_bound(TREE, num_bits))
        assert theorem * (1 - 1e-6) <= bound <= theorem * (1 + 2.0**-7) ** 2
        if num_bits <= 8:
            np.testing.assert_allclose(bound, theorem, rtol=2.0**-14)

    check_each(BIT_WIDTHS[:-1], check)


def test_bits_per_tensor_add_up():
    num_bits = {"w": 3, "b": 32, "constant": 1, "empty": 7}
    alone = float(jit_bound(TREE["w"], 3))
    np.testing.assert_allclose(float(jit_bound(TREE, num_bits)), alone, rtol=1e-6)


def test_thirty_two_bits_have_no_error():
    assert float(jit_bound(TREE, 32)) == 0
