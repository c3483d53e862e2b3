"""The report of a data set: facts by NumPy, text, and pictures that say how clients differ."""

import hashlib

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fedjax_diffusion.data import (
    ImageDataset,
    describe_partition,
    load_images,
    partition_dirichlet,
    partition_iid,
)
from fedjax_diffusion.data.report import describe, draw_examples, draw_partition, format_description

RNG = np.random.default_rng(0)
NAMES = ("cat", "dog", "automobile")
DATASET = ImageDataset(
    RNG.integers(0, 256, (2500, 3, 2, 3), np.uint8),  # more than one chunk
    RNG.integers(0, 2, 2500).astype(np.int32),
    3,
    "noise",
    NAMES,
    "1.2.3",
)


def test_facts_are_those_of_numpy():
    facts = describe(DATASET)
    assert (facts["name"], facts["version"], facts["num_examples"]) == ("noise", "1.2.3", 2500)
    assert (facts["image_shape"], facts["num_classes"]) == ([3, 2, 3], 3)
    assert facts["class_names"] == list(NAMES)
    ones = int(DATASET.labels.sum())
    assert facts["label_counts"] == [2500 - ones, ones, 0]
    pixels = DATASET.images / 255
    np.testing.assert_allclose(facts["channel_means"], pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(facts["channel_stds"], pixels.std(axis=(0, 1, 2)), rtol=1e-12)
    assert facts["images_sha256"] == hashlib.sha256(DATASET.images.tobytes()).hexdigest()
    assert facts["labels_sha256"] == hashlib.sha256(DATASET.labels.tobytes()).hexdigest()


def test_checksum_is_of_the_values_not_of_their_place_in_memory():
    mirrored = ImageDataset(DATASET.images[:, :, ::-1][:, :, ::-1], DATASET.labels, 3, "noise")
    assert describe(mirrored)["images_sha256"] == describe(DATASET)["images_sha256"]
    part = ImageDataset(DATASET.images[::2], DATASET.labels[::2], 3, "noise")
    expected = hashlib.sha256(np.ascontiguousarray(DATASET.images[::2])).hexdigest()
    assert describe(part)["images_sha256"] == expected


def test_text_has_a_line_for_each_class_and_each_fact():
    facts = describe(DATASET)
    parts = partition_iid(DATASET.labels, 10, seed=0)
    text = format_description(facts, describe_partition(DATASET.labels, parts))
    lines = text.splitlines()
    assert lines[0] == "data set  noise 1.2.3"
    assert "examples  2,500" in lines
    assert "image     3 x 2 x 3, 8 bits" in lines
    for name, count in zip(NAMES, facts["label_counts"], strict=True):
        assert any(line.split()[:2] == [name, f"{count:,}"] for line in lines)
    bars = [line.count("#") for line in lines if "#" in line]
    assert max(bars) == 40
    assert ["num_clients", "10"] in [line.split() for line in lines]
    assert all(line == line.rstrip() for line in lines)


def test_text_without_names_version_and_clients():
    digits = load_images("digits", "test")
    text = format_description(describe(ImageDataset(digits.images, digits.labels, 10, "plain")))
    assert text.startswith("data set  plain\n")
    assert "num_clients" not in text
    assert sum(line.startswith("  ") and "#" in line for line in text.splitlines()) == 10


@pytest.fixture
def drawn(monkeypatch):
    """Returns the axes of the figures that are saved."""
    axes, savefig = [], Figure.savefig

    def keep(figure, *arguments, **options):
        axes.append(figure.axes[0])
        return savefig(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return axes


def count_labels(parts, num_classes):
    return np.array([np.bincount(DATASET.labels[part], minlength=num_classes) for part in parts])


def test_few_clients_are_bars_of_their_labels_whatever_the_names(tmp_path, drawn):
    parts = partition_dirichlet(DATASET.labels, 8, alpha=0.3, seed=0)
    names = ("日本 café", "$\\frac$", "_automobile")
    draw_partition(DATASET.labels, parts, names, tmp_path / "new" / "clients.png")
    (legend,) = drawn[0].figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == [" _automobile", "\\$\\frac\\$", "\\u65e5\\u672c café"]
    heights = [[bar.get_height() for bar in bars] for bars in drawn[0].containers]
    np.testing.assert_array_equal(np.array(heights).T, count_labels(parts, 3))
    bottoms = [[bar.get_y() for bar in bars] for bars in drawn[0].containers]
    stacked = np.cumsum(count_labels(parts, 3), axis=1) - count_labels(parts, 3)
    np.testing.assert_array_equal(np.array(bottoms).T, stacked)
    with Image.open(tmp_path / "new" / "clients.png") as picture:
        assert picture.width > 600


def test_many_clients_are_ordered_by_their_largest_class(tmp_path, drawn):
    parts = partition_dirichlet(DATASET.labels, 200, alpha=0.3, seed=0)
    draw_partition(DATASET.labels, parts, NAMES, tmp_path / "clients.png")
    counts = count_labels(parts, 3)
    data = [patch.get_data() for patch in drawn[0].patches]
    shown = np.array([d.values - d.baseline for d in data]).T
    assert sorted(map(tuple, shown)) == sorted(map(tuple, counts))
    largest = shown.argmax(axis=1)
    assert (np.diff(largest) >= 0).all()
    for label in (0, 1):
        sizes = shown[largest == label].sum(axis=1)
        assert (np.diff(sizes) <= 0).all()


def test_many_classes_have_a_color_bar_and_no_names_are_needed(tmp_path, drawn):
    labels = np.arange(100, dtype=np.int32).repeat(3)
    draw_partition(labels, partition_iid(labels, 5, seed=0), (), tmp_path / "clients.png")
    assert len(drawn[0].containers) == 100
    assert len(drawn[0].figure.axes) == 2
    assert not drawn[0].figure.legends


def test_examples_are_spread_over_the_data_set(tmp_path):
    images = np.arange(9, dtype=np.uint8).repeat(4).reshape(9, 2, 2, 1)
    dataset = ImageDataset(images, np.zeros(9, np.int32), 1, "steps")
    draw_examples(dataset, tmp_path / "grid.png", num_images=4)
    with Image.open(tmp_path / "grid.png") as picture:
        pixels = np.asarray(picture)
    assert [int(value) for value in np.unique(pixels)] == [0, 2, 5, 8, 128]
