"""Messages without a sender: any codes on any grid are a message, so NumPy chooses them."""

import functools

import jax
import numpy as np

from fedjax_diffusion.quantization import QUANTIZERS, make_layout, write_upload
from tests.quantization.wire import plain_wire

SHAPES = {"a": (2, 4), "b": (5,), "c": (0,), "d": (), "e": (8,), "f": (13,)}
OTHER_SHAPES = SHAPES | {"a": (4, 2)}
CODED_SHAPES = {"a": (150,), "b": (5,), "c": (0,), "d": (9, 10)}
LOSSY = ("stochastic", "rotated", "qsgd", "nearest")
QUANTIZERS_IN_TURN = (*LOSSY, "stochastic", "stochastic", "none", "rotated", *LOSSY[:1] * 3)


def make_tree(seed, shapes=SHAPES):
    """Heavy tails: their codes are worth coding where a tensor is large."""
    rng = np.random.default_rng(seed)
    return {name: np.float32(rng.standard_t(1, size=shape)) for name, shape in shapes.items()}


def round_down(x, num_bits):
    """Returns lo, step and codes of a tensor, by NumPy; a step of 24 - b significant bits."""
    if num_bits == 32 or x.size == 0:
        return np.float32(0), np.float32(0), x.ravel().view(np.uint32)
    lo = x.min()
    if np.ptp(x) == 0:
        return lo, np.float32(0), np.zeros(x.size, np.uint32)
    step = np.float32(1.01 * np.ptp(x) / (2**num_bits - 1)).view(np.uint32)
    step = ((step >> num_bits) + 1 << num_bits).view(np.float32)
    codes = np.floor((np.float64(x.ravel()) - lo) / step)
    return lo, step, codes.astype(np.uint32)


def make_upload(seed, num_bits, shapes):
    """Returns bit widths, and ``round_down`` of each tensor: any sender's codes are read."""
    tree = make_tree(seed, shapes)
    bit_widths = jax.tree.leaves(jax.tree.broadcast(num_bits, tree))
    leaves = [tree[name] for name in sorted(tree)]
    return tree, bit_widths, list(map(round_down, leaves, bit_widths))


def write_plain(seed, num_bits, quantizer="stochastic", shapes=SHAPES):
    tree, bit_widths, rounded = make_upload(seed, num_bits, shapes)
    ranges = [
        (lo, step) if codes.size and b < 32 else None
        for b, (lo, step, codes) in zip(bit_widths, rounded, strict=True)
    ]
    codes = [codes.tolist() for _, _, codes in rounded]
    number = QUANTIZERS[quantizer].wire_number
    fields = plain_wire.Fields(number, bit_widths, (seed, 7), ranges, codes, None)
    return plain_wire.write(tree, fields)


def write_coded(seed, num_bits, quantizer):
    """The package chooses the frequencies."""
    tree, bit_widths, rounded = make_upload(seed, num_bits, CODED_SHAPES)
    lo, step = (np.array([one[i] for one in rounded]) for i in (0, 1))
    rows = [np.resize(x, (-(-x.size // 128), 128)) for _, _, x in rounded]
    codes = np.concatenate(rows)
    widest = max(b for b in bit_widths if b < 32)
    return write_upload(
        make_layout(tree),
        quantizer,
        bit_widths,
        lo,
        step,
        np.uint32([seed, 7]),
        codes.astype(np.uint8 if widest <= 8 else np.uint16),
        floats=codes.view(np.float32),
        entropy_coding=True,
    )


@functools.cache
def plain_messages():
    """One at each of a few bit widths, and mixtures."""
    choices = [1, 3, 4, 8, 11, 16, 32, 32]
    rng = np.random.default_rng(1)
    mixtures = [{name: int(rng.choice(choices)) for name in SHAPES} for _ in range(4)]
    return [
        write_plain(i, num_bits, quantizer)
        for i, (num_bits, quantizer) in enumerate(
            zip([*choices[:-1], *mixtures], QUANTIZERS_IN_TURN, strict=True)
        )
    ]


@functools.cache
def coded_messages():
    """Entropy coded in part and in full."""
    bit_widths = (2, {"a": 4, "b": 32, "c": 2, "d": 11}, 5, {"a": 3, "b": 8, "c": 32, "d": 7})
    return [
        write_coded(i, num_bits, quantizer)
        for i, (num_bits, quantizer) in enumerate(zip(bit_widths, LOSSY, strict=False))
    ]


@functools.cache
def other_messages():
    """Of a model of other shapes."""
    mixture = dict(zip(OTHER_SHAPES, (1, 32, 3, 32, 5, 8), strict=True))
    return [
        write_plain(i, num_bits, shapes=OTHER_SHAPES)
        for i, num_bits in enumerate((1, 3, 8, mixture))
    ]


LIKE = make_tree(0)
CODED_LIKE = make_tree(0, CODED_SHAPES)
