"""Sources: real digits, a real TFDS folder, TFDS folders written here, and what is refused."""

import os
import pathlib
import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import sklearn.datasets

from fedjax_diffusion.data import ImageDataset, load_images
from fedjax_diffusion.data.image_cache import VARIABLE
from fedjax_diffusion.data.tfds.folder import open_folder
from tests.data.prepared import encode, write_cifar10, write_folder


def find_real_cifar10() -> pathlib.Path | None:
    """Returns the folder of prepared data sets: named by the environment, or near the checkout."""
    parents = pathlib.Path(__file__).resolve().parents
    candidates = [parent / "shared" / "tfds" for parent in parents]
    if "FEDJAX_DIFFUSION_TFDS" in os.environ:
        candidates.insert(0, pathlib.Path(os.environ["FEDJAX_DIFFUSION_TFDS"]))
    return next((folder for folder in candidates if (folder / "cifar10").is_dir()), None)


REAL_CIFAR10 = find_real_cifar10()
needs_cifar10 = pytest.mark.skipif(
    REAL_CIFAR10 is None, reason="no prepared cifar10: set FEDJAX_DIFFUSION_TFDS to its TFDS folder"
)


def write_tfds(folder, image_feature, images, *, label="label", file_format="array_record"):
    """Writes the data set ``shapes/1.0.0``, as TFDS would; labels 0, 1, 2, 0, ...; PNG images."""
    import tensorflow_datasets as tfds

    features = {"image": image_feature, label: tfds.features.ClassLabel(num_classes=3)}
    examples = [{"image": encode(image), label: i % 3} for i, image in enumerate(images)]
    write_folder(folder, features, {"train": examples}, file_format=file_format)
    return folder


def make_feature(shape, dtype=np.uint8):
    import tensorflow_datasets as tfds

    return tfds.features.Image(shape=shape, dtype=dtype)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_digits_are_the_real_ones():
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    everything = load_images("digits", "all")
    assert everything.images.shape == (1797, 8, 8, 1)
    assert everything.num_classes == 10
    np.testing.assert_array_equal(everything.labels, labels)
    # 0..16 onto 0..255, each value to its nearest byte.
    assert np.abs(everything.images.reshape(1797, 64) - images * 255 / 16).max() <= 0.5
    assert set(np.unique(everything.images[images.reshape(-1, 8, 8, 1) == 16])) == {255}


def test_digits_splits_are_every_sixth_and_the_rest():
    everything, train, test = (load_images("digits", split) for split in ("all", "train", "test"))
    assert (len(train.labels), len(test.labels)) == (1497, 300)
    np.testing.assert_array_equal(test.images, everything.images[::6])
    np.testing.assert_array_equal(train.labels, np.delete(everything.labels, np.s_[::6]))


def test_digits_unknown_split():
    with pytest.raises(ValueError, match=r"'digits' has no split 'valid'.*'all', 'test', 'train'"):
        load_images("digits", "valid")


def test_digits_beside_a_folder_are_refused():
    with pytest.raises(ValueError, match=r"'digits' is built in .*'photos'.*data.name=folder"):
        load_images("digits", "train", data_dir="photos")
    with pytest.raises(ValueError, match=r"data.size and data.fit are for data.name=folder or npz"):
        load_images("digits", "train", size=8)


def test_a_dataset_without_labels_says_to_give_zeros():
    with pytest.raises(ValueError, match="labels must be a NumPy array; zeros and num_classes=1"):
        ImageDataset(np.zeros((1, 2, 2, 1), np.uint8), None, 1, "mine")


@pytest.fixture
def uncached(monkeypatch):
    """Decodes the images that are asked for, not the whole split for the cache."""
    monkeypatch.setenv(VARIABLE, "off")


@needs_cifar10
@pytest.mark.usefixtures("uncached")
def test_cifar10_real_folder():
    train = load_images("cifar10", "train[:512]", data_dir=REAL_CIFAR10)
    assert train.images.shape == (512, 32, 32, 3)
    assert train.num_classes == 10
    assert len(np.unique(train.labels)) == 10  # shuffled on disk
    assert 100 < train.images.mean() < 140  # CIFAR-10's mean grey is 121
    versioned = load_images("cifar10:3.0.2", "train[:2]", data_dir=str(REAL_CIFAR10))
    np.testing.assert_array_equal(versioned.images, train.images[:2])


@needs_cifar10
def test_cifar10_unknown_split_names_the_splits():
    with pytest.raises(ValueError, match=r"split 'valid' of 'cifar10'.*train.*test") as error:
        load_images("cifar10", "valid", data_dir=REAL_CIFAR10)
    assert "\n" not in str(error.value)


def test_tfds_folder_is_read_exactly(tmp_path, rng):
    images = rng.integers(0, 256, (7, 4, 6, 3), np.uint8)
    write_tfds(tmp_path, make_feature((4, 6, 3)), images)
    dataset = load_images("shapes", "train", data_dir=tmp_path)
    np.testing.assert_array_equal(dataset.images, images)
    assert dataset.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert (dataset.num_classes, dataset.name) == (3, "shapes")
    part = load_images("shapes", "train[2:5]", data_dir=tmp_path)
    np.testing.assert_array_equal(part.images, images[2:5])


def test_tfds_default_folder_is_from_the_environment(tmp_path, monkeypatch, rng):
    write_tfds(tmp_path, make_feature((4, 4, 1)), rng.integers(0, 256, (2, 4, 4), np.uint8))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert load_images("shapes", "train").images.shape == (2, 4, 4, 1)


@pytest.mark.parametrize("name", ["cifar10", "no_such_data_set", "cifar10:9.9.9"])
def test_missing_data_set_says_where_and_what_to_do(tmp_path, name):
    with pytest.raises(ValueError, match=r"neither embedded \(digits\) nor prepared") as error:
        load_images(name, "train", data_dir=tmp_path)
    message = str(error.value)
    assert str(tmp_path) in message
    assert f"tfds build {name} --data_dir={tmp_path} --file_format=array_record" in message
    assert "own pictures: data.name=folder (or npz)" in message
    assert "\n" not in message
    assert not list(tmp_path.iterdir())  # nothing was downloaded or written


def test_both_formats_and_any_shards_give_the_same_arrays_in_the_same_order(tmp_path):
    for file_format in ("array_record", "tfrecord"):
        for num_shards in (1, 3):
            data_dir = tmp_path / f"{file_format}-{num_shards}"
            _, images, labels = write_cifar10(
                data_dir, 11, file_format=file_format, num_shards=num_shards
            )
            for split, chosen in (
                ("train", slice(None)),
                ("train[3:9]", slice(3, 9)),
                ("train[-2:]", slice(9, 11)),
                ("train[50%:]", slice(6, 11)),  # TFDS rounds 5.5 to 6
            ):
                dataset = load_images("cifar10", split, data_dir=data_dir)
                np.testing.assert_array_equal(dataset.images, images[chosen])
                np.testing.assert_array_equal(dataset.labels, labels[chosen])


def test_splits_are_joined_in_the_order_they_are_named(tmp_path, rng):
    import tensorflow_datasets as tfds

    images = rng.integers(0, 256, (9, 4, 4, 1), np.uint8)
    examples = [{"image": encode(image)} for image in images]
    features = {"image": tfds.features.Image(shape=(4, 4, 1))}
    write_folder(tmp_path, features, {"train": examples[:6], "test": examples[6:]})
    for split, chosen in (
        ("train+test", [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("test+train[:2]", [6, 7, 8, 0, 1]),
        ("train[4:]+train[:2]", [4, 5, 0, 1]),
    ):
        dataset = load_images("shapes", split, data_dir=tmp_path)
        np.testing.assert_array_equal(dataset.images, images[chosen])


@needs_cifar10
@pytest.mark.usefixtures("uncached")
def test_slices_of_the_real_folder_are_those_of_tfds():
    """TFDS's own reader of ArrayRecord folders is the oracle, image by image."""
    import tensorflow_datasets as tfds

    split = "train[4790:4810]+test[:10]"
    expected = tfds.data_source("cifar10", split=split, data_dir=REAL_CIFAR10, download=False)
    dataset = load_images("cifar10", split, data_dir=REAL_CIFAR10)
    assert len(dataset.labels) == len(expected) == 30
    for image, label, example in zip(dataset.images, dataset.labels, expected, strict=True):
        np.testing.assert_array_equal(image, example["image"])
        assert label == example["label"]
    assert dataset.class_names[:2] == ("airplane", "automobile")
    assert dataset.version == "3.0.2"


def test_array_record_package_is_named_when_it_is_missing(tmp_path, monkeypatch, rng):
    write_tfds(tmp_path, make_feature((4, 4, 1)), rng.integers(0, 256, (2, 4, 4), np.uint8))
    monkeypatch.setitem(sys.modules, "array_record.python.array_record_module", None)
    with pytest.raises(ValueError, match="pip install array_record"):
        load_images("shapes", "train", data_dir=tmp_path)


def test_images_of_several_sizes_are_refused(tmp_path):
    images = [np.zeros((4, 4), np.uint8), np.zeros((5, 4), np.uint8)]
    write_tfds(tmp_path, make_feature((None, None, 1)), images)
    with pytest.raises(ValueError, match=r"of one size.*image 0 is.*image 1 is \[5, 4, 1\]"):
        load_images("shapes", "train", data_dir=tmp_path)


def test_images_of_16_bits_are_refused(tmp_path):
    images = [np.full((4, 4), 40_000, np.uint16)]
    write_tfds(tmp_path, make_feature((4, 4, 1), np.uint16), images)
    with pytest.raises(ValueError, match=r"8-bit images, it has .*uint16"):
        load_images("shapes", "train", data_dir=tmp_path)


def test_the_only_class_label_is_the_label_whatever_its_name(tmp_path):
    images = [np.zeros((4, 4), np.uint8)] * 2
    write_tfds(tmp_path, make_feature((4, 4, 1)), images, label="species")
    dataset = load_images("shapes", "train", data_dir=tmp_path)
    assert (dataset.labels.tolist(), dataset.num_classes) == ([0, 1], 3)


IMAGES, LABELS = np.zeros((2, 4, 4, 1), np.uint8), np.array([0, 1], np.int32)


def test_class_names_are_as_many_as_classes():
    with pytest.raises(ValueError, match="class_names must be 2 names, got 1"):
        ImageDataset(IMAGES, LABELS, 2, "blank", ("all",))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.astype(np.float32), LABELS, r"images must be uint8.*float32"),
        (IMAGES[..., 0], LABELS, r"images must be uint8.*\[2, 4, 4\]"),
        (IMAGES, LABELS.astype(np.int64), "labels must be int32.*int64"),
        (IMAGES, LABELS[:1], r"labels must be int32 \[2\].*\[1\]"),
        (IMAGES[:0], LABELS[:0], "no examples"),
        (IMAGES, LABELS + 1, r"labels must lie in 0\.\.1, got 1\.\.2"),
    ],
)
def test_dataset_is_held_to_its_types(images, labels, message):
    with pytest.raises(ValueError, match=message):
        ImageDataset(images, labels, 2, "blank")


def test_loading_imports_no_tensorflow_and_prints_nothing(tmp_path, rng):
    write_tfds(tmp_path, make_feature((4, 4, 1)), rng.integers(0, 256, (2, 4, 4), np.uint8))
    program = f"""
import sys
from fedjax_diffusion.data import load_images
assert not {{"sklearn", "tensorflow_datasets"}} & set(sys.modules)  # slow: imported when needed
load_images("digits", "test")
load_images("shapes", "train", data_dir={str(tmp_path)!r})
assert "tensorflow" not in sys.modules
"""
    root = pathlib.Path(__file__).resolve().parents[2]
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.fixture(scope="module")
def in_three_files(tmp_path_factory):
    """Returns a prepared folder: 11 examples in files of 4, 4 and 3."""
    data_dir = tmp_path_factory.mktemp("three")
    write_cifar10(data_dir, 11, num_shards=3)
    return open_folder("cifar10", data_dir)


BOUNDS = st.tuples(*[st.none() | st.integers(-11, 11)] * 2).filter(any)  # no [:]


@hypothesis.settings(deadline=None)
@hypothesis.given(bounds=st.lists(BOUNDS, min_size=1, max_size=3))
def test_slices_are_those_of_a_python_list(in_three_files, bounds):
    expected = [range(11)[slice(*pair)] for pair in bounds]
    hypothesis.assume(all(expected))
    texts = [["" if bound is None else bound for bound in pair] for pair in bounds]
    split = "+".join(f"train[{start}:{stop}]" for start, stop in texts)
    pieces = in_three_files.find_pieces(split)
    chosen = [i for piece in pieces for i in range(piece.start, piece.stop)]
    assert chosen == [i for part in expected for i in part]
    assert {piece.split for piece in pieces} == {"train"}
