"""Several processes that want the same decoded images, and one that is killed over it."""

import pathlib
import signal
import subprocess
import sys

from fedjax_diffusion.data import image_cache, load_images, sources
from tests.data.prepared import check, write_cifar10

ROOT = pathlib.Path(__file__).resolve().parents[2]

SLOW = """
import sys, time
from fedjax_diffusion.data import load_images
from fedjax_diffusion.data.tfds import examples
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


def test_two_processes_at_once_agree_and_one_of_them_decodes(data_dir, cache, decoded, caplog):
    _, images, labels = write_cifar10(data_dir)
    with start(data_dir, 0.3) as busy:
        assert [busy.stdout.readline() for _ in range(2)] == ["waiting\n", "decoding\n"]
        check(load_images("cifar10", "train", data_dir=data_dir), images, labels)
        said, silent = busy.communicate(timeout=60)
    assert said.splitlines() == ["decoding"] * 6 + [f"{images.sum()} {labels.tolist()}"]
    assert (decoded, silent) == ([], "")
    (entry,) = cache.glob("cifar10*")
    (waited,) = caplog.messages
    assert f"waiting for another process, which makes {str(entry)!r}" in waited


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
    assert len(list(cache.glob("cifar10*"))) == 1
