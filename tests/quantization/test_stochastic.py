"""Stochastic quantization: unbiased, under its bound, exact where it must be."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.quantization import (
    decode_update,
    encode_update,
    is_quantizable,
    make_grid,
    payload_bytes,
    quantization_error_bound,
    range_variance,
    stochastic_quantize,
    tree_to_blocks,
)
from tests.each import check_each

NUM_DRAWS = 2000
BITS = [1, 2, 3, 4, 6, 8, 12, 15, 16]


TRACES = []


@jax.jit
def draw_many(key, x, num_bits):
    """Quantizes x [D] NUM_DRAWS times: [NUM_DRAWS, D]."""
    TRACES.append(num_bits)
    keys = jax.random.split(key, NUM_DRAWS)
    return jax.vmap(lambda k: stochastic_quantize(k, x, num_bits))(keys)


jit_quantize = jax.jit(stochastic_quantize)
jit_bound = jax.jit(quantization_error_bound)
jit_range_variance = jax.jit(range_variance)
split = jax.jit(lambda key: jax.random.split(key, NUM_DRAWS))
SHAPES = {
    "normal": lambda r: r.normal(size=64),
    "uniform": lambda r: r.uniform(-1, 1, size=64),
    "offset": lambda r: 100 + r.normal(size=64),
    "sparse": lambda r: np.where(r.uniform(size=64) < 0.9, 0.0, r.normal(size=64)),
    "huge": lambda r: 1e12 * r.normal(size=64),
    "small": lambda r: 1e-12 * r.normal(size=64),
}


def check_mean(x, drawn, num_bits):
    """Each entry is within one step of its value, so a draw's variance is at most step^2 / 4.

    The means are float32 too: the probability is rounded to 2^-23, the grid to one ulp.
    """
    exact = x.astype(np.float64)
    step = (exact.max() - exact.min()) / (2**num_bits - 1) * (1 + 2.0**-7)
    sigma = step / 2 / np.sqrt(NUM_DRAWS)
    rounding = step * 2.0**-22 + np.abs(exact).max() * 2.0**-24
    assert np.abs(drawn.mean(0) - exact).max() <= 5 * sigma + rounding
    assert np.abs(drawn - exact).max() <= step + 2 * rounding


def test_is_unbiased_and_under_the_bound():
    def check(shape, num_bits):
        x = np.float32(SHAPES[shape](np.random.default_rng(3)))
        drawn = np.asarray(draw_many(jax.random.key(num_bits), x, num_bits), np.float64)
        check_mean(x, drawn, num_bits)
        squared = ((drawn - x.astype(np.float64)) ** 2).sum(1)
        bound = float(jit_bound(x, num_bits))
        assert 0 < bound < np.inf
        assert squared.mean() <= bound + 5 * squared.std() / np.sqrt(NUM_DRAWS)

    check_each(itertools.product(SHAPES, BITS), check)


def test_is_unbiased_where_squares_leave_float32():
    def check(scale, num_bits):
        x = np.float32(np.random.default_rng(4).normal(size=64) * scale)
        drawn = np.asarray(draw_many(jax.random.key(num_bits), x, num_bits), np.float64)
        check_mean(x, drawn, num_bits)

    check_each(itertools.product([1e-30, 1e30], [1, 8, 16]), check)


def test_the_bound_is_not_loose_by_orders():
    """E f(1-f) is 1/6 for evenly spread entries, 1/4 in the bound: the ratio is 2/3."""

    def check(num_bits):
        x = np.float32(np.random.default_rng(0).random(200_000))
        error = np.asarray(jit_quantize(jax.random.key(1), x, num_bits), np.float64) - x
        measured = np.square(error).sum()
        bound = float(jit_bound(x, num_bits))
        # f(1-f) in [0, 1/4], a Bernoulli draw's squared error in [0, 1]: variance below 1/4.
        sigma = 4 * 0.5 / np.sqrt(x.size)
        ratio = measured / bound
        assert ratio >= 0.5
        assert abs(ratio - 2 / 3) <= 5 * sigma + 2.0**-7

    check_each(BITS, check)


def test_exact_cases():
    tree = {
        "constant": np.full(7, 0.3, np.float32),
        "one": np.float32([-2.5]),
        "scalar": np.float32(4.0),
        "empty": np.zeros((0, 3), np.float32),
        "zero": np.zeros(4, np.float32),
    }
    for num_bits in (1, 8, 16):
        out = jit_quantize(jax.random.key(0), tree, num_bits)
        for name, x in tree.items():
            np.testing.assert_array_equal(out[name], x)
        assert float(jit_bound(tree, num_bits)) == 0
    assert float(jit_range_variance(tree)) == 0


def test_thirty_two_bits_are_the_identity_even_traced():
    x = np.float32(np.random.default_rng(0).normal(size=64))
    assert (np.asarray(draw_many(jax.random.key(1), x, 32)) == x).all()
    assert float(jit_bound(x, 32)) == 0


@pytest.mark.parametrize("scale", [1e-38, 1e-40, 1e-45])
def test_a_range_below_float32_is_sent_as_a_constant(scale):
    x = np.float32(np.linspace(0, 1, 64) * scale)
    out = np.asarray(draw_many(jax.random.key(0), x, 8), np.float64)
    assert np.abs(out - x.astype(np.float64)).max() <= x.max() - x.min()
    assert np.isfinite(out).all()


@jax.jit
def is_sendable(tree):
    return is_quantizable(make_grid(tree_to_blocks(tree), tree, 8))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, "range"])
def test_what_is_not_a_number_is_never_quantized(bad):
    ones, x = np.ones((2, 64), np.float32)
    x[1:3] = [-3e38, 3e38] if bad == "range" else [bad, 0.0]
    assert not is_sendable({"a": ones, "b": x})
    assert np.isnan(draw_many(jax.random.key(0), x, 8)).all()
    assert is_sendable({"a": ones, "b": ones})


def test_bits_per_tensor_are_a_pytree_prefix():
    x = np.arange(9, dtype=np.float32)
    tree, num_bits = {"a": x, "b": {"c": x, "d": x}}, {"a": 1, "b": 32}
    quantize = jax.jit(lambda key, tree: stochastic_quantize(key, tree, num_bits))
    out = quantize(jax.random.key(0), tree)
    assert set(np.unique(out["a"])) <= {0.0, 8.0}
    np.testing.assert_array_equal(out["b"]["c"], tree["b"]["c"])


def test_new_bits_do_not_recompile():
    x = np.arange(64, dtype=np.float32)
    draw_many(jax.random.key(0), x, 1)
    num_traces = len(TRACES)  # more than one where programs were let go before
    for num_bits in BIT_WIDTHS:
        draw_many(jax.random.key(0), x, num_bits)
    assert len(TRACES) == num_traces >= 1


@pytest.mark.parametrize("num_bits", [0, 17, 31, 33, -1, 4.9, jnp.float32(4.9), True, np.ones(2)])
def test_other_bit_widths_are_refused(num_bits):
    with pytest.raises(ValueError, match=r"num_bits must be 1\.\.16 or 32"):
        stochastic_quantize(jax.random.key(0), jnp.ones(3), num_bits)
    with pytest.raises(ValueError, match=r"num_bits must be 1\.\.16 or 32"):
        quantization_error_bound(jnp.ones(3), num_bits)


def test_bit_widths_of_other_tensors_are_refused_in_one_line():
    for num_bits in ({"v": 4}, [4], None):
        with pytest.raises(ValueError, match=r"^num_bits must be one number, or a tree with .*$"):
            quantization_error_bound({"w": jnp.ones(3)}, num_bits)
        with pytest.raises(ValueError, match=r"^num_bits must be one number, or a tree with .*$"):
            payload_bytes({"w": jnp.ones(3)}, num_bits)


def test_tensors_of_whole_numbers_are_named():
    tree = {"step": jnp.arange(5), "w": jnp.ones(3)}
    with pytest.raises(ValueError, match=r"^tensor \['step'\] is int32; floating-point tensors"):
        stochastic_quantize(jax.random.key(0), tree, 4)
    with pytest.raises(ValueError, match=r"^tensor \['step'\] is int32; floating-point tensors"):
        quantization_error_bound(tree, 4)


@pytest.mark.parametrize("leaf", [0.5, 3, True, "w", [0.5], {1.0}, len], ids=repr)
def test_leaves_that_are_no_arrays_are_named(leaf):
    tree, key = {"a": jnp.ones(3), "w": leaf}, jax.random.key(0)
    message = encode_update(key, {"a": jnp.ones(3)}, 4)
    for attempt in (
        lambda: stochastic_quantize(key, tree, 4),
        lambda: quantization_error_bound(tree, 4),
        lambda: encode_update(key, tree, 4),
        lambda: decode_update(message, tree),
        lambda: payload_bytes(tree, 4),
    ):
        with pytest.raises(ValueError, match=r"^tensor \['w'\].* is a \w+, no array; jax.numpy.as"):
            attempt()


def test_numpy_numbers_are_tensors_and_none_is_an_empty_tree():
    tree = {"a": np.float32(0.5), "b": np.float64(0.25), "c": np.ones(3), "d": None}
    quantized = jax.jit(lambda key: stochastic_quantize(key, tree, 4))(jax.random.key(0))
    assert jax.tree.map(lambda x: x.dtype.name, quantized) == dict.fromkeys("abc", "float32") | {
        "d": None
    }
    jax.tree.map(np.testing.assert_array_equal, quantized, tree)  # constants are exact
    assert jax.jit(lambda: quantization_error_bound(tree, 4))() == 0


def test_a_tree_without_tensors_has_no_error():
    quantize = jax.jit(lambda key: stochastic_quantize(key, {"a": {}}, 4))
    assert quantize(jax.random.key(0)) == {"a": {}}
    assert jax.jit(lambda: quantization_error_bound({}, 4))() == 0


def test_draws_do_not_depend_on_vmap():
    """``test_same_bits.py`` has tensors that differ."""
    x, key = np.float32(np.random.default_rng(0).normal(size=64)), jax.random.key(0)
    looped = [jit_quantize(one, x, 5) for one in split(key)[:4]]
    np.testing.assert_array_equal(draw_many(key, x, 5)[:4], looped)
