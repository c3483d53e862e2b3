"""The schedules against their closed forms in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.diffusion import SCHEDULES, cosine_schedule, linear_schedule, make_schedule


@pytest.mark.parametrize("num_steps", [50, 1000])
def test_linear_betas(num_steps):
    t = np.arange(num_steps) / (num_steps - 1)
    betas = 1000 / num_steps * (1e-4 + t * (0.02 - 1e-4))
    schedule = linear_schedule(num_steps)
    np.testing.assert_allclose(schedule.betas, betas, rtol=1e-6)
    alpha_bars = np.exp(np.cumsum(np.log1p(-betas)))
    np.testing.assert_allclose(schedule.alpha_bars, alpha_bars, rtol=1e-6)


def test_linear_betas_stay_below_one_however_few_steps():
    assert linear_schedule(10).betas.max() == np.float32(0.999)


@pytest.mark.parametrize("num_steps", [50, 1000])
def test_cosine_alpha_bars(num_steps):
    t = np.arange(num_steps + 1) / num_steps
    f = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2
    alpha_bars = np.asarray(cosine_schedule(num_steps).alpha_bars)
    # Only the last step, where f reaches zero, has a beta that is cut off.
    np.testing.assert_allclose(alpha_bars[:-1], f[1:-1] / f[0], rtol=1e-6)
    np.testing.assert_allclose(alpha_bars[-1], f[-2] / f[0] * 1e-3, rtol=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("num_steps", [1, 7, 1000])
def test_every_schedule_is_a_valid_process(name, num_steps):
    schedule = jax.tree.map(np.asarray, make_schedule(name, num_steps))
    assert schedule.num_steps == num_steps
    for values in (schedule.betas, schedule.alpha_bars, schedule.noise_powers):
        assert values.shape == (num_steps,)
        assert values.dtype == jnp.float32
        assert ((values > 0) & (values <= 1)).all()
    assert schedule.betas.max() < 1
    assert (np.diff(schedule.alpha_bars) < 0).all()
    assert (np.diff(schedule.noise_powers) >= 0).all()
    np.testing.assert_allclose(schedule.alpha_bars + schedule.noise_powers, 1, atol=1e-7)
    np.testing.assert_allclose(schedule.noise_powers[0], schedule.betas[0], rtol=2e-7)


def test_bad_arguments_are_one_line_errors():
    with pytest.raises(
        ValueError, match=r"^diffusion\.name must be one of linear, cosine, got 'square'$"
    ):
        make_schedule("square", 10)
    for num_steps in (0, -1, 2.0, True):
        with pytest.raises(
            ValueError,
            match=rf"^diffusion.num_steps must be a whole number in 1..1000000, got {num_steps}$",
        ):
            make_schedule("linear", num_steps)
        with pytest.raises(ValueError, match=r"^num_steps must be a whole number in 1..1000000"):
            linear_schedule(num_steps)
