"""The data sets that the documentation names, with the features that TFDS gives them."""

import numpy as np
import pytest

from fedjax_diffusion.data import load_images
from fedjax_diffusion.data.tfds.examples import CROPS, decode_image
from tests.data.prepared import encode, write_folder

NUM_EXAMPLES = 5


def make_value(feature, rng, i):
    """Returns what TFDS is given for one feature of example ``i``; images as small files."""
    import tensorflow_datasets as tfds

    if isinstance(feature, tfds.features.FeaturesDict):
        return {name: make_value(inner, rng, i) for name, inner in feature.items()}
    if isinstance(feature, tfds.features.Image):
        height, width, channels = feature.shape
        rows, columns = (
            rng.integers(0, 256, (*sides, channels), np.uint8)
            for sides in ((height, 1), (1, width))
        )
        return encode(rows + columns, "PNG")
    if isinstance(feature, tfds.features.ClassLabel):
        return (feature.num_classes - 1 - i) % feature.num_classes
    if isinstance(feature, tfds.features.Text):
        return f"example {i}"
    return i % 2 if feature.np_dtype == np.bool_ else 10 + i


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
@pytest.mark.parametrize(
    ("name", "shape", "num_classes"),
    [
        ("cifar10", (32, 32, 3), 10),
        ("cifar100", (32, 32, 3), 100),
        ("cifar100#coarse_label", (32, 32, 3), 20),
        ("fashion_mnist", (28, 28, 1), 10),
        ("mnist", (28, 28, 1), 10),
        ("svhn_cropped", (32, 32, 3), 10),
        ("celeb_a", (64, 64, 3), 1),
        ("celeb_a#Smiling", (64, 64, 3), 2),
    ],
)
def test_a_folder_with_the_features_of_tfds_is_loaded_by_name(
    tmp_path, name, shape, num_classes, file_format
):
    import tensorflow_datasets as tfds

    tfds_name, _, label = name.partition("#")
    builder = tfds.builder(tfds_name, data_dir=tmp_path, try_gcs=False)
    features = builder.info.features
    rng = np.random.default_rng(0)
    examples = [make_value(features, rng, i) for i in range(NUM_EXAMPLES)]
    folder = f"{tfds_name}/{builder.version}"
    write_folder(tmp_path, dict(features.items()), {"train": examples}, folder, file_format)

    dataset = load_images(name, "train", data_dir=tmp_path)
    assert (dataset.images.shape, dataset.num_classes) == ((NUM_EXAMPLES, *shape), num_classes)
    assert (dataset.version, len(dataset.class_names)) == (str(builder.version), num_classes)
    crop = CROPS.get(tfds_name)
    for image, example in zip(dataset.images, examples, strict=True):
        np.testing.assert_array_equal(image, decode_image(example["image"], shape[-1], crop))
    if tfds_name == "celeb_a":
        expected = [example["attributes"][label] if label else 0 for example in examples]
    else:
        expected = [example[label or "label"] for example in examples]
    assert dataset.labels.tolist() == expected
