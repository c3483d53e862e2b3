"""Tables of lowerings: every shape is listed, measured, and computed as the table says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from fedjax_diffusion.diffusion import (
    UNetConfig,
    conv_choice,
    list_convs,
    make_conv,
    make_denoiser,
    measure_convs,
)
from fedjax_diffusion.diffusion.conv import CONVS, KERNEL_BARS
from fedjax_diffusion.experiment.compute import make_mesh
from tests.diffusion.test_conv import (
    assert_trees_close,
    normal,
    run_value_and_gradients,
    value_and_gradients,
)

SHAPE = (4, 4, 2)
CONFIG = UNetConfig(4, (1,))
X, KERNEL, Y_BAR = normal(0, 2, 6, 5, 3), normal(1, 3, 3, 3, 4), normal(2, 2, 6, 5, 4)
FORWARD, BACKWARD = "conv 2x6x5 3x3 3->4", "conv 2x6x5 3x3 4->3"
KERNEL_BAR = "kernel_bar 2x6x5 3x3 3->4"


@pytest.mark.parametrize("conv", CONVS)
@pytest.mark.parametrize("kernel_bar", KERNEL_BARS)
def test_any_table_computes_the_convolution(conv, kernel_bar):
    table = {FORWARD: conv, BACKWARD: conv, KERNEL_BAR: kernel_bar}
    expected = run_value_and_gradients(lax.conv_general_dilated, X, KERNEL, Y_BAR)
    assert_trees_close(run_value_and_gradients(make_conv(table), X, KERNEL, Y_BAR), expected)


@pytest.mark.parametrize(
    ("table", "num_convolutions"),
    [
        ({}, 3),
        ({FORWARD: "rows"}, 2),
        ({FORWARD: "matmul", BACKWARD: "rows"}, 1),
        ({FORWARD: "matmul", BACKWARD: "rows", KERNEL_BAR: "matmul"}, 0),
        ({FORWARD: "conv", "conv 9x6x5 3x3 3->4": "matmul"}, 3),
    ],
)
def test_each_operation_takes_what_its_key_says_and_others_a_convolution(table, num_convolutions):
    jaxpr = jax.make_jaxpr(lambda *xs: value_and_gradients(make_conv(table), *xs))(X, KERNEL, Y_BAR)
    assert str(jaxpr).count("= conv_general_dilated") == num_convolutions


def trace(table):
    denoiser = make_denoiser(CONFIG, SHAPE, conv=table)
    params = jax.eval_shape(denoiser.init, jax.random.key(0))

    def loss(params):
        return denoiser.apply(params, jnp.ones((3, *SHAPE)), jnp.zeros(3, jnp.int32)).sum()

    return jax.eval_shape(jax.grad(loss), params)


def test_all_operations_of_a_model_are_listed_once():
    keys = list_convs(trace)
    assert len(keys) == len(set(keys))
    assert {"conv 3x4x4 3x3 2->4", "kernel_bar 3x4x4 3x3 2->4", "conv 3x4x4 3x3 8->4"} <= set(keys)
    table = dict.fromkeys(keys, "matmul")
    denoiser = make_denoiser(CONFIG, SHAPE, conv=table)
    params = jax.eval_shape(denoiser.init, jax.random.key(0))
    step = jax.grad(lambda p: denoiser.apply(p, jnp.ones((3, *SHAPE)), jnp.zeros(3, int)).sum())
    assert "conv_general_dilated" not in str(jax.make_jaxpr(step)(params)), "none was missed"


@pytest.mark.parametrize(("num_clients", "num_devices"), [(1, 1), (3, 1), (2, 2)])
def test_every_operation_is_measured(num_clients, num_devices):
    keys = [FORWARD, KERNEL_BAR]
    table = measure_convs(keys, num_clients=num_clients, mesh=make_mesh(num_devices))
    assert list(table) == keys
    assert table[FORWARD] in CONVS
    assert table[KERNEL_BAR] in set(KERNEL_BARS) - {"stock"}


def test_a_trial_computes_what_it_is_named_after():
    """In a loop, so the results of all lowerings agree."""
    for key in (FORWARD, KERNEL_BAR):
        results = [
            conv_choice._make_trial(key, name, 2, None)() for name in conv_choice._candidates(key)
        ]
        for result in results[1:]:
            np.testing.assert_allclose(result, results[0], rtol=1e-5)
        assert float(results[0].min()) > 0


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({"conv": 1.0, "matmul": 0.5, "rows": 0.7}, "matmul"),
        ({"conv": 1.0, "matmul": 0.98, "rows": 0.97}, "conv"),
        ({"conv": 0.1, "matmul": 0.5, "rows": 0.7}, "conv"),
    ],
)
def test_the_fastest_wins_if_it_is_clearly_faster(seconds, expected, monkeypatch):
    clock = {"now": 0.0}

    def make_trial(key, name, num_clients, mesh):
        def trial():
            clock["now"] += seconds[name]

        return trial

    monkeypatch.setattr(conv_choice, "_make_trial", make_trial)
    monkeypatch.setattr(conv_choice.time, "perf_counter", lambda: clock["now"])
    assert measure_convs([FORWARD]) == {FORWARD: expected}


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="conv: 'fft' is not one of stock, plain, matmul, rows"):
        make_conv("fft")
    with pytest.raises(ValueError, match="conv: 'fft' of 'conv 2x6x5 3x3 3->4' is not one of"):
        make_conv({FORWARD: "fft"})
    with pytest.raises(ValueError, match="conv: 'nonsense' is not the key of an operation"):
        measure_convs(["nonsense"])
