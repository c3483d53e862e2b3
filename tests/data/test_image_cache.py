"""Decoded images that are kept: believed only while they are whole and of the same files."""

import json
import os

import numpy as np
import pytest

from fedjax_diffusion.data import image_cache, load_images
from fedjax_diffusion.data.image_cache import VARIABLE, data_cache_folder, open_entry
from tests.data.prepared import blot, check, rewrite, write_celeb_a, write_cifar10


def find_entry(cache):
    (entry,) = (path for path in cache.iterdir() if not path.name.startswith("."))
    return entry


def test_a_split_is_decoded_once_and_its_slices_are_taken_from_it(data_dir, cache, decoded):
    _, images, labels = write_cifar10(data_dir)
    for split, chosen in (("train[2:5]", slice(2, 5)), ("train", slice(7)), ("train[:1]", [0])):
        check(load_images("cifar10", split, data_dir=data_dir), images, labels, chosen)
    assert decoded == [("train", 0, 7)]


def test_a_name_with_a_version_is_the_same_split(data_dir, cache, decoded):
    _, images, labels = write_cifar10(data_dir)
    for name in ("cifar10", "cifar10:3.0.2", "cifar10:3.*.*"):
        check(load_images(name, "train", data_dir=data_dir), images, labels)
    assert decoded == [("train", 0, 7)]
    assert find_entry(cache).name.startswith("cifar10-3.0.2-train-")


def test_all_labels_of_a_split_come_out_of_one_entry(data_dir, cache, decoded):
    images = np.random.default_rng(0).integers(0, 256, (4, 218, 178, 3), np.uint8)
    write_celeb_a(data_dir, images)
    names = ("celeb_a", "celeb_a#Smiling", "celeb_a#attributes/Young")
    plain, smiling, young = (load_images(name, "train[1:]", data_dir=data_dir) for name in names)
    assert [dataset.labels.tolist() for dataset in (plain, smiling, young)] == [
        [0, 0, 0],
        [0, 1, 0],
        [1, 1, 1],
    ]
    assert young.class_names == ("not Young", "Young")
    np.testing.assert_array_equal(smiling.images, plain.images)
    assert decoded == [("train", 0, 4)]
    assert find_entry(cache).is_dir()


def test_images_are_mapped_and_read_only(data_dir, cache):
    write_cifar10(data_dir)
    dataset = load_images("cifar10", "train[1:3]", data_dir=data_dir)
    base = dataset.images
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        dataset.images[0] = 0


def test_off_keeps_nothing_and_decodes_no_more_than_is_asked_for(
    data_dir, cache, decoded, monkeypatch
):
    monkeypatch.setenv(VARIABLE, "off")
    _, images, labels = write_cifar10(data_dir, num_shards=3)
    check(load_images("cifar10", "train[2:6]", data_dir=data_dir), images, labels, slice(2, 6))
    assert decoded == [("train", 2, 6)]
    assert not cache.exists()


def test_the_users_cache_folder_is_the_default(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_cache_folder() == tmp_path / "fedjax-diffusion" / "data"  # whatever the processor
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert data_cache_folder() is None


@pytest.mark.parametrize("change", ["touched", "rewritten"])
def test_changed_files_are_decoded_again(data_dir, cache, decoded, change):
    folder, images, labels = write_cifar10(data_dir)
    load_images("cifar10", "train", data_dir=data_dir)
    (shard,) = folder.glob("*-train.*")
    if change == "rewritten":
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        _, images, labels = write_cifar10(data_dir, 5)
    else:
        os.utime(shard, ns=(0, 0))
    check(load_images("cifar10", "train", data_dir=data_dir), images, labels)
    assert len(decoded) == 2
    assert len(list(cache.iterdir())) == 2  # the entry and its lock: the old one is gone


def damage_bit(entry):
    path = entry / "images.npy"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def truncate(name):
    def damage(entry):
        path = entry / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    damage.__name__ = f"truncate_{name}"
    return damage


def remove(name):
    def damage(entry):
        (entry / name).unlink()

    damage.__name__ = f"remove_{name}"
    return damage


def rewrite_about(change):
    def damage(entry):
        about = json.loads((entry / "about.json").read_text())
        change(about)
        (entry / "about.json").write_text(json.dumps(about))

    return damage


def swap_labels(entry):
    np.save(entry / "labels.npy", np.load(entry / "labels.npy")[::-1])


DAMAGES = [
    damage_bit,
    swap_labels,
    *(truncate(name) for name in ("images.npy", "labels.npy", "about.json")),
    *(remove(name) for name in ("images.npy", "labels.npy", "about.json")),
    rewrite_about(lambda about: about.pop("images")),
    rewrite_about(lambda about: about.pop("fingerprint")),
    rewrite_about(lambda about: about["images"].update(shape=[7, 32, 32, 1])),
    rewrite_about(lambda about: about["labels"].update(sha256="0" * 64)),
    lambda entry: (entry / "about.json").write_text("[]"),
    lambda entry: (entry / "images.npy").write_bytes(b"no array"),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_named_in_one_line_and_made_again(
    data_dir, cache, decoded, caplog, damage
):
    _, images, labels = write_cifar10(data_dir)
    load_images("cifar10", "train", data_dir=data_dir)
    damage(find_entry(cache))
    check(load_images("cifar10", "train", data_dir=data_dir), images, labels)
    assert len(decoded) == 2
    (record,) = caplog.records
    assert f"cache {str(find_entry(cache))!r} is damaged: " in record.getMessage()
    assert "\n" not in record.getMessage()
    check(load_images("cifar10", "train", data_dir=data_dir), images, labels)
    assert len(decoded) == 2  # sound again


def test_large_entries_are_compared_when_asked(data_dir, cache, decoded, monkeypatch):
    _, images, labels = write_cifar10(data_dir)
    load_images("cifar10", "train", data_dir=data_dir)
    monkeypatch.setattr(image_cache, "CHECKED_BYTES", 100)
    damage_bit(find_entry(cache))
    assert (load_images("cifar10", "train", data_dir=data_dir).images != images).sum() == 1
    check(load_images("cifar10", "train", data_dir=data_dir, verify=True), images, labels)
    assert len(decoded) == 2


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_damage_of_the_source_is_found_when_asked_though_all_is_kept(data_dir, cache, file_format):
    folder, images, labels = write_cifar10(data_dir, file_format=file_format)
    load_images("cifar10", "train", data_dir=data_dir)
    (shard,) = folder.glob("*-train.*")
    blot(shard)
    check(load_images("cifar10", "train", data_dir=data_dir), images, labels)
    with pytest.raises(ValueError, match=rf"its file {shard.name} is damaged"):
        load_images("cifar10", "train", data_dir=data_dir, verify=True)


def test_another_source_in_the_same_place_is_found_when_asked(data_dir, tmp_path, cache, decoded):
    folder, _, _ = write_cifar10(data_dir)
    load_images("cifar10", "train", data_dir=data_dir, verify=True)
    load_images("cifar10", "train", data_dir=data_dir, verify=True)
    assert len(decoded) == 1
    other, images, _ = write_cifar10(tmp_path / "other", seed=1)
    (shard,), (other_shard,) = (path.glob("*-train.*") for path in (folder, other))
    rewrite(shard, other_shard.read_bytes())
    changed = load_images("cifar10", "train", data_dir=data_dir, verify=True)
    np.testing.assert_array_equal(changed.images, images)
    assert len(decoded) == 2


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(
    data_dir, tmp_path, monkeypatch, caplog
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "cache"))
    _, images, labels = write_cifar10(data_dir)
    check(load_images("cifar10", "train", data_dir=data_dir), images, labels)
    (record,) = caplog.records
    assert "cannot be kept" in record.getMessage()


def test_a_read_only_folder_serves_what_it_holds(data_dir, cache, decoded, monkeypatch):
    _, images, labels = write_cifar10(data_dir)
    load_images("cifar10", "train", data_dir=data_dir)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    check(load_images("cifar10", "train[:3]", data_dir=data_dir), images, labels, slice(3))
    assert len(decoded) == 1
    damage_bit(find_entry(cache))
    check(load_images("cifar10", "train[:3]", data_dir=data_dir), images, labels, slice(3))
    assert decoded[1:] == [("train", 0, 3)]


def test_a_full_disk_is_no_reason_to_fail(data_dir, cache, monkeypatch, caplog):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fail, raising=False)
    _, images, labels = write_cifar10(data_dir)
    check(load_images("cifar10", "train", data_dir=data_dir), images, labels)
    assert "No space left" in caplog.text
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_damaged_sources_leave_no_entry(data_dir, cache):
    folder, _, _ = write_cifar10(data_dir, file_format="tfrecord")
    (shard,) = folder.glob("*-train.*")
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is damaged: it ends within record 6 of 7"):
        load_images("cifar10", "train", data_dir=data_dir)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_an_entry_of_other_files_is_none(tmp_path):
    assert open_entry(tmp_path, "nothing", {}) is None
