"""Decoded images that are kept: believed only while they are whole and of the same files."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from fedjax_diffusion.data import image_cache, load_images, sources
from fedjax_diffusion.data.image_cache import VARIABLE, data_cache_folder, open_entry
from tests.data.prepared import write_cifar10

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "tfds"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Returns this test's own cache folder."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch):
    """Returns the list of splits that have been decoded since."""
    calls, decode = [], sources.decode

    def count(folder, columns, piece, make_arrays):
        calls.append(tuple(piece))
        return decode(folder, columns, piece, make_arrays)

    monkeypatch.setattr(sources, "decode", count)
    return calls


def find_entry(cache):
    (entry,) = (path for path in cache.iterdir() if not path.name.startswith("."))
    return entry


def check(dataset, images, labels, chosen=slice(None)):
    np.testing.assert_array_equal(dataset.images, images[chosen])
    np.testing.assert_array_equal(dataset.labels, labels[chosen])


def test_a_split_is_decoded_once_and_its_slices_are_taken_from_it(data_dir, cache, decoded):
    _, images, labels = write_cifar10(data_dir)
    for split, chosen in (("train[2:5]", slice(2, 5)), ("train", slice(7)), ("train[:1]", [0])):
        check(load_images("cifar10", split, data_dir=data_dir), images, labels, chosen)
    assert decoded == [("train", 0, 7)]


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
    folder = data_cache_folder()
    assert folder.name == "data"
    assert (tmp_path / "fedjax-diffusion") in folder.parents


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


SLOW = """
import sys, time
from fedjax_diffusion.data import examples, load_images
decode_image, calls = examples.decode_image, []

def decode_slowly(*arguments):
    calls.append(1)
    print("decoding", flush=True)
    if len(calls) > 3:
        time.sleep(float(sys.argv[2]))
    return decode_image(*arguments)

examples.decode_image = decode_slowly
print("waiting", flush=True)
dataset = load_images("cifar10", "train", data_dir=sys.argv[1])
print(int(dataset.images.sum()), dataset.labels.tolist(), flush=True)
"""


def start(data_dir, seconds):
    """Starts a process that decodes so slowly that it can be met half-way."""
    arguments = [sys.executable, "-c", SLOW, str(data_dir), str(seconds)]
    pipe = subprocess.PIPE
    return subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, cwd=ROOT)


def test_a_killed_process_leaves_nothing_that_is_believed(data_dir, cache, decoded, caplog):
    _, images, labels = write_cifar10(data_dir)
    with start(data_dir, 60) as process:
        assert process.stdout.readline() == "waiting\n"
        for _ in range(4):
            assert process.stdout.readline() == "decoding\n"
        process.send_signal(signal.SIGKILL)
    (half,) = (path for path in cache.iterdir() if path.suffix == ".new")
    assert (half / "images.npy").stat().st_size > images.nbytes
    check(load_images("cifar10", "train", data_dir=data_dir), images, labels)
    assert decoded == [("train", 0, 7)]
    assert not caplog.records  # nothing had the entry's name
    assert [path.suffix for path in cache.iterdir() if path.suffix in (".new", ".old")] == []


def test_two_processes_at_once_agree_and_one_of_them_decodes(data_dir, cache):
    _, images, labels = write_cifar10(data_dir)
    with start(data_dir, 0.3) as first, start(data_dir, 0.3) as second:
        results = [process.communicate(timeout=60) for process in (first, second)]
    answer = f"{images.sum()} {labels.tolist()}"
    assert [output.splitlines()[-1] for output, _ in results] == [answer, answer]
    assert [errors for _, errors in results] == ["", ""]
    assert sorted(output.count("decoding") for output, _ in results) == [0, 7]
    check(load_images("cifar10", "train", data_dir=data_dir), images, labels)


def test_without_locks_both_decode_and_one_entry_stays(data_dir, cache, monkeypatch):
    """Another process finishes the same entry while this one decodes."""
    monkeypatch.setattr(image_cache, "fcntl", None)
    _, images, labels = write_cifar10(data_dir)
    decode, calls = sources.decode, []

    def decode_beside(*arguments):
        calls.append(1)
        if len(calls) == 1:
            check(load_images("cifar10", "train", data_dir=data_dir), images, labels)
        return decode(*arguments)

    monkeypatch.setattr(sources, "decode", decode_beside)
    check(load_images("cifar10", "train", data_dir=data_dir), images, labels)
    assert len(calls) == 2
    assert find_entry(cache).is_dir()


def test_an_entry_of_other_files_is_none(tmp_path):
    assert open_entry(tmp_path, "nothing", {}) is None
