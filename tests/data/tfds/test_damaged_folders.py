"""Prepared folders that are missing, incomplete or damaged: one line that says what to do."""

import json
import pathlib
import shlex

import numpy as np
import pytest

from fedjax_diffusion.data import load_images
from fedjax_diffusion.data.image_cache import VARIABLE
from tests.data.prepared import encode, write_cifar10, write_folder

FORMATS = ("array_record", "tfrecord")


def refuse(data_dir, name="cifar10", split="train"):
    """Returns the message with which a data set is refused."""
    with pytest.raises(ValueError, match=str(data_dir)) as error:
        load_images(name, split, data_dir=data_dir)
    message = str(error.value)
    assert "\n" not in message
    return message


def refuse_damage(data_dir, split="train"):
    """Returns the message, which must name the folder, the split and the command."""
    message = refuse(data_dir, split=split)
    assert f"split {split!r} of 'cifar10' in '{data_dir / 'cifar10' / '3.0.2'}'" in message
    command = f"`tfds build cifar10 --data_dir={data_dir} --file_format=array_record --overwrite`"
    assert command in message
    return message


def find_shard(folder, number=0):
    return sorted(folder.glob("*-train.*"))[number]


def test_missing_data_dir(tmp_path):
    message = refuse(tmp_path / "nowhere")
    assert "data_dir" in message
    assert "is missing" in message
    assert f"tfds build cifar10 --data_dir={tmp_path / 'nowhere'}" in message


def test_wrong_version_lists_those_that_are_there(tmp_path):
    write_cifar10(tmp_path)
    message = refuse(tmp_path, "cifar10:9.9.9")
    assert "has the versions 3.0.2, not 9.9.9" in message
    assert f"tfds build cifar10:9.9.9 --data_dir={tmp_path}" in message


def write_blank(data_dir, name, shade):
    import tensorflow_datasets as tfds

    image = encode(np.full((2, 2, 1), shade, np.uint8))
    features = {"image": tfds.features.Image(shape=(2, 2, 1))}
    write_folder(data_dir, features, {"train": [{"image": image}]}, name)


def test_the_newest_version_is_taken_or_the_one_asked_for(tmp_path):
    for i, version in enumerate(("9.0.0", "10.0.0", "9.10.0")):
        write_blank(tmp_path, f"blank/{version}", i)
    for name, version, shade in (
        ("blank", "10.0.0", 1),
        ("blank:9.0.0", "9.0.0", 0),
        ("blank:9.*.*", "9.10.0", 2),
    ):
        dataset = load_images(name, "train", data_dir=tmp_path)
        assert (dataset.version, dataset.images.max()) == (version, shade)


def test_configs_are_listed(tmp_path):
    (tmp_path / "emnist" / "digits" / "3.1.0").mkdir(parents=True)
    (tmp_path / "emnist" / "letters" / "3.1.0").mkdir(parents=True)
    assert "name one: emnist/digits, emnist/letters" in refuse(tmp_path, "emnist")


@pytest.mark.parametrize("name", ["../cifar10", "", "cifar10:", "a/b/c"])
def test_names_that_are_none(tmp_path, name):
    with pytest.raises(ValueError, match=r"must be named NAME\[/CONFIG\]\[:VERSION\]"):
        load_images(name, "train", data_dir=tmp_path)


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("damage", ["missing", "half", "other"])
def test_description_of_the_folder(tmp_path, file, damage):
    folder, _, _ = write_cifar10(tmp_path)
    path = folder / file
    if damage == "missing":
        path.unlink()
    elif damage == "half":
        path.write_text(path.read_text()[:50])
    else:
        path.write_text("[]")
    message = refuse(tmp_path)
    assert (f"has no {file}" if damage == "missing" else "cannot be read (") in message
    assert f"tfds build cifar10 --data_dir={tmp_path}" in message


@pytest.mark.parametrize("split", ["valid", "train[", "train[:99]", "", "train[3:3]", "train[5:2]"])
def test_splits_that_are_none(tmp_path, split):
    write_cifar10(tmp_path)
    message = refuse(tmp_path, split=split)
    assert f"split {split!r} of 'cifar10'" in message


@pytest.mark.parametrize("file_format", FORMATS)
def test_missing_shard(tmp_path, file_format):
    folder, _, _ = write_cifar10(tmp_path, num_shards=2, file_format=file_format)
    shard = find_shard(folder, 1)
    shard.unlink()
    assert f"its file {shard.name} is missing" in refuse_damage(tmp_path)


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.999])
def test_truncated_shard(tmp_path, file_format, keep):
    folder, _, _ = write_cifar10(tmp_path, num_shards=2, file_format=file_format)
    shard = find_shard(folder, 1)
    shard.write_bytes(shard.read_bytes()[: int(keep * shard.stat().st_size)])
    assert f"its file {shard.name} is damaged: " in refuse_damage(tmp_path)


@pytest.mark.parametrize("file_format", FORMATS)
def test_flipped_bit_in_an_image(tmp_path, file_format):
    folder, images, _ = write_cifar10(tmp_path, file_format=file_format)
    shard = find_shard(folder)
    data = bytearray(shard.read_bytes())
    position = data.index(encode(images[3])) + 1000
    data[position] ^= 4
    shard.write_bytes(data)
    assert f"its file {shard.name} is damaged: " in refuse_damage(tmp_path)


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("claimed", [6, 8])
def test_fewer_or_more_records_than_the_folder_says(tmp_path, file_format, claimed):
    folder, _, _ = write_cifar10(tmp_path, 7, file_format=file_format)
    info = json.loads((folder / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = [str(claimed)]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    assert "is damaged: it " in refuse_damage(tmp_path)


def write_examples(data_dir, examples):
    """Writes a data set whose records have sound checksums, whatever they hold."""
    import tensorflow_datasets as tfds

    features = {
        "image": tfds.features.Image(shape=(4, 4, 1)),
        "label": tfds.features.ClassLabel(num_classes=10),
    }
    return write_folder(data_dir, features, {"train": examples}, "cifar10/3.0.2")


GOOD = encode(np.arange(16, dtype=np.uint8).reshape(4, 4))


@pytest.mark.parametrize("bad", [b"", b"no image", GOOD[:40], GOOD[:-30]])
def test_image_that_cannot_be_decoded(tmp_path, bad):
    write_examples(tmp_path, [{"image": GOOD, "label": 0}, {"image": bad, "label": 0}])
    assert "the image of example 1 cannot be decoded (" in refuse_damage(tmp_path)


def test_label_that_is_none_of_the_classes(tmp_path):
    write_examples(tmp_path, [{"image": GOOD, "label": -1}])  # TFDS's mark for "not known"
    assert "label -1 of example 0 must lie in 0..9" in refuse_damage(tmp_path)


def test_examples_of_another_data_set(tmp_path):
    import tensorflow_datasets as tfds

    folder = write_examples(tmp_path, [{"image": GOOD, "label": 0}])
    features = {"image": tfds.features.Image(shape=(4, 4, 1))}
    other = write_folder(tmp_path, features, {"train": [{"image": GOOD}]}, "other/1.0.0")
    find_shard(folder).write_bytes(find_shard(other).read_bytes())
    reason = "example 0 does not hold the image and the labels of features.json"
    assert reason in refuse_damage(tmp_path)


def deny(monkeypatch, name, error):
    """Lets the system refuse to open a file: root may read everything."""
    open_path = pathlib.Path.open

    def open_or_fail(path, *arguments, **options):
        if path.name == name:
            raise error
        return open_path(path, *arguments, **options)

    monkeypatch.setattr(pathlib.Path, "open", open_or_fail)


def refuse_to_read(data_dir):
    """Returns the message, which must not advise to write over what may be whole."""
    message = refuse(data_dir)
    assert f"split 'train' of 'cifar10' in '{data_dir}' cannot be read (" in message
    assert "give the data_dir of a copy" in message
    assert "tfds build" not in message
    return message


@pytest.mark.parametrize("cache", ["", "off"])  # with one, files are hashed before
@pytest.mark.parametrize("file_format", FORMATS)
def test_shard_that_may_not_be_read(tmp_path, monkeypatch, file_format, cache):
    monkeypatch.setenv(VARIABLE, cache or str(tmp_path / "cache"))
    folder, _, _ = write_cifar10(tmp_path, file_format=file_format)
    shard = find_shard(folder)
    deny(monkeypatch, shard.name, PermissionError(13, "Permission denied", str(shard)))
    if file_format == "array_record":
        # What its reader makes of a file that the system keeps to itself.
        reader = "array_record.python.array_record_module.ArrayRecordReader"
        monkeypatch.setattr(reader, raise_error(RuntimeError("open() failed: Permission denied")))
    assert "Permission denied" in refuse_to_read(tmp_path)


def raise_error(error):
    """Returns a function that does so."""

    def fail(*_, **__):
        raise error

    return fail


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
def test_description_that_may_not_be_read(tmp_path, monkeypatch, file):
    write_cifar10(tmp_path)
    deny(monkeypatch, file, OSError(5, "Input/output error"))
    assert "[Errno 5] Input/output error" in refuse_to_read(tmp_path)


def test_folder_that_may_not_be_listed(tmp_path, monkeypatch):
    write_cifar10(tmp_path)
    error = PermissionError(13, "Permission denied", str(tmp_path / "cifar10"))
    monkeypatch.setattr("pathlib.Path.iterdir", raise_error(error))
    assert "[Errno 13] Permission denied" in refuse_to_read(tmp_path)


def test_the_advised_command_is_what_a_shell_takes(tmp_path):
    data_dir = tmp_path / "my data; sets"
    folder, _, _ = write_cifar10(data_dir)
    find_shard(folder).unlink()
    for name in ("cifar10", "mnist:3.*.*"):
        command = refuse(data_dir, name).split("`")[1]
        arguments = shlex.split(command)
        assert arguments[:4] == ["tfds", "build", name, f"--data_dir={data_dir}"]
        assert "'mnist:3.*.*'" in command or name == "cifar10"


def test_shard_that_is_a_folder(tmp_path):
    folder, _, _ = write_cifar10(tmp_path, file_format="tfrecord")
    shard = find_shard(folder)
    shard.unlink()
    shard.mkdir()
    assert f"its file {shard.name} is missing" in refuse_damage(tmp_path)


def test_format_that_is_not_read(tmp_path):
    folder, _, _ = write_cifar10(tmp_path)
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps({**info, "fileFormat": "riegeli"}))
    message = refuse(tmp_path)
    assert "must be of format array_record or tfrecord, it is 'riegeli'" in message
