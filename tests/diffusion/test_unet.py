"""The U-Net: its published size, its first output, its dropout, its configuration."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.diffusion import UNetConfig, make_denoiser
from fedjax_diffusion.diffusion.layers import (
    average_pool,
    count_groups,
    nearest_resize,
    time_embedding,
)
from fedjax_diffusion.keys import seed_to_key

CIFAR10 = UNetConfig(128, (1, 2, 2, 2), 2, (16,), 0.1)
TINY = UNetConfig(4, (1, 2), attention_resolutions=(4,), dropout=0.5)
NUM_ATTENTIONS = 4
"""Of ``TINY``: after its three blocks of the lower level, and in the middle."""
SHAPE = (4, 6, 2)


def count_parameters(config, image_shape):
    params = jax.eval_shape(make_denoiser(config, image_shape).init, seed_to_key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def draw_inputs(config):
    """Returns random parameters (none zero), images and steps."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(make_denoiser(config, SHAPE).init, seed_to_key(0))
    params = jax.tree.map(lambda s: np.asarray(rng.normal(size=s.shape) / 4, s.dtype), shapes)
    x_t = rng.normal(size=(3, *SHAPE)).astype(np.float32)
    return params, x_t, np.array([0, 5, 900])


@pytest.fixture(scope="module")
def inputs():
    return draw_inputs(TINY)


@pytest.fixture(scope="module")
def apply():
    return jax.jit(make_denoiser(TINY, SHAPE).apply)


@pytest.fixture(scope="module")
def eps(apply, inputs):
    return apply(*inputs)


def test_ho_et_al_cifar10_model_has_its_published_size():
    assert count_parameters(CIFAR10, (32, 32, 3)) == 35_746_307


def test_eps_has_the_shape_of_x_t_and_depends_on_t(apply, inputs, eps):
    params, x_t, t = inputs
    assert eps.shape == x_t.shape
    assert eps.dtype == jnp.float32
    later = apply(params, x_t, t + np.array([0, 50, 0]))
    is_changed = np.abs(np.subtract(later, eps)).max(axis=(1, 2, 3)) > 1e-3
    np.testing.assert_array_equal(is_changed, [False, True, False])


def test_images_of_a_batch_do_not_mix(apply, inputs, eps):
    params, x_t, t = inputs
    order = np.array([2, 0, 1])
    expected = np.asarray(eps)[order]
    np.testing.assert_allclose(apply(params, x_t[order], t[order]), expected, atol=1e-5)


def test_the_output_is_zero_at_init_and_kernels_are_glorot_uniform(apply, inputs):
    """With the last convolution's parameters the output is zero, whatever the others are."""
    init = make_denoiser(TINY, SHAPE).init
    shapes = jax.eval_shape(init, seed_to_key(0))
    assert type(shapes) is dict
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(shapes))
    pick = lambda params: (params["conv_out"], params["middle_block_0"]["conv_0"]["kernel"])  # noqa: E731
    last, kernel = jax.jit(lambda key: pick(init(key)))(seed_to_key(0))  # all compile for long
    np.testing.assert_array_equal(apply(inputs[0] | {"conv_out": last}, *inputs[1:]), 0.0)
    kernel = np.asarray(kernel)
    bound = math.sqrt(6 / (9 * 8 + 9 * 8))
    assert kernel.shape == (3, 3, 8, 8)
    assert abs(kernel).max() < bound
    # A uniform variable's mean has variance bound^2 / 3 over n, its square bound^4 4 / 45 over n.
    assert abs(kernel.mean()) < 5 * bound / math.sqrt(3 * kernel.size)
    assert abs((kernel**2).mean() - bound**2 / 3) < 5 * bound**2 * math.sqrt(4 / 45 / kernel.size)


def test_every_convolution_takes_the_chosen_lowering_and_computes_in_bfloat16(inputs):
    """By ``matmul`` all are products; what is served is the same for all, their gradients too."""
    traced = jax.make_jaxpr(make_denoiser(TINY, SHAPE, conv="matmul", dtype=jnp.bfloat16).apply)
    jaxpr = traced(*inputs)
    products = re.findall(r":(\w+)\[\S* = (dot_general|conv_general_dilated)\[", str(jaxpr))
    assert {*products} == {("bf16", "dot_general")}
    kernels = [x for x in jax.tree.leaves(inputs[0]) if x.ndim > 1]
    assert len(products) == len(kernels) + 2 * NUM_ATTENTIONS
    assert [aval.dtype for aval in jaxpr.out_avals] == [jnp.float32]


def test_time_embedding_is_the_transformers():
    t, n = np.array([0, 3, 999]), 8
    angles = t[:, None] * 10000.0 ** (-np.arange(n // 2) / (n // 2 - 1))
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    np.testing.assert_allclose(jax.jit(time_embedding, static_argnums=1)(t, n), expected, atol=2e-4)


def test_resize_repeats_pixels_and_pooling_undoes_it():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    resized = np.asarray(jax.jit(nearest_resize)(x))
    np.testing.assert_array_equal(resized, x.repeat(2, axis=1).repeat(2, axis=2))
    np.testing.assert_array_equal(jax.jit(average_pool)(resized), x)


@pytest.mark.parametrize(
    ("channels", "num_groups", "expected"),
    [(128, 32, 32), (256, 32, 32), (32, 32, 8), (48, 32, 12), (20, 4, 4), (4, 32, 1), (6, 8, 1)],
)
def test_groups_divide_the_channels_and_hold_at_least_four(channels, num_groups, expected):
    assert count_groups(channels, num_groups) == expected


BAD_FIELDS = [
    ("channels", True, r"a whole number in 4\.\.4096, divisible by 2"),
    ("channels", 7, "divisible by 2"),
    ("channels", 2, r"4\.\.4096"),
    ("channel_multipliers", (), r"a tuple of 1\.\.12"),
    ("channel_multipliers", (1, 0), r"each entry must be a whole number in 1\.\.64"),
    ("channel_multipliers", (1, True), r"each entry must be a whole number in 1\.\.64"),
    ("channel_multipliers", 2, r"written as \(8,\) or \(8, 16\)"),
    ("num_res_blocks", 0, r"a whole number in 1\.\.32"),
    ("num_res_blocks", 1.0, r"a whole number in 1\.\.32"),
    ("attention_resolutions", (16.0,), "each entry must be a whole number"),
    ("dropout", 1.0, r"a number in \[0, 1\)"),
    ("dropout", float("nan"), r"a number in \[0, 1\)"),
    ("dropout", False, r"a number in \[0, 1\)"),
    ("num_groups", None, r"a whole number in 1\.\.4096"),
    ("num_classes", 0, r"a whole number in 1\.\.1000000 or None"),
    ("num_classes", True, r"a whole number in 1\.\.1000000 or None"),
]


def test_a_bad_field_is_a_one_line_error():
    for field, value, allowed in BAD_FIELDS:
        with pytest.raises(ValueError, match=rf"^model\.{field}.*{allowed}") as error:
            UNetConfig(**{field: value})
        wrong = value[-1] if isinstance(value, tuple) and value else value
        assert str(error.value).endswith(f"got {wrong!r}"), (field, value)
        assert "\n" not in str(error.value), (field, value)


def test_lists_are_taken_as_tuples():
    config = UNetConfig(channel_multipliers=[1, 2], attention_resolutions=[8])
    assert config == UNetConfig(channel_multipliers=(1, 2), attention_resolutions=(8,))
    assert hash(config) == hash(UNetConfig(channel_multipliers=(1, 2), attention_resolutions=(8,)))


def test_images_that_do_not_fit_are_one_line_errors():
    with pytest.raises(
        ValueError, match=r"^model.channel_multipliers has 3 levels, .* divisible by 4, got 12 x 10"
    ):
        make_denoiser(UNetConfig(channel_multipliers=(1, 1, 1)), (12, 10, 1))
    with pytest.raises(
        ValueError, match=r"^model.attention_resolutions must be among the heights .*, got \(16,\)"
    ):
        make_denoiser(UNetConfig(attention_resolutions=(16,)), (8, 8, 1))
    with pytest.raises(ValueError, match=r"^conv: 'fft' is not one of stock, plain, matmul, rows$"):
        make_denoiser(UNetConfig(), (8, 8, 1), conv="fft")


ONE_LEVEL, KEY = UNetConfig(4, (1,), dropout=0.5), seed_to_key(2)


@pytest.fixture(scope="module")
def one_level():
    return draw_inputs(ONE_LEVEL)


def differentiate(inputs, **options):
    """Returns a function of the dropout's key, and the number of its convolutions.

    Its results are the mean square of what is predicted, and the gradient of the last block, which
    is built like the others.
    """
    params, x_t, t = inputs
    denoiser = make_denoiser(ONE_LEVEL, SHAPE, **options)

    def loss(block, params, key):
        params = params | {"up_0_block_1": block}
        return jnp.mean(jnp.square(denoiser.apply(params, x_t, t, key)))

    given = params["up_0_block_1"], params
    lowered = jax.jit(jax.value_and_grad(loss)).lower(*given, KEY)
    count = lowered.as_text().count("stablehlo.convolution")
    return functools.partial(lowered.compile(), *given), count


@pytest.fixture(scope="module")
def in_float32(one_level):
    return differentiate(one_level)


def test_dropout_is_drawn_by_its_key(in_float32):
    run, _ = in_float32
    (first, grads), (again, grads_again), (other, _) = run(KEY), run(KEY), run(seed_to_key(3))
    assert first == again != other
    jax.tree.map(np.testing.assert_array_equal, grads, grads_again)


def test_bfloat16_and_computing_again_change_nothing_but_rounding(one_level, in_float32):
    """Gradients are float32, near float32's, and bfloat16's 8 bits show in them.

    Activations that are computed again are those of the same dropout; there is more to compute.
    """
    of_float32, count = in_float32
    of_bfloat16, count_again = differentiate(one_level, dtype=jnp.bfloat16, remat=True)
    (loss, grads), (loss_16, grads_16) = of_float32(KEY), of_bfloat16(KEY)
    assert count_again > count
    assert {x.dtype for x in jax.tree.leaves((loss_16, grads_16))} == {jnp.dtype("float32")}
    np.testing.assert_allclose(loss_16, loss, rtol=0.05)
    distance, norm = (
        np.sqrt(sum(np.sum(np.square(x)) for x in jax.tree.leaves(tree)))
        for tree in (jax.tree.map(np.subtract, grads, grads_16), grads)
    )
    assert 2**-12 < distance / norm < 0.1
