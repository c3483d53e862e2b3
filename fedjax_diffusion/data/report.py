"""Reports on a data set and its partition over clients: facts, text and images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedjax_diffusion.data import ImageDataset
from fedjax_diffusion.host.figures import default_style, save_figure, to_drawable
from fedjax_diffusion.host.images import save_grid

_MAX_SEPARATE_BARS = 60
"""Above this number of clients their bars are drawn without gaps."""


def identify(dataset: ImageDataset) -> dict[str, Any]:
    """Returns the identity of a data set, as plain values.

    Returns:
      name, version (None if unknown), num_examples; images_sha256 of the uint8 values and
      labels_sha256 of the little-endian int32 values, in order.
    """
    images, labels = dataset.checksums
    return {
        "name": dataset.name,
        "version": dataset.version or None,
        "num_examples": len(dataset.labels),
        "images_sha256": images,
        "labels_sha256": labels,
    }


def describe(dataset: ImageDataset) -> dict[str, Any]:
    """Returns the facts of a data set, as plain values.

    Returns:
      The values of ``identify``, image_shape [H, W, C], num_classes, class_names (None if unknown),
      label_counts [num_classes]; channel_means and channel_stds [C], exact, over all pixels of all
      images, with 0..255 scaled to 0..1.

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
      description: from ``describe``.
      partition_facts: from ``data.describe_partition``; None: there is no partition.
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


@default_style()
def draw_partition(
    labels: np.ndarray, parts: Sequence[np.ndarray], class_names: Sequence[str], path: Path
) -> None:
    """Draws the number of examples of each class and client: one stacked bar per client.

    Clients without room for separate bars are ordered by their most frequent class, then by size.

    Args:
      labels: int [N].
      parts: K arrays of indices in 0..N-1.
      class_names: one per class; empty: numbers are used, of the classes that occur.
      path: of the PNG.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    num_classes = len(class_names) or int(labels.max()) + 1
    names = [to_drawable(name) for name in class_names] or list(map(str, range(num_classes)))
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
        if is_crowded:  # one shape per class draws thousands of clients at once
            axes.stairs(top, edges, baseline=top - count, fill=True, color=color, label=name)
        else:
            axes.bar(range(len(parts)), count, 0.85, top - count, color=color, label=name)
    sizes = tops[-1]
    axes.set(
        title=f"{len(parts)} clients, {sizes.min():,} to {sizes.max():,} examples each",
        xlabel="clients, ordered by their most frequent class" if is_crowded else "client",
        ylabel="examples",
        xlim=(edges[0], edges[-1]),
        ylim=(0, 1.03 * sizes.max()),
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _draw_legend(figure, axes, names, colors)
    save_figure(path, figure)


def draw_examples(dataset: ImageDataset, path: Path, num_images: int = 64) -> None:
    """Saves a grid of evenly spaced images of the data set as PNG."""
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
    """Returns one line with a bar per class."""
    names = class_names or [str(label) for label in range(len(counts))]
    width, digits = max(map(len, names)), len(f"{max(counts):,}")
    return [
        f"  {name:<{width}}  {count:>{digits},}  {'#' * round(40 * count / max(counts))}".rstrip()
        for name, count in zip(names, counts, strict=True)
    ]


def _format(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


def _class_colors(num_classes: int) -> np.ndarray:
    """Returns RGBA [num_classes, 4]: distinct colors up to 20 classes, a rainbow above."""
    import matplotlib

    for size in (10, 20):
        if num_classes <= size:
            return matplotlib.colormaps[f"tab{size}"](np.arange(num_classes))
    return matplotlib.colormaps["turbo"](np.linspace(0.02, 0.98, num_classes))


def _draw_legend(figure: Any, axes: Any, names: Sequence[str], colors: np.ndarray) -> None:
    """Draws the names of the classes beside the axes, above 20 a color bar of their numbers."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    if len(names) <= 20:
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside right upper", fontsize="small")
        return
    norm = Normalize(-0.5, len(names) - 0.5)
    figure.colorbar(ScalarMappable(norm, ListedColormap(colors)), ax=axes, label="class")
