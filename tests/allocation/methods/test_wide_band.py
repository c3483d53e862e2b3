"""A band that is shared where the problem's fields vary over ten decades."""

import jax
import numpy as np
import pytest

from fedjax_diffusion.allocation import AllocationProblem, Status, allocate, make_allocator

JOINTLY = ":joint_bandwidth"


def draw_wide_problems():
    """Problems whose fields vary over two decades, and over ten."""
    generator = np.random.default_rng(7)
    names = ("compute_cycles", "effective_capacitance", "max_frequency_hz", "channel_gain")
    middles = dict(zip(names, (3e9, 1e-28, 2e9, 1e-11), strict=True))
    middles |= {"bandwidth_hz": 1e6, "max_power_watts": 0.2, "error_weight": 1.0}

    def draw(decades):
        def spread(middle, *shape):
            return middle * 10.0 ** generator.uniform(-decades, decades, shape)

        return AllocationProblem(
            **{name: spread(middle, 3) for name, middle in middles.items()},
            noise_density_watts_per_hz=spread(4e-21),
            num_parameters=np.ceil(spread(267_000.0)),
            overhead_bits=4096,
            min_bits=generator.choice([1, 2, 4], 3),
            max_bits=generator.choice([2, 8, 16, 32], 3),
            error_budget=spread(1e-3),
            time_budget_seconds=spread(10.0),
        )

    return [draw(decades) for decades in (1.0, 5.0) for _ in range(40)]


def stack(trees):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


@pytest.mark.parametrize("method", ["on_demand", "fixed_bits:4"])
def test_nothing_is_ever_not_a_number(method):
    problems = draw_wide_problems()
    assert_finite(stack(problems), stack([allocate(p, method + JOINTLY) for p in problems]))


@pytest.mark.slow  # ten seconds of compilation: the two programs of many problems at once
@pytest.mark.parametrize("method", ["on_demand", "fixed_bits:4"])
def test_nothing_is_ever_not_a_number_in_a_batch(float64, method):
    del float64
    batch = stack(draw_wide_problems())
    assert_finite(batch, jax.jit(jax.vmap(make_allocator(method + JOINTLY)))(batch))


def assert_finite(batch, a):
    for leaf in jax.tree.leaves(a):
        assert np.isfinite(leaf).all()
    is_active = np.asarray(a.status) == Status.OPTIMAL
    assert is_active.sum() > 60
    whole = batch.bandwidth_hz.sum(axis=1)
    assert np.all(np.sum(a.bandwidth_hz, axis=1) <= whole * (1 + 1e-12))
    assert np.all((np.asarray(a.bandwidth_hz) > 0) == is_active)
