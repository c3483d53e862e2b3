"""Lowerings of a stride-1 "SAME" convolution: the same numbers at very different speed.

XLA:CPU rewrites a convolution to the layout of its fast kernel only in the entry computation.
Inside a loop (``lax.scan``, ``lax.map``) the two *backward* convolutions take a naive path, many
times slower (jax-ml/jax issue 12868), and under ``vmap`` over per-client weights all three become
grouped convolutions. ``CONV_LOWERINGS`` holds drop-ins for
``flax.linen.Conv(conv_general_dilated=...)``:

======  ======================================================================================
stock   ``jax.lax.conv_general_dilated``: cuDNN and the TPU compiler choose layouts themselves
plain   both gradients written as forward convolutions of explicit transposes, which XLA:CPU
        runs fast in a loop, too
matmul  shifted copies of the input (im2col) and one matrix product, in both directions: fast
        on the CPU under ``vmap`` over weights
rows    copies shifted along a row only, and a matrix product per row of the kernel: a third of
        the copies of ``matmul``
======  ======================================================================================

A table (``ConvTable``) names the lowering of each operation and shape, see ``conv_choice``.

All but the first compute the convolutions of a U-Net (two spatial axes, channels last, odd kernel,
stride 1, no dilation, no groups), which then have only a first-order reverse-mode derivative, and
use ``lax`` for all others. A 1x1 kernel is a matrix product in all.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from fedjax_diffusion.types import Array
from fedjax_diffusion.values import Checked

ConvFn = Callable[..., Array]
"""A function with the arguments of ``jax.lax.conv_general_dilated``."""

ConvTable: TypeAlias = Mapping[str, str]
"""The lowering of each operation, by ``conv_key``; ``conv`` if a key is missing."""
_NHWC = ("NHWC", "HWIO", "NHWC")


def conv_key(operation: str, x: Array, kernel: Array) -> str:
    """Returns the name of an operation on x [B, H, W, I] and a kernel [kh, kw, I, O].

    Args:
      operation: ``conv`` (forward, and the input's gradient with I and O swapped) or
        ``kernel_bar`` (the kernel's gradient).
      x: the input, or its shape.
      kernel: the kernel, or its shape.

    >>> conv_key("conv", jnp.zeros((32, 8, 8, 1)), jnp.zeros((3, 3, 1, 16)))
    'conv 32x8x8 3x3 1->16'
    """
    B, H, W, _ = x.shape
    kh, kw, num_inputs, num_outputs = kernel.shape
    return f"{operation} {B}x{H}x{W} {kh}x{kw} {num_inputs}->{num_outputs}"


def make_conv(choice: str | ConvTable) -> ConvFn:
    """Returns a drop-in for ``jax.lax.conv_general_dilated``.

    Args:
      choice: a key of ``CONV_LOWERINGS``, or a table.

    Raises:
      ValueError: an unknown lowering.
    """
    if isinstance(choice, str):
        if choice not in CONV_LOWERINGS:
            raise ValueError(f"conv: {choice!r} is not one of {', '.join(CONV_LOWERINGS)}")
        return CONV_LOWERINGS[choice]
    for key, name in choice.items():
        if name not in CONVS | KERNEL_BARS:
            raise ValueError(f"conv: {name!r} of {key!r} is not one of {', '.join(KERNEL_BARS)}")

    def conv(x: Array, kernel: Array) -> Array:
        return CONVS[_look_up(choice, conv_key("conv", x, kernel))](x, kernel)

    def kernel_bar(x: Array, y_bar: Array, kernel: Array) -> Array:
        name = _look_up(choice, conv_key("kernel_bar", x, kernel))
        return KERNEL_BARS[name](x, y_bar, kernel)

    return _drop_in(_with_gradients(conv, kernel_bar))


def _look_up(table: ConvTable, key: str) -> str:
    try:
        return table[key]
    except KeyError:
        return "conv"


def _conv_same(x: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=_NHWC)


def _transposed(kernel: Array) -> Array:
    """Returns the kernel [kh, kw, O, I] whose convolution with y_bar is x_bar."""
    return jnp.swapaxes(kernel[::-1, ::-1], 2, 3)


def _plain_kernel_bar(x: Array, y_bar: Array, kernel: Array) -> Array:
    """Returns kernel_bar as x convolved with y_bar, with channels and batch swapped."""
    kernel_bar = lax.conv_general_dilated(
        jnp.transpose(x, (3, 1, 2, 0)),
        jnp.transpose(y_bar, (1, 2, 0, 3)),
        window_strides=(1, 1),
        padding=[(size // 2, size // 2) for size in kernel.shape[:2]],
        dimension_numbers=_NHWC,
    )  # [I, kh, kw, O]
    return jnp.transpose(kernel_bar, (1, 2, 0, 3))


def _patches(x: Array, kernel: Array) -> Array:
    """Returns the inputs of each output pixel, [B H W, kh kw I], in the order of the kernel."""
    kh, kw, num_inputs, _ = kernel.shape
    _, H, W, _ = x.shape
    x = jnp.pad(x, ((0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2), (0, 0)))
    shifted = [x[:, i : i + H, j : j + W] for i in range(kh) for j in range(kw)]
    return jnp.concatenate(shifted, axis=-1).reshape(-1, kh * kw * num_inputs)


def _matmul_same(x: Array, kernel: Array) -> Array:
    y = _patches(x, kernel) @ kernel.reshape(-1, kernel.shape[-1])
    return y.reshape(*x.shape[:-1], -1)


def _matmul_kernel_bar(x: Array, y_bar: Array, kernel: Array) -> Array:
    kernel_bar = _patches(x, kernel).T @ y_bar.reshape(-1, kernel.shape[-1])
    return kernel_bar.reshape(kernel.shape)


def _shifted_rows(x: Array, kernel: Array) -> Array:
    """Returns the inputs of each output pixel in one row, [B, H + kh - 1, W, kw I]."""
    kh, kw = kernel.shape[:2]
    W = x.shape[2]
    x = jnp.pad(x, ((0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2), (0, 0)))
    return jnp.concatenate([x[:, :, j : j + W] for j in range(kw)], axis=-1)


def _rows_same(x: Array, kernel: Array) -> Array:
    rows, H = _shifted_rows(x, kernel), x.shape[1]
    products = [
        jnp.einsum("bhwi,io->bhwo", rows[:, i : i + H], row.reshape(-1, row.shape[-1]))
        for i, row in enumerate(kernel)
    ]
    return functools.reduce(jnp.add, products)


def _rows_kernel_bar(x: Array, y_bar: Array, kernel: Array) -> Array:
    rows, H = _shifted_rows(x, kernel), x.shape[1]
    products = [
        jnp.einsum("bhwi,bhwo->io", rows[:, i : i + H], y_bar) for i in range(kernel.shape[0])
    ]
    return jnp.stack(products).reshape(kernel.shape)


def _stock_kernel_bar(x: Array, y_bar: Array, kernel: Array) -> Array:
    _, pull_back = jax.vjp(lambda kernel: _conv_same(x, kernel), kernel)
    return pull_back(y_bar)[0]


def _with_gradients(
    conv: Callable[[Array, Array], Array], kernel_bar: Callable[[Array, Array, Array], Array]
) -> Callable[[Array, Array], Array]:
    """Returns ``conv`` with its gradients made of ``conv`` itself and ``kernel_bar``."""

    def backward(residuals: tuple[Array, Array], y_bar: Array) -> tuple[Array, Array]:
        x, kernel = residuals
        return conv(y_bar, _transposed(kernel)), kernel_bar(x, y_bar, kernel)

    differentiable = jax.custom_vjp(conv)
    differentiable.defvjp(lambda x, kernel: (conv(x, kernel), (x, kernel)), backward)
    return differentiable


def _drop_in(conv_same: Callable[[Array, Array], Array]) -> ConvFn:
    """Returns ``lax.conv_general_dilated`` that uses ``conv_same`` for all it supports."""

    def conv_general_dilated(
        lhs: Array,
        rhs: Array,
        window_strides: Sequence[int],
        padding: str | Sequence[tuple[int, int]],
        lhs_dilation: Sequence[int] | None = None,
        rhs_dilation: Sequence[int] | None = None,
        dimension_numbers: Any = None,
        **options: Any,
    ) -> Array:
        layout = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
        is_served = (
            lhs.ndim == 4
            and layout == lax.conv_dimension_numbers(lhs.shape, rhs.shape, _NHWC)
            and all(size % 2 for size in rhs.shape[:2])
            and padding in ("SAME", [(size // 2, size // 2) for size in rhs.shape[:2]])
            and {*window_strides, *(lhs_dilation or ()), *(rhs_dilation or ())} == {1}
            and all(v is None or (k, v) in _DEFAULTS for k, v in options.items())
        )
        if is_served:
            return conv_same(lhs, rhs)
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            **options,
        )

    return conv_general_dilated


_DEFAULTS = (("feature_group_count", 1), ("batch_group_count", 1))
_matmul = _with_gradients(_matmul_same, _matmul_kernel_bar)
_plain = _with_gradients(_conv_same, _plain_kernel_bar)
_rows = _with_gradients(_rows_same, _rows_kernel_bar)

CONVS = {"conv": _conv_same, "matmul": _matmul_same, "rows": _rows_same}
"""Functions that compute [B, H, W, O] from x [B, H, W, I] and a kernel [kh, kw, I, O]."""
KERNEL_BARS = {
    "conv": _plain_kernel_bar,
    "matmul": _matmul_kernel_bar,
    "rows": _rows_kernel_bar,
    "stock": _stock_kernel_bar,
}
"""Functions that compute the kernel's gradient from x, y_bar and the kernel."""

CONV_LOWERINGS: Mapping[str, ConvFn] = MappingProxyType(
    {
        "stock": lax.conv_general_dilated,
        "plain": _drop_in(lambda x, k: (_matmul if k.shape[:2] == (1, 1) else _plain)(x, k)),
        "matmul": _drop_in(_matmul),
        "rows": _drop_in(_rows),
    }
)
ConvChoice: TypeAlias = Annotated[
    str | ConvTable,
    Checked(
        f"one of auto, {', '.join(CONV_LOWERINGS)}",
        lambda choice: not isinstance(choice, str) or choice in ("auto", *CONV_LOWERINGS),
    ),
]
