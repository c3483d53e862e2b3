"""Folders of pictures: classes, splits, kinds of pictures, the cache, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from fedjax_diffusion.data import load_images
from fedjax_diffusion.data.own import entry, folder


def save(path, value=0, size=(4, 4), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path, **options)


def load(place, split="all", **options):
    return load_images("folder", split, data_dir=place, **options)


@pytest.fixture
def photos(tmp_path, cache):
    """Returns two classes of seven grey pictures, each with its own value."""
    for i in range(14):
        save(tmp_path / "photos" / ("cats" if i < 7 else "dogs") / f"{i:02}.png", i, mode="L")
    return tmp_path / "photos"


def test_sub_folders_are_classes_and_every_sixth_picture_is_for_tests(photos):
    everything, train, test = (load(photos, split) for split in ("all", "train", "test"))
    assert everything.class_names == train.class_names == test.class_names == ("cats", "dogs")
    assert everything.images.shape == (14, 4, 4, 1)
    np.testing.assert_array_equal(everything.images[:, 0, 0, 0], np.arange(14))
    np.testing.assert_array_equal(everything.labels, [0] * 7 + [1] * 7)
    np.testing.assert_array_equal(test.images[:, 0, 0, 0], [0, 6, 12])
    np.testing.assert_array_equal(test.labels, [0, 0, 1])
    np.testing.assert_array_equal(train.images, np.delete(everything.images, [0, 6, 12], axis=0))
    with pytest.raises(ValueError, match=r"'folder' has no split 'val'"):
        load(photos, "val")


def test_without_sub_folders_there_is_one_class(tmp_path, cache):
    for i in range(2):
        save(tmp_path / "photos" / f"{i}.png", i, mode="L")
    dataset = load(tmp_path / "photos")
    assert (dataset.num_classes, dataset.class_names, dataset.labels.tolist()) == (
        1,
        ("all",),
        [0, 0],
    )


@pytest.mark.parametrize("has_classes", [True, False])
def test_folders_named_train_and_test_are_the_splits(tmp_path, cache, has_classes):
    inner = "b" if has_classes else ""
    for value, split in enumerate(("test", "train", "train")):
        save(tmp_path / split / inner / f"{value}.png", value, mode="L")
    if has_classes:
        save(tmp_path / "train" / "a" / "9.png", 9, mode="L")
    train, test, everything = (load(tmp_path, split) for split in ("train", "test", "all"))
    names = ("a", "b") if has_classes else ("all",)
    assert train.class_names == test.class_names == everything.class_names == names
    assert sorted(train.images[:, 0, 0, 0]) == ([1, 2, 9] if has_classes else [1, 2])
    assert test.images[:, 0, 0, 0].tolist() == [0]
    assert test.labels.tolist() == [len(names) - 1]
    assert len(everything.labels) == (4 if has_classes else 3)
    with pytest.raises(ValueError, match=r"no split 'val': use one of all, test, train"):
        load(tmp_path, "val")


def test_a_class_may_be_called_train(tmp_path, cache):
    for name in ("bus", "train"):
        save(tmp_path / name / "0.png", mode="L")
    assert load(tmp_path).class_names == ("bus", "train")


def test_kinds_of_pictures_become_colored_squares(tmp_path, cache, caplog):
    save(tmp_path / "0.png", 100, (6, 4), mode="L")
    save(tmp_path / "1.JPG", (0, 100, 200), (12, 20), quality=95)
    save(tmp_path / "2.webp", (0, 100, 200), (4, 3), lossless=True)
    save(tmp_path / "3.png", (9, 9, 9, 0), (8, 8), mode="RGBA")
    save(tmp_path / ".hidden.png")
    (tmp_path / "notes.txt").write_text("no picture")
    images = load(tmp_path, size=4).images
    assert images.shape == (4, 4, 4, 3)
    expected = [(100, 100, 100), (0, 100, 200), (0, 100, 200), (255, 255, 255)]
    assert np.abs(images.astype(int) - np.array(expected)[:, None, None]).max() <= 3
    assert "left out 1 entries that are no .png, .jpg, .jpeg, .webp files, such as 'notes.txt'" in (
        caplog.text
    )


def test_a_picture_of_a_camera_is_turned_upright(tmp_path, cache):
    wide = np.zeros((8, 16), np.uint8)
    wide[:, 8:] = 255
    note = Image.Exif()
    note[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(wide).save(tmp_path / "0.jpg", exif=note, quality=95)
    with_depth = {"format": "MPO", "save_all": True, "append_images": [Image.fromarray(wide)]}
    Image.fromarray(wide).save(tmp_path / "1.jpg", exif=note, quality=95, **with_depth)
    for image in load(tmp_path, "all").images:
        assert image.shape == (16, 8, 1)
        assert image[:4].max() < 50 < 200 < image[-4:].min()


def test_pictures_are_decoded_once(photos, monkeypatch):
    first = load(photos, size=2)
    assert isinstance(first.images.base, np.memmap) or not first.images.flags.writeable
    monkeypatch.setattr(folder, "_decode", None)
    np.testing.assert_array_equal(load(photos, size=2, verify=True).images, first.images)


@pytest.mark.parametrize("change", ["content", "size", "fit", "class"])
def test_what_changes_images_or_labels_decodes_again(photos, change):
    save(photos / "cats" / "00.png", 77, (9, 3), mode="L")
    before = load(photos, size=2)
    options = {"size": 2}
    if change == "content":
        save(photos / "cats" / "00.png", 78, (9, 3), mode="L")
    elif change == "class":
        (photos / "cats" / "00.png").rename(photos / "dogs" / "00.png")
    else:
        options |= {"size": 3} if change == "size" else {"fit": "pad"}
    after = load(photos, **options)
    assert after.checksums != before.checksums


def test_without_a_cache_the_same_is_read(photos, monkeypatch):
    kept = load(photos, "train").checksums
    monkeypatch.setenv("FEDJAX_DIFFUSION_DATA_CACHE", "off")
    assert load(photos, "train").checksums == kept


def test_faults_are_named_in_one_line(photos, tmp_path, monkeypatch):
    def refuse(message, place=photos, **options):
        with pytest.raises(ValueError, match=message) as error:
            load(place, **options)
        assert "\n" not in str(error.value)

    refuse("data.data_dir must name the pictures of data.name=folder", None)
    refuse("data.data_dir must be a folder of pictures, '.*nowhere' is none", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    refuse(r"holds no pictures, files that end with .png, .jpg", tmp_path / "empty")
    save(tmp_path / "one" / "0.png")
    refuse("split 'train' of .* has no pictures", tmp_path / "one", split="train")
    with monkeypatch.context() as patch:
        patch.setattr(entry, "MAX_BYTES", 14 * 16 - 1)
        refuse("14 pictures of 4x4 in .* set a smaller data.size")
    save(photos / "cats" / "03.png", 0, (5, 4), mode="L")
    refuse("must have one size: '00.png' is 4x4, '03.png' is 5x4; set data.size")
    (photos / "cats" / "03.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    refuse(r"picture '.*03.png' cannot be used: .*; replace it or take it away", size=4)
    save(photos / "loose.png")
    refuse("must hold either pictures or sub-folders, one a class: move 'loose.png' into one")
