"""Labels in the network, and guidance: on an analytic denoiser and on a network that is trained."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fedjax_diffusion.diffusion import (
    NO_LABEL,
    GuidanceConfig,
    UNetConfig,
    ddpm_loss,
    guide,
    make_denoiser,
    make_schedule,
    sample_ddim,
)
from fedjax_diffusion.diffusion.layers import dense, label_embedding, time_embedding
from fedjax_diffusion.types import Batch

CONFIG = UNetConfig(8, (1,), num_classes=3)
PLAIN = dataclasses.replace(CONFIG, num_classes=None)
SHAPE = (4, 4, 1)
T, S, MEANS = 50, 0.5, np.array([-0.6, 0.6])
SCHEDULE = make_schedule("cosine", T)


class Small(nn.Module):
    """Two layers for all pixels of an image, with the U-Net's embeddings of step and label."""

    num_classes: int

    @nn.compact
    def __call__(self, x_t, t, labels):
        embedded = time_embedding(t, 16)
        embedded += label_embedding(labels, self.num_classes, 16, jnp.float32)
        h = jnp.concatenate([x_t.reshape(len(x_t), -1), embedded], axis=1)
        h = nn.silu(dense(64, "first", jnp.float32)(h))
        return dense(16, "last", jnp.float32)(h).reshape(x_t.shape)


def make_small(num_classes):
    """Returns initial parameters and a denoiser's ``apply``."""
    network = Small(num_classes)

    def apply(params, x_t, t, dropout_key=None, labels=None):
        return network.apply({"params": params}, x_t, t, labels)

    inputs = np.zeros((1, *SHAPE), np.float32), np.zeros(1, int), np.zeros(1, int)
    return jax.jit(network.init)(jax.random.key(0), *inputs)["params"], apply


@pytest.fixture(scope="module")
def params():
    """Of a network with classes, none zero."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(make_denoiser(CONFIG, SHAPE).init, jax.random.key(0))
    return jax.tree.map(lambda s: np.asarray(rng.normal(size=s.shape) / 4, s.dtype), shapes)


@pytest.fixture(scope="module")
def inputs():
    x_t = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
    return x_t, np.array([0, 5, 20, 49])


@pytest.fixture(scope="module")
def apply():
    return jax.jit(make_denoiser(CONFIG, SHAPE).apply)


def test_a_network_with_classes_is_the_one_without_plus_a_table():
    inits = [make_denoiser(config, SHAPE).init for config in (CONFIG, PLAIN)]
    shapes, shapes_without = (jax.eval_shape(init, jax.random.key(0)) for init in inits)
    table = shapes.pop("label_embedding")
    assert jax.tree.map(jnp.shape, table) == {"kernel": (4, 32)}
    assert shapes == shapes_without
    some = ("conv_in", "embedding_1")  # all would compile for long
    draw = jax.jit(lambda key: [{name: init(key)[name] for name in some} for init in inits])
    jax.tree.map(np.testing.assert_array_equal, *draw(jax.random.key(0)))
    assert make_denoiser(CONFIG, SHAPE).num_classes == 3
    assert make_denoiser(PLAIN, SHAPE).num_classes is None


def test_the_table_is_added_to_the_time_embedding(apply, params, inputs):
    """A row is a shift of the bias before the last activation, where the table is all zeros."""
    labels = np.array([2, 0, NO_LABEL, 1])
    eps = apply(params, *inputs, None, labels)
    table = params["label_embedding"]["kernel"]
    without = params | {"label_embedding": {"kernel": 0 * table}}
    for i, label in enumerate(labels):  # -1: the last row
        shifted = params["embedding_1"] | {"bias": params["embedding_1"]["bias"] + table[label]}
        expected = apply(without | {"embedding_1": shifted}, *inputs)
        np.testing.assert_allclose(eps[i], expected[i], atol=1e-4)


def test_no_label_is_what_a_pass_without_labels_takes(apply, params, inputs):
    unconditional = apply(params, *inputs)
    np.testing.assert_array_equal(apply(params, *inputs, None, np.full(4, NO_LABEL)), unconditional)
    for label in range(3):
        eps = apply(params, *inputs, None, np.full(4, label))
        assert abs(np.subtract(eps, unconditional)).max() > 1e-2


def test_labels_for_a_network_without_classes_are_refused(inputs):
    denoiser = make_denoiser(PLAIN, SHAPE)
    params = jax.eval_shape(denoiser.init, jax.random.key(0))
    with pytest.raises(ValueError, match=r"^labels: given to a network whose num_classes is None"):
        jax.eval_shape(denoiser.apply, params, *inputs, None, jnp.zeros(4, jnp.int32))


def test_only_the_rows_of_a_batchs_labels_have_a_gradient():
    images = np.random.default_rng(1).uniform(-1, 1, (4, *SHAPE)).astype(np.float32)
    batch = Batch(images, np.array([0, 2, 0, 2]))
    params, apply = make_small(3)
    loss_fn = functools.partial(ddpm_loss, apply, SCHEDULE)

    @jax.jit
    @jax.grad
    def gradient(params, rate):
        return loss_fn(params, batch, jax.random.key(2), label_dropout=rate)

    for rate, rows in ((0.0, [True, False, True, False]), (1.0, [False, False, False, True])):
        grads = gradient(params, rate)
        is_moved = abs(np.asarray(grads["label_embedding"]["kernel"])).max(axis=1) > 1e-6
        np.testing.assert_array_equal(is_moved, rows)


def gaussian_apply(params, x_t, t, dropout_key=None, labels=None):
    """E[eps | x_t] of x_0 ~ N(params[label], S^2); no label: of N(0, S^2)."""
    means = jnp.append(params, 0.0)[labels].reshape(-1, 1, 1, 1)
    a, noise = (v[t].reshape(-1, 1, 1, 1) for v in (SCHEDULE.alpha_bars, SCHEDULE.noise_powers))
    return jnp.sqrt(noise) * (x_t - jnp.sqrt(a) * means) / (a * S**2 + noise)


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_guided_gaussians_move_their_means(scale):
    """eps is affine in the mean: w times as far from that of no label, at the same variance."""
    labels, means = np.tile([0, 1], 4), np.float32(MEANS)
    x_t = np.random.default_rng(0).normal(size=(8, *SHAPE)).astype(np.float32)

    @jax.jit
    def both(key):
        guided = guide(gaussian_apply, means, labels, scale)
        moved = guide(gaussian_apply, scale * means, labels, 1.0)
        t = jnp.arange(8) * 6
        draw = functools.partial(
            sample_ddim, key, schedule=SCHEDULE, shape=(8, *SHAPE), is_clipped=False
        )
        eps = gaussian_apply(scale * means, x_t, t, None, labels)
        return (guided(x_t, t), draw(guided)), (eps, draw(moved))

    (eps, images), (expected_eps, expected_images) = both(jax.random.key(1))
    np.testing.assert_allclose(eps, expected_eps, atol=1e-5)
    np.testing.assert_allclose(images, expected_images, atol=1e-4)


@pytest.mark.parametrize(("scale", "num_images"), [(0.0, 6), (1.0, 6), (0.5, 12), (2.0, 12)])
def test_the_network_is_asked_once(scale, num_images):
    sizes = []

    def apply(params, x_t, t, dropout_key, labels):
        assert x_t.shape[:1] == t.shape == labels.shape
        sizes.append(len(x_t))
        return x_t

    x_t, integers = np.zeros((6, *SHAPE), np.float32), np.zeros(6, np.int32)
    jax.eval_shape(lambda labels: guide(apply, None, labels, scale)(x_t, integers), integers)
    assert sizes == [num_images]


@pytest.mark.parametrize("scale", [-0.5, float("nan"), float("inf")])
def test_a_scale_out_of_range_is_a_one_line_error(scale):
    with pytest.raises(ValueError, match=r"^scale must be a number in \[0, 1000\], got"):
        guide(gaussian_apply, None, jnp.zeros(1, jnp.int32), scale)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_label_dropout_out_of_range_is_a_one_line_error(rate):
    with pytest.raises(ValueError, match=r"^guidance.label_dropout must be a number in \[0, 1\]"):
        GuidanceConfig(rate)


def test_a_trained_network_draws_the_class_that_is_asked_for():
    """Dark and bright images: without a label both, with one that one."""
    params, apply = make_small(2)
    loss_fn = functools.partial(ddpm_loss, apply, SCHEDULE, label_dropout=0.2)
    optimizer = optax.adam(5e-3)
    labels = jnp.arange(64, dtype=jnp.int32) % 2

    def train_step(carry, key):
        params, opt_state = carry
        key_data, key_loss = jax.random.split(key)
        noise = 0.1 * jax.random.normal(key_data, (64, *SHAPE))
        means = jnp.asarray(MEANS, jnp.float32)[labels].reshape(-1, 1, 1, 1)
        grads = jax.grad(loss_fn)(params, Batch(means + noise, labels), key_loss)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    @jax.jit
    def train(params):
        carry = params, optimizer.init(params)
        return jax.lax.scan(train_step, carry, jax.random.split(jax.random.key(1), 250))[0][0]

    params = train(params)

    @functools.partial(jax.jit, static_argnums=0)
    def draw(scale):
        denoise_fn = guide(apply, params, labels, scale)
        images = sample_ddim(jax.random.key(2), denoise_fn, SCHEDULE, (64, *SHAPE), num_steps=10)
        return images.mean(axis=(1, 2, 3))

    asked = np.asarray(labels) == 1
    conditional, unconditional = (np.asarray(draw(scale)) > 0 for scale in (1.0, 0.0))
    # A fair coin agrees with half of the labels; sqrt(1 / 4 / 64) is its standard deviation.
    assert (conditional == asked).mean() - 0.5 > 5 * np.sqrt(1 / 4 / 64)
    assert abs((unconditional == asked).mean() - 0.5) < 5 * np.sqrt(1 / 4 / 64)
