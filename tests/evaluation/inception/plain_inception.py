"""FID's Inception once more, in NumPy and float64, from a table: the Linen network's oracle."""

from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

STRIDED = {
    "Conv2d_1a_3x3",
    "Mixed_6a.branch3x3",
    "Mixed_6a.branch3x3dbl_3",
    "Mixed_7a.branch3x3_2",
    "Mixed_7a.branch7x7x3_4",
}
UNPADDED = STRIDED | {"Conv2d_2a_3x3", "Conv2d_4a_3x3"}

A = "1x1, 5x5_1 5x5_2, 3x3dbl_1 3x3dbl_2 3x3dbl_3, average _pool"
B = "3x3, 3x3dbl_1 3x3dbl_2 3x3dbl_3, halve"
C = "1x1, 7x7_1 7x7_2 7x7_3, 7x7dbl_1 7x7dbl_2 7x7dbl_3 7x7dbl_4 7x7dbl_5, average _pool"
D = "3x3_1 3x3_2, 7x7x3_1 7x7x3_2 7x7x3_3 7x7x3_4, halve"
E = "1x1, 3x3_1 3x3_2a|3x3_2b, 3x3dbl_1 3x3dbl_2 3x3dbl_3a|3x3dbl_3b, {} _pool"
BLOCKS = {f"5{x}": A for x in "bcd"} | {"6a": B} | {f"6{x}": C for x in "bcde"}
BLOCKS |= {"7a": D, "7b": E.format("average"), "7c": E.format("maximum")}
# The kernels that are not square, height first.
THIN = {"7x7_2": (1, 7), "7x7_3": (7, 1), "7x7x3_2": (1, 7), "7x7x3_3": (7, 1)}
THIN |= {"7x7dbl_2": (7, 1), "7x7dbl_3": (1, 7), "7x7dbl_4": (7, 1), "7x7dbl_5": (1, 7)}
THIN |= {"3x3_2a": (1, 3), "3x3_2b": (3, 1), "3x3dbl_3a": (1, 3), "3x3dbl_3b": (3, 1)}


def average(x):
    """The mean of the pixels within reach, of which the border has fewer."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    return np.nanmean(sliding_window_view(padded, (3, 3), (1, 2)), axis=(3, 4))


def maximum(x):
    """The maximum of the pixels within reach."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    return sliding_window_view(padded, (3, 3), (1, 2)).max(axis=(3, 4))


def halve(x):
    """The maximum of 3x3 pixels, at every second place."""
    return sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2].max(axis=(3, 4))


POOLS = {"average": average, "maximum": maximum, "halve": halve}


def convolve(t: Mapping[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    """Maps [C, H, W] to [C', H', W']: convolution, normalization, ReLU."""
    kernel = t[f"{name}.conv.weight"].astype(np.float64)
    height, width = kernel.shape[2:]
    assert (height, width) == THIN.get(name.split("branch")[-1], (height, height))
    if name not in UNPADDED:
        x = np.pad(x, ((0, 0), (height // 2,) * 2, (width // 2,) * 2))
    stride = 2 if name in STRIDED else 1
    windows = sliding_window_view(x, (height, width), (1, 2))[:, ::stride, ::stride]
    y = np.tensordot(kernel, windows, ([1, 2, 3], [0, 3, 4]))
    mean, var, scale, bias = (
        t[f"{name}.bn.{part}"].astype(np.float64)[:, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return np.maximum((y - mean) / np.sqrt(var + 0.001) * scale + bias, 0)


def block(t: Mapping[str, np.ndarray], name: str, branches: str, x: np.ndarray) -> np.ndarray:
    """Runs the chains of a block on the same input and joins what they give."""
    outputs = []
    for chain in branches.split(", "):
        ends = [x]
        for link in chain.split():
            (y,) = ends
            names = [f"Mixed_{name}.branch{part}" for part in link.split("|")]
            ends = [POOLS[link](y)] if link in POOLS else [convolve(t, n, y) for n in names]
        outputs += ends
    return np.concatenate(outputs)


def resize(image: np.ndarray, size: int = 299) -> np.ndarray:
    """Maps [H, W, C] to [size, size, C]; straight lines between pixels, flat after the last."""
    for axis in (0, 1):
        length = image.shape[axis]
        places = np.arange(size) * length / size
        image = np.apply_along_axis(
            lambda line, at=places: np.interp(at, np.arange(line.size), line), axis, image
        )
    return image


def inception(
    t: Mapping[str, np.ndarray], image: np.ndarray, size: int = 299
) -> tuple[np.ndarray, np.ndarray]:
    """Maps uint8 [H, W, 3] to features [2048] and logits [1008]; it is resized to ``size``."""
    x = (resize(image.astype(np.float64), size).transpose(2, 0, 1) - 128) / 128
    for name in ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"):
        x = convolve(t, name, x)
    x = halve(x)
    for name in ("Conv2d_3b_1x1", "Conv2d_4a_3x3"):
        x = convolve(t, name, x)
    x = halve(x)
    for name, branches in BLOCKS.items():
        x = block(t, name, branches, x)
    features = x.mean(axis=(1, 2))
    return features, t["fc.weight"].astype(np.float64) @ features + t["fc.bias"]
