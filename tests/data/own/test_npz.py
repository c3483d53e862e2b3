"""NumPy files of pictures: labels, squares, the cache, and what is refused."""

import io
import zipfile

import numpy as np
import pytest

from fedjax_diffusion.data import load_images
from fedjax_diffusion.data.own import entry

IMAGES = np.random.default_rng(0).integers(0, 256, (13, 4, 6, 3), np.uint8)
LABELS = np.arange(13) % 3


def load(path, split="all", **options):
    return load_images("npz", split, data_dir=path, **options)


@pytest.fixture
def path(tmp_path, cache):
    np.savez_compressed(tmp_path / "mine.npz", images=IMAGES, labels=LABELS)
    return tmp_path / "mine.npz"


def test_images_and_labels_are_those_of_the_file(path):
    everything, train, test = (load(path, split) for split in ("all", "train", "test"))
    np.testing.assert_array_equal(everything.images, IMAGES)
    np.testing.assert_array_equal(everything.labels, LABELS)
    np.testing.assert_array_equal(test.images, IMAGES[::6])
    np.testing.assert_array_equal(train.labels, np.delete(LABELS, [0, 6, 12]))
    assert everything.num_classes == test.num_classes == 3


def test_grey_images_without_labels(tmp_path, cache):
    np.savez(tmp_path / "mine.npz", images=IMAGES[..., 0])
    dataset = load(tmp_path / "mine.npz")
    np.testing.assert_array_equal(dataset.images, IMAGES[..., :1])
    assert (dataset.num_classes, dataset.labels.max()) == (1, 0)


def test_squares_are_cut_and_a_changed_file_is_read_again(path):
    np.testing.assert_array_equal(load(path, size=4).images, IMAGES[:, :, 1:5])
    np.savez(path, images=255 - IMAGES)
    np.testing.assert_array_equal(load(path, size=4).images, 255 - IMAGES[:, :, 1:5])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": IMAGES}, "it must hold 'images', it holds pictures"),
        ({"images": IMAGES / 255}, r"images must be uint8 \[N, H, W, C\].* got float64"),
        ({"images": IMAGES[0, 0]}, r"images must be uint8 .* got uint8 \[6, 3\]"),
        ({"images": IMAGES[:0]}, r"images must be uint8 .* got uint8 \[0, 4, 6, 3\]"),
        ({"images": IMAGES, "labels": LABELS[:3]}, r"labels must be integers \[13\]"),
        ({"images": IMAGES, "labels": LABELS / 2}, r"labels must be integers \[13\], got float64"),
        ({"images": IMAGES, "labels": LABELS - 1}, r"labels must lie in 0..65535, got -1..1"),
        ({"images": np.array([{}])}, "images must be uint8 .* got object"),
        ({"images": IMAGES[:1]}, "split 'train' of .* has no images"),
    ],
)
def test_unsuitable_arrays_are_refused_in_one_line(tmp_path, cache, arrays, message):
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(ValueError, match=message) as error:
        load(tmp_path / "mine.npz", "train")
    assert "\n" not in str(error.value)


def test_damaged_files_are_refused_in_one_line(path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(entry, "MAX_BYTES", IMAGES.nbytes - 1)
        with pytest.raises(ValueError, match="13 pictures of 6x4"):
            load(path)
    whole = path.read_bytes()
    claims_more = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        claims_more, {"descr": "|u1", "fortran_order": False, "shape": (9, 4, 6, 3)}
    )
    for content in (b"", b"no zip file", whole[: len(whole) // 2], whole[:200] + whole[220:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"mine.npz' cannot be used: .*numpy.savez"):
            load(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("images.npy", claims_more.getvalue())
    with pytest.raises(ValueError, match=r"as many bytes as its shape \[9, 4, 6, 3\] says"):
        load(path)
    path.unlink()
    with pytest.raises(ValueError, match=r"must be an .npz file, '.*mine.npz' is none"):
        load(path)
