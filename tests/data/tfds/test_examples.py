"""Which features become image and label, crops, and what Pillow decodes."""

import numpy as np
import pytest
from PIL import Image

from fedjax_diffusion.data import load_images
from fedjax_diffusion.data.tfds.examples import Crop, decode_image
from tests.data.prepared import encode, write_celeb_a, write_folder


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_data_set_without_labels_is_one_class(tmp_path, rng):
    import tensorflow_datasets as tfds

    features = {"picture": tfds.features.Image(shape=(4, 4, 3)), "title": tfds.features.Text()}
    images = rng.integers(0, 256, (3, 4, 4, 3), np.uint8)
    examples = [{"picture": encode(image), "title": "x"} for image in images]
    write_folder(tmp_path, features, {"train": examples}, "untitled/2.0.0")
    dataset = load_images("untitled", "train", data_dir=tmp_path)
    assert (dataset.num_classes, dataset.labels.tolist()) == (1, [0, 0, 0])
    np.testing.assert_array_equal(dataset.images, images)


def test_of_several_labels_the_one_named_label_or_the_one_asked_for(tmp_path, rng):
    import tensorflow_datasets as tfds

    features = {
        "image": tfds.features.Image(shape=(4, 4, 3)),
        "label": tfds.features.ClassLabel(num_classes=100),
        "coarse_label": tfds.features.ClassLabel(names=["fish", "flowers"]),
    }
    image = encode(rng.integers(0, 256, (4, 4, 3), np.uint8))
    examples = [{"image": image, "label": 70 + i, "coarse_label": i % 2} for i in range(3)]
    write_folder(tmp_path, features, {"train": examples}, "cifar100/3.0.2")
    assert load_images("cifar100", "train", data_dir=tmp_path).labels.tolist() == [70, 71, 72]
    coarse = load_images("cifar100#coarse_label", "train", data_dir=tmp_path)
    assert (coarse.labels.tolist(), coarse.class_names) == ([0, 1, 0], ("fish", "flowers"))
    with pytest.raises(ValueError, match=r"no label 'fine'.*use one of coarse_label, label"):
        load_images("cifar100#fine", "train", data_dir=tmp_path)
    del features["label"]
    features["other_label"] = tfds.features.ClassLabel(num_classes=2)
    examples = [{"image": image, "other_label": 0, "coarse_label": 1}]
    write_folder(tmp_path, features, {"train": examples}, "torn/1.0.0")
    with pytest.raises(ValueError, match=r"several labels.*torn#"):
        load_images("torn", "train", data_dir=tmp_path)


def test_the_whole_name_of_a_label_goes_before_the_last_part_of_another(tmp_path, rng):
    import tensorflow_datasets as tfds

    def make_label():
        return tfds.features.ClassLabel(num_classes=9)

    features = {
        "image": tfds.features.Image(shape=(4, 4, 3)),
        "label": make_label(),
        "meta": {"label": make_label(), "shade": make_label()},
        "other": {"shade": make_label()},
    }
    image = encode(rng.integers(0, 256, (4, 4, 3), np.uint8))
    nested = {"meta": {"label": 2, "shade": 3}, "other": {"shade": 4}}
    write_folder(tmp_path, features, {"train": [{"image": image, "label": 1, **nested}]})
    for name, label in (
        ("shapes", 1),
        ("shapes#label", 1),
        ("shapes#meta/label", 2),
        ("shapes#meta/shade", 3),
        ("shapes#other/shade", 4),
    ):
        assert load_images(name, "train", data_dir=tmp_path).labels.tolist() == [label]
    with pytest.raises(
        ValueError, match=r"several labels 'shade': use one of meta/shade, other/shade$"
    ):
        load_images("shapes#shade", "train", data_dir=tmp_path)
    known = "label, meta/label, meta/shade, other/shade"
    with pytest.raises(ValueError, match=rf"no label 'size': use one of {known}$"):
        load_images("shapes#size", "train", data_dir=tmp_path)


def test_a_label_that_is_not_asked_for_may_be_unknown(tmp_path, rng):
    import tensorflow_datasets as tfds

    features = {
        "image": tfds.features.Image(shape=(4, 4, 3)),
        "label": tfds.features.ClassLabel(num_classes=3),
        "coarse_label": tfds.features.ClassLabel(num_classes=2),
    }
    image = encode(rng.integers(0, 256, (4, 4, 3), np.uint8))
    examples = [{"image": image, "label": i, "coarse_label": (0, -1)[i]} for i in range(2)]
    write_folder(tmp_path, features, {"train": examples})
    assert load_images("shapes", "train", data_dir=tmp_path).labels.tolist() == [0, 1]
    assert load_images("shapes#coarse_label", "train[:1]", data_dir=tmp_path).labels.tolist() == [0]
    with pytest.raises(ValueError, match=r"label -1 of example 1 must lie in 0\.\.1"):
        load_images("shapes#coarse_label", "train", data_dir=tmp_path)


def test_celeb_a_is_its_middle_scaled_to_64(tmp_path):
    """Left and right half and a frame of other colors: what is cut out is known by its color."""
    images = np.zeros((3, 218, 178, 3), np.uint8)
    images[:] = 255  # the frame: white
    images[:, 39:179, 19:89] = (200, 0, 0)
    images[:, 39:179, 89:159] = (0, 0, 200)
    write_celeb_a(tmp_path, images)
    dataset = load_images("celeb_a", "train", data_dir=tmp_path)
    assert dataset.images.shape == (3, 64, 64, 3)
    assert (dataset.num_classes, dataset.labels.tolist()) == (1, [0, 0, 0])
    pixels = dataset.images[0].astype(int)
    # JPEG rings by a few bit widths at edges; the colors are 200 apart.
    assert np.abs(pixels[2:-2, 2:30] - (200, 0, 0)).max() < 30
    assert np.abs(pixels[2:-2, 34:-2] - (0, 0, 200)).max() < 30
    mirrored = pixels[:, ::-1, ::-1]
    assert np.abs(pixels - mirrored).mean() < 3  # cut and scaled about the middle
    smiling = load_images("celeb_a#Smiling", "train", data_dir=tmp_path)
    assert (smiling.labels.tolist(), smiling.num_classes) == ([1, 0, 1], 2)
    assert smiling.class_names == ("not Smiling", "Smiling")


def test_two_images_in_an_example_are_refused(tmp_path):
    import tensorflow_datasets as tfds

    feature = tfds.features.Image(shape=(4, 4, 1))
    image = encode(np.zeros((4, 4), np.uint8))
    examples = [{"before": image, "after": image}]
    write_folder(tmp_path, {"before": feature, "after": feature}, {"train": examples})
    with pytest.raises(ValueError, match=r"one image in an example, it has 2 in.*after.*before"):
        load_images("shapes", "train", data_dir=tmp_path)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_gives_its_pixels(channels, rng):
    pixels = rng.integers(0, 256, (5, 7, channels), np.uint8)
    np.testing.assert_array_equal(decode_image(encode(pixels), channels), pixels)


def test_grey_images_among_colored_ones_get_three_equal_channels(rng):
    pixels = rng.integers(0, 256, (5, 7, 1), np.uint8)
    decoded = decode_image(encode(pixels), 3)
    np.testing.assert_array_equal(decoded, np.repeat(pixels, 3, axis=2))


def test_scaling_down_averages_with_a_triangle():
    """8 to 2 by hand: a triangle of half-width 4 about the middle of each half, cut at the edge."""
    row = np.array([0, 255, 0, 255, 255, 0, 255, 255], float)
    centers = np.arange(8) + 0.5
    weights = np.maximum(0, 1 - np.abs(centers - np.array([[2.0], [6.0]])) / 4)
    expected = (weights / weights.sum(axis=1, keepdims=True)) @ row
    pixels = np.tile(row.astype(np.uint8), (8, 1))[..., None]
    decoded = decode_image(encode(pixels), 1, Crop(crop=8, size=2))
    assert np.abs(decoded[..., 0] - expected).max() <= 1  # rounded once per axis


@pytest.mark.parametrize(
    ("image", "crop", "message"),
    [
        (Image.new("I;16", (4, 4)), None, "8 bits per channel, its mode is I;16"),
        (Image.new("L", (9, 4)), Crop(crop=5, size=5), "at least 5 wide and high"),
    ],
)
def test_images_that_do_not_fit_are_refused(image, crop, message):
    import io

    file = io.BytesIO()
    image.save(file, format="PNG")
    with pytest.raises(ValueError, match=message):
        decode_image(file.getvalue(), 1, crop)
