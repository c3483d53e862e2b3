"""What a data set holds and how it is spread over clients: facts, text and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedjax_diffusion.data import ImageDataset
from fedjax_diffusion.data.image_cache import checksum
from fedjax_diffusion.host.images import save_grid

_MAX_SEPARATE_BARS = 60
"""More clients than this are drawn without gaps between their bars."""


def identify(dataset: ImageDataset) -> dict[str, Any]:
    """Returns what tells a data set from any other, as plain values.

    Returns:
      name, version (None: unknown), num_examples; images_sha256 and labels_sha256, of the uint8 and
      the little-endian int32 values in order.
    """
    return {
        "name": dataset.name,
        "version": dataset.version or None,
        "num_examples": len(dataset.labels),
        "images_sha256": checksum(dataset.images),
        "labels_sha256": checksum(dataset.labels.astype("<i4", copy=False)),
    }


def describe(dataset: ImageDataset) -> dict[str, Any]:
    """Returns the facts of a data set, as plain values.

    Returns:
      What ``identify`` does, and image_shape [H, W, C], num_classes, class_names (None: unknown),
      label_counts [num_classes]; channel_means and channel_stds [C], exact, with pixels 0..255
      scaled to 0..1, over all pixels of all images.

    >>> from fedjax_diffusion.data import load_images
    >>> describe(load_images("digits", "test"))["label_counts"]
    [32, 28, 25, 31, 30, 31, 31, 33, 28, 31]
    """
    means, stds = _channel_moments(dataset.images)
    counts = np.bincount(dataset.labels, minlength=dataset.num_classes)
    return {
        **identify(dataset),
        "image_shape": list(dataset.images.shape[1:]),
        "num_classes": dataset.num_classes,
        "class_names": list(dataset.class_names) or None,
        "label_counts": counts.tolist(),
        "channel_means": means,
        "channel_stds": stds,
    }


def format_description(
    description: Mapping[str, Any], partition_facts: Mapping[str, Any] | None = None
) -> str:
    """Returns the facts as text.

    Args:
      description: of ``describe``.
      partition_facts: of ``data.describe_partition``; None: the data are not spread over clients.
    """
    version = f" {description['version']}" if description["version"] else ""
    lines = {
        "data set": f"{description['name']}{version}",
        "examples": f"{description['num_examples']:,}",
        "image": " x ".join(map(str, description["image_shape"])) + ", 8 bits",
        "mean": _format_channels(description["channel_means"]),
        "std": _format_channels(description["channel_stds"]),
        "SHA-256": f"images {description['images_sha256']}",
        "": f"labels {description['labels_sha256']}",
        "classes": str(description["num_classes"]),
    }
    text = [f"{name:<9} {value}" for name, value in lines.items()]
    text += _format_counts(description["label_counts"], description["class_names"])
    if partition_facts is not None:
        text += ["", *(f"{name:<16} {_format(v)}" for name, v in partition_facts.items())]
    return "\n".join(text)


def draw_partition(
    labels: np.ndarray, parts: Sequence[np.ndarray], class_names: Sequence[str], path: Path
) -> None:
    """Draws how many examples of each class each client holds: one stacked bar per client.

    More clients than have room for a bar of their own are ordered by the class that each has most
    of, the largest first.

    Args:
      labels: int [N].
      parts: K arrays of indices in 0..N-1.
      class_names: one for each class; empty: the numbers of the classes that occur.
      path: of the PNG.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    num_classes = len(class_names) or int(labels.max()) + 1
    names = list(class_names) or [str(label) for label in range(num_classes)]
    counts = np.array([np.bincount(labels[part], minlength=num_classes) for part in parts]).T
    is_crowded = len(parts) > _MAX_SEPARATE_BARS
    if is_crowded:
        counts = counts[:, np.lexsort((-counts.sum(axis=0), counts.argmax(axis=0)))]
    tops = counts.cumsum(axis=0)
    width = min(16.0, 7.0 + 0.08 * len(parts))
    figure = Figure(figsize=(width, 4.8), layout="constrained")
    axes = figure.subplots()
    colors = _class_colors(num_classes)
    edges = np.arange(len(parts) + 1) - 0.5
    for top, count, color, name in zip(tops, counts, colors, names, strict=True):
        if is_crowded:  # one shape per class: thousands of clients are drawn at once
            axes.stairs(top, edges, baseline=top - count, fill=True, color=color, label=name)
        else:
            axes.bar(range(len(parts)), count, 0.85, top - count, color=color, label=name)
    sizes = tops[-1]
    axes.set(
        title=f"{len(parts)} clients, {sizes.min():,} to {sizes.max():,} examples each",
        xlabel="clients, by the class that they have most of" if is_crowded else "client",
        ylabel="examples",
        xlim=(edges[0], edges[-1]),
        ylim=(0, 1.03 * sizes.max()),
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _draw_legend(figure, axes, names, colors)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def draw_examples(dataset: ImageDataset, path: Path, num_images: int = 64) -> None:
    """Saves a grid of images, at even distances in the data set, as PNG."""
    chosen = np.linspace(0, len(dataset.labels) - 1, min(num_images, len(dataset.labels)))
    save_grid(path, dataset.images[chosen.astype(int)])


def _channel_moments(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Returns mean and standard deviation of each channel, from exact counts of its 256 values."""
    values = np.arange(256) / 255
    means, stds = [], []
    for channel in range(images.shape[-1]):
        counts = np.zeros(256, np.int64)
        for start in range(0, len(images), 1024):  # a mapped file may be larger than memory
            pixels = images[start : start + 1024, ..., channel]
            counts += np.bincount(pixels.ravel(), minlength=256)
        mean = counts @ values / counts.sum()
        means.append(float(mean))
        stds.append(float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum())))
    return means, stds


def _format_channels(values: Sequence[float]) -> str:
    return "  ".join(f"{value:.4f}" for value in values) + "  of pixels in 0..1"


def _format_counts(counts: Sequence[int], class_names: Sequence[str] | None) -> list[str]:
    """Returns a line per class, with a bar."""
    names = class_names or [str(label) for label in range(len(counts))]
    width, digits = max(map(len, names)), len(f"{max(counts):,}")
    return [
        f"  {name:<{width}}  {count:>{digits},}  {'#' * round(40 * count / max(counts))}".rstrip()
        for name, count in zip(names, counts, strict=True)
    ]


def _format(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


def _class_colors(num_classes: int) -> np.ndarray:
    """Returns RGBA [num_classes, 4]: told apart up to 20, a rainbow beyond."""
    import matplotlib

    for size in (10, 20):
        if num_classes <= size:
            return matplotlib.colormaps[f"tab{size}"](np.arange(num_classes))
    return matplotlib.colormaps["turbo"](np.linspace(0.02, 0.98, num_classes))


def _draw_legend(figure: Any, axes: Any, names: Sequence[str], colors: np.ndarray) -> None:
    """Names the classes beside the axes; more than 20 by a color bar of their numbers."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    if len(names) <= 20:
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside right upper", fontsize="small")
        return
    norm = Normalize(-0.5, len(names) - 0.5)
    figure.colorbar(ScalarMappable(norm, ListedColormap(colors)), ax=axes, label="class")
