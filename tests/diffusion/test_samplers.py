"""The samplers on Gaussian data, whose exact eps-prediction has a closed form.

With x_0 ~ N(mu, s^2) and a = alpha_bar_t,

    E[eps | x_t] = sqrt(1 - a) (x_t - sqrt(a) mu) / (a s^2 + 1 - a).

This is affine in x_t, and so is a step of a sampler: the moments of its result follow from a
recursion in float64, which this file takes from Gaussian conditioning and not from the samplers.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.diffusion import (
    SAMPLERS,
    SCHEDULES,
    make_schedule,
    sample_ancestral,
    sample_ddim,
)

MU, S, N, T = 0.3, 0.5, 10_000, 100
PLAYED = 40
"""Steps where all are played with noise, and not only followed by their moments."""


def exact_eps(schedule, x_t, t):
    a, noise = (v[t].reshape(-1, 1, 1, 1) for v in (schedule.alpha_bars, schedule.noise_powers))
    return jnp.sqrt(noise) * (x_t - jnp.sqrt(a) * MU) / (a * S**2 + noise)


@functools.partial(jax.jit, static_argnames=("name", "num_steps", "eta"))
def sample(name, key, schedule, num_steps=None, eta=0.0):
    denoise_fn = functools.partial(exact_eps, schedule)
    sampler = SAMPLERS[name]
    return sampler(
        key, denoise_fn, schedule, (N, 1, 1, 1), num_steps=num_steps, eta=eta, is_clipped=False
    ).ravel()


def predicted_x_0(a):
    """Returns (slope, intercept) of E[x_0 | x_t], a Gaussian given a noisy look at it."""
    gain = np.sqrt(a) * S**2 / (a * S**2 + 1 - a)
    return gain, MU * (1 - gain * np.sqrt(a))


def ancestral_moments(schedule):
    """Returns mean and variance of the result: one Gaussian posterior after another."""
    betas = np.asarray(schedule.betas, np.float64)
    alpha_bars = np.cumprod(1 - betas)
    mean, variance = 0.0, 1.0
    for t in reversed(range(1, schedule.num_steps)):
        slope, intercept = predicted_x_0(alpha_bars[t])
        prior, likelihood = 1 / (1 - alpha_bars[t - 1]), (1 - betas[t]) / betas[t]
        x_0_weight = np.sqrt(alpha_bars[t - 1]) * prior / (prior + likelihood)
        x_t_weight = np.sqrt(1 - betas[t]) / betas[t] / (prior + likelihood)
        factor = x_0_weight * slope + x_t_weight
        mean = factor * mean + x_0_weight * intercept
        variance = factor**2 * variance + 1 / (prior + likelihood)
    slope, intercept = predicted_x_0(alpha_bars[0])
    return slope * mean + intercept, slope**2 * variance


def ddim_map(schedule, steps):
    """Returns (slope, intercept) of x_0 as a function of x_T."""
    alpha_bars = np.append(np.cumprod(1 - np.asarray(schedule.betas, np.float64)), 1.0)
    slope, intercept = 1.0, 0.0
    for t, t_next in zip(steps, [*steps[1:], schedule.num_steps], strict=True):
        a, b = alpha_bars[t], alpha_bars[t_next]
        gain, offset = predicted_x_0(a)
        ratio = np.sqrt((1 - b) / (1 - a))
        x_0_weight = np.sqrt(b) - ratio * np.sqrt(a)
        factor = x_0_weight * gain + ratio
        slope, intercept = factor * slope, factor * intercept + x_0_weight * offset
    return slope, intercept


def ddim_moments(schedule, steps, eta):
    """Returns mean and variance of the result for any eta, equations 12 and 16 step by step."""
    alpha_bars = np.append(np.cumprod(1 - np.asarray(schedule.betas, np.float64)), 1.0)
    mean, variance = 0.0, 1.0
    for t, t_next in zip(steps, [*steps[1:], schedule.num_steps], strict=True):
        a, b = alpha_bars[t], alpha_bars[t_next]
        gain, offset = predicted_x_0(a)
        sigma = eta * np.sqrt((1 - b) / (1 - a)) * np.sqrt(1 - a / b)
        ratio = np.sqrt((1 - b - sigma**2) / (1 - a))
        x_0_weight = np.sqrt(b) - ratio * np.sqrt(a)
        factor = x_0_weight * gain + ratio
        mean = factor * mean + x_0_weight * offset
        variance = factor**2 * variance + sigma**2
    return mean, variance


def assert_moments(samples, mean, variance):
    samples = np.asarray(samples, np.float64)
    assert abs(samples.mean() - mean) < 5 * np.sqrt(variance / N)
    assert abs(samples.var() - variance) < 5 * variance * np.sqrt(2 / N)


@pytest.mark.parametrize("name", SCHEDULES)
def test_ancestral_sampling_reaches_the_data(name):
    schedule = make_schedule(name, PLAYED)
    mean, variance = ancestral_moments(schedule)
    assert_moments(sample("ancestral", jax.random.key(0), schedule), mean, variance)
    # The smaller variance misses the data's own by a first-order error: it halves as T doubles.
    (mean, variance), (finer_mean, finer_variance) = (
        ancestral_moments(make_schedule(name, num_steps)) for num_steps in (2 * T, 4 * T)
    )
    np.testing.assert_allclose([mean, finer_mean], MU, rtol=1e-3)
    assert 0 < S**2 - variance < 0.1 * S**2
    np.testing.assert_allclose((S**2 - finer_variance) / (S**2 - variance), 0.5, rtol=0.1)


@pytest.mark.parametrize("num_steps", [None, 20, 1])
def test_ddim_is_its_affine_map_of_the_initial_noise(num_steps):
    schedule, key = make_schedule("linear", T), jax.random.key(1)
    steps = np.rint(np.linspace(T - 1, 0, num_steps or T)).astype(int)
    slope, intercept = ddim_map(schedule, steps)
    samples = sample("ddim", key, schedule, num_steps)
    x_T = np.asarray(jax.random.normal(key, (N, 1, 1, 1))).ravel()
    np.testing.assert_allclose(samples, slope * x_T + intercept, atol=2e-4)
    assert_moments(samples, intercept, slope**2)
    if num_steps is None:
        slope, intercept = ddim_map(make_schedule("linear", 2 * T), range(2 * T - 1, -1, -1))
        np.testing.assert_allclose([intercept, slope**2], [MU, S**2], rtol=0.03)


@pytest.mark.parametrize(("num_steps", "eta"), [(20, 0.4), (2, 1.0), (1, 1.0)])
def test_ddim_has_the_moments_of_its_equations_at_every_eta(num_steps, eta):
    """With all steps at 1 its images are those of ancestral sampling, as is tested below."""
    schedule = make_schedule("linear", T)
    steps = np.rint(np.linspace(T - 1, 0, num_steps)).astype(int)
    mean, variance = ddim_moments(schedule, steps, eta)
    assert_moments(sample("ddim", jax.random.key(2), schedule, num_steps, eta), mean, variance)


def test_with_all_steps_eta_leads_from_the_deterministic_map_to_the_ancestral_law():
    """In float64, of the two other derivations of this file; and T steps reach the data."""
    schedule, steps = make_schedule("cosine", T), range(T - 1, -1, -1)
    slope, intercept = ddim_map(schedule, steps)
    np.testing.assert_allclose(ddim_moments(schedule, steps, 0.0), (intercept, slope**2))
    np.testing.assert_allclose(ddim_moments(schedule, steps, 1.0), ancestral_moments(schedule))
    finer = make_schedule("cosine", 2 * T)
    for eta in (0.0, 0.4, 1.0):
        variance = ddim_moments(schedule, steps, eta)[1]
        finer_variance = ddim_moments(finer, range(2 * T - 1, -1, -1), eta)[1]
        np.testing.assert_allclose((S**2 - finer_variance) / (S**2 - variance), 0.5, rtol=0.1)


@functools.partial(jax.jit, static_argnames="is_clipped")
def sample_both(schedule, is_clipped):
    args = jax.random.key(3), functools.partial(exact_eps, schedule), schedule, (64, 1, 1, 1)
    ddim = sample_ddim(*args, eta=1.0, is_clipped=is_clipped)
    return ddim, sample_ancestral(*args, is_clipped=is_clipped)


@pytest.mark.parametrize("name", SCHEDULES)
def test_at_eta_1_all_steps_of_ddim_are_ancestral_sampling(name):
    """Image by image: both draw the same noise."""
    for is_clipped in (False, True):
        ddim, ancestral = sample_both(make_schedule(name, PLAYED), is_clipped)
        np.testing.assert_allclose(ddim, ancestral, atol=1e-4)


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_every_step_has_the_marginal_of_the_forward_process(eta):
    """Data that is one point: x_0 is known exactly, and x_t ~ N(sqrt(a) x_0, 1 - a) at each t."""
    schedule, x_0, seen = make_schedule("linear", 2 * T), 0.6, []

    def see(x_t, t):
        seen.append((int(t[0]), np.asarray(x_t, np.float64)))

    def denoise_fn(x_t, t):
        jax.debug.callback(see, x_t, t, ordered=True)
        a, noise = schedule.alpha_bars[t[0]], schedule.noise_powers[t[0]]
        return (x_t - jnp.sqrt(a) * x_0) / jnp.sqrt(noise)

    draw = functools.partial(
        sample_ddim, denoise_fn=denoise_fn, schedule=schedule, shape=(N, 1, 1, 1), num_steps=5
    )
    jax.block_until_ready(jax.jit(functools.partial(draw, eta=eta))(jax.random.key(4)))
    jax.effects_barrier()
    assert [t for t, _ in seen] == [199, 149, 100, 50, 0]
    alpha_bars = np.cumprod(1 - np.asarray(schedule.betas, np.float64))
    for t, x_t in seen[1:]:
        assert_moments(x_t, np.sqrt(alpha_bars[t]) * x_0, 1 - alpha_bars[t])
    first, last = (x_t.ravel() for _, x_t in (seen[0], seen[-1]))
    assert abs(np.corrcoef(first, last)[0, 1]) < 0.999 - 0.1 * eta


@pytest.mark.parametrize("name", SAMPLERS)
def test_data_that_is_one_point_is_found_and_clipped(name):
    schedule = make_schedule("cosine", 20)

    @functools.partial(jax.jit, static_argnames="is_clipped")
    def sample_point(x_0, is_clipped):
        def denoise_fn(x_t, t):
            a, noise = schedule.alpha_bars[t], schedule.noise_powers[t]
            return ((x_t.ravel() - jnp.sqrt(a) * x_0) / jnp.sqrt(noise)).reshape(x_t.shape)

        args = jax.random.key(0), denoise_fn, schedule, (4, 1, 1, 1)
        return SAMPLERS[name](*args, is_clipped=is_clipped)

    np.testing.assert_allclose(sample_point(0.5, True), 0.5, atol=1e-3)
    np.testing.assert_allclose(sample_point(2.0, False), 2.0, atol=1e-3)
    np.testing.assert_array_equal(sample_point(2.0, True), 1.0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_another_key_draws_other_images(name):
    schedule = make_schedule("linear", PLAYED)
    first, again, other = (sample(name, jax.random.key(seed), schedule) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert abs(np.corrcoef(first, other)[0, 1]) < 5 / np.sqrt(N)


@pytest.mark.parametrize(
    ("name", "num_steps", "message"),
    [
        ("ancestral", 5, r"^num_steps: 5 is not allowed, ancestral sampling takes all 10 steps"),
        ("ddim", 0, r"^num_steps: 0 is not an integer in 1\.\.10$"),
        ("ddim", 11, r"^num_steps: 11 is not an integer in 1\.\.10$"),
        ("ddim", 2.0, r"^num_steps: 2\.0 is not an integer in 1\.\.10$"),
    ],
)
def test_a_wrong_number_of_steps_is_a_one_line_error(name, num_steps, message):
    args = jax.random.key(0), lambda x, t: x, make_schedule("linear", 10), (1, 1, 1, 1)
    with pytest.raises(ValueError, match=message):
        SAMPLERS[name](*args, num_steps=num_steps)


@pytest.mark.parametrize(
    ("name", "eta", "message"),
    [
        ("ddim", -0.1, r"^eta: -0\.1 is not a number in \[0, 1\]$"),
        ("ddim", 1.1, r"^eta: 1\.1 is not a number in \[0, 1\]$"),
        ("ddim", float("nan"), r"^eta: nan is not a number in \[0, 1\]$"),
        ("ddim", True, r"^eta: True is not a number in \[0, 1\]$"),
        ("ancestral", 0.5, r"^eta: 0\.5 is not allowed, it is of ddim"),
    ],
)
def test_a_wrong_eta_is_a_one_line_error(name, eta, message):
    args = jax.random.key(0), lambda x, t: x, make_schedule("linear", 10), (1, 1, 1, 1)
    with pytest.raises(ValueError, match=message):
        SAMPLERS[name](*args, eta=eta)
