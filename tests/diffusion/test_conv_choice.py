"""Tables of lowerings: every shape is listed, measured, and computed as the table says."""

import jax
import numpy as np
import pytest
from jax import lax

from fedjax_diffusion.diffusion import (
    conv_choice,
    list_convs,
    make_conv,
    measure_convs,
)
from fedjax_diffusion.diffusion.conv import CONVS, KERNEL_BARS
from fedjax_diffusion.experiment.compute import make_mesh
from tests.diffusion.test_conv import (
    NHWC,
    assert_trees_close,
    normal,
    run_value_and_gradients,
    value_and_gradients,
)

X, KERNEL, Y_BAR = normal(0, 2, 6, 5, 3), normal(1, 3, 3, 3, 4), normal(2, 2, 6, 5, 4)
FORWARD, BACKWARD = "conv 2x6x5 3x3 3->4", "conv 2x6x5 3x3 4->3"
KERNEL_BAR = "kernel_bar 2x6x5 3x3 3->4"


@pytest.mark.parametrize(
    ("conv", "kernel_bar"),
    [("conv", "stock"), ("matmul", "rows"), ("rows", "matmul"), ("rows", "conv")],
)
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


def three_layers(table):
    """Returns the loss of three convolutions, two of them alike, and its kernels."""
    convolve = make_conv(table)

    def loss(kernels):
        h = np.ones((3, 4, 4, 2), np.float32)
        for kernel in kernels:
            h = convolve(h, kernel, (1, 1), "SAME", dimension_numbers=NHWC)
        return h.sum()

    return loss, [np.ones((3, 3, *sizes), np.float32) for sizes in ((2, 4), (4, 4), (4, 4))]


def test_all_operations_of_a_model_are_listed_once():
    def trace(table):
        loss, kernels = three_layers(table)
        jax.eval_shape(jax.grad(loss), kernels)

    keys = list_convs(trace)
    expected = [f"conv 3x4x4 3x3 {sizes}" for sizes in ("2->4", "4->4", "4->2")]
    expected += [f"kernel_bar 3x4x4 3x3 {sizes}" for sizes in ("2->4", "4->4")]
    assert sorted(keys) == sorted(expected)
    loss, kernels = three_layers(dict.fromkeys(keys, "matmul"))
    jaxpr = jax.make_jaxpr(jax.grad(loss))(kernels)
    assert "conv_general_dilated" not in str(jaxpr), "none was missed"


@pytest.mark.parametrize(
    ("num_clients", "num_devices", "key"), [(1, 1, KERNEL_BAR), (2, 2, FORWARD)]
)
def test_every_operation_is_measured(num_clients, num_devices, key):
    """That of several clients on one device is played below."""
    table = measure_convs([key], num_clients=num_clients, mesh=make_mesh(num_devices))
    assert list(table) == [key]
    assert table[key] in (CONVS if key == FORWARD else {*KERNEL_BARS} - {"stock"})


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
    measured = measure_convs([FORWARD, KERNEL_BAR])
    assert list(measured.items()) == [(FORWARD, expected), (KERNEL_BAR, expected)]


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="conv: 'fft' is not one of stock, plain, matmul, rows"):
        make_conv("fft")
    with pytest.raises(ValueError, match="conv: 'fft' of 'conv 2x6x5 3x3 3->4' is not one of"):
        make_conv({FORWARD: "fft"})
    with pytest.raises(ValueError, match="conv: 'nonsense' is not the key of an operation"):
        measure_convs(["nonsense"])
