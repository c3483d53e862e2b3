"""The lowerings against ``lax.conv_general_dilated``: values and both gradients."""

import functools
import re

import jax
import numpy as np
import pytest
from jax import lax

from fedjax_diffusion.diffusion import CONV_LOWERINGS, ConvChoice
from fedjax_diffusion.values import check_value

NHWC = ("NHWC", "HWIO", "NHWC")
LOWERINGS = [name for name in CONV_LOWERINGS if name != "stock"]


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def value_and_gradients(conv, x, kernel, y_bar):
    def convolve(x, kernel):
        return conv(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)

    y, pullback = jax.vjp(convolve, x, kernel)
    return y, *pullback(y_bar)


run_value_and_gradients = jax.jit(value_and_gradients, static_argnums=0)


def assert_trees_close(actual, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5), actual, expected
    )


@pytest.mark.parametrize("kernel_size", [(3, 3), (1, 1), (5, 3)])
@pytest.mark.parametrize("name", LOWERINGS)
def test_value_and_both_gradients_are_those_of_stock(name, kernel_size):
    args = normal(0, 2, 6, 5, 3), normal(1, *kernel_size, 3, 4), normal(2, 2, 6, 5, 4)
    expected = run_value_and_gradients(lax.conv_general_dilated, *args)
    assert_trees_close(run_value_and_gradients(CONV_LOWERINGS[name], *args), expected)


@pytest.mark.parametrize(("name", "layouts"), [("plain", 3), ("matmul", 0), ("rows", 0)])
def test_gradients_are_forward_convolutions_or_products(name, layouts):
    """Of ``plain`` all three convolutions have the one layout that XLA:CPU runs fast."""
    args = normal(0, 2, 6, 5, 3), normal(1, 3, 3, 3, 4), normal(2, 2, 6, 5, 4)
    traced = str(jax.make_jaxpr(value_and_gradients, static_argnums=0)(CONV_LOWERINGS[name], *args))
    specs = re.findall(r"lhs_spec=(\(.*?\))", traced)
    assert specs == ["(0, 3, 1, 2)"] * layouts


@pytest.mark.parametrize("mapping", ["vmap", "scan"])
@pytest.mark.parametrize("name", LOWERINGS)
def test_per_client_weights_under_vmap_and_in_a_scan(name, mapping):
    args = normal(0, 3, 2, 4, 4, 3), normal(1, 3, 3, 3, 3, 4), normal(2, 3, 2, 4, 4, 4)
    one = functools.partial(value_and_gradients, CONV_LOWERINGS[name])
    many = jax.vmap(one) if mapping == "vmap" else lambda *xs: lax.map(lambda x: one(*x), xs)
    clients = [
        run_value_and_gradients(lax.conv_general_dilated, *(a[k] for a in args)) for k in range(3)
    ]
    assert_trees_close(jax.jit(many)(*args), jax.tree.map(lambda *a: np.stack(a), *clients))


@pytest.mark.parametrize("name", LOWERINGS)
@pytest.mark.parametrize(
    ("x_shape", "kernel_shape", "options"),
    [
        ((2, 6, 6, 3), (3, 3, 3, 4), {"window_strides": (2, 2)}),
        ((2, 6, 6, 3), (3, 3, 3, 4), {"padding": "VALID"}),
        ((2, 6, 6, 3), (2, 2, 3, 4), {}),
        ((2, 6, 6, 3), (3, 3, 3, 4), {"rhs_dilation": (2, 2)}),
        ((2, 6, 6, 3), (3, 3, 3, 4), {"lhs_dilation": (2, 1), "padding": [(1, 1), (1, 1)]}),
        ((2, 6, 6, 4), (3, 3, 2, 4), {"feature_group_count": 2}),
        ((2, 3, 3, 3), (3, 3, 3, 3), {"dimension_numbers": ("NCHW", "OIHW", "NCHW")}),
        (
            (2, 6, 3),
            (3, 3, 4),
            {"window_strides": (1,), "dimension_numbers": ("NHC", "HIO", "NHC")},
        ),
        ((2, 6, 6, 3), (3, 3, 3, 4), {"precision": lax.Precision.HIGHEST}),
    ],
)
def test_other_convolutions_are_left_to_lax(name, x_shape, kernel_shape, options):
    options = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": NHWC} | options
    x, kernel = normal(0, *x_shape), normal(1, *kernel_shape)
    expected = lax.conv_general_dilated(x, kernel, **options)
    np.testing.assert_array_equal(CONV_LOWERINGS[name](x, kernel, **options), expected)


def test_unknown_names_are_one_line_errors():
    for name in ("auto", *CONV_LOWERINGS, {"conv 1x8x8 3x3 1->1": "matmul"}):
        check_value("conv", name, ConvChoice)
    with pytest.raises(ValueError, match=r"^conv must be one of auto, stock, .*, got 'fft'$"):
        check_value("conv", "fft", ConvChoice)
