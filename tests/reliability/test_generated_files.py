"""Files of others, broken at random: each is read as it was, or refused in one line.

A break is drawn by a seed, so a failure names the seed that shows it again.
"""

import json
import os
import random
import shutil

import numpy as np
import pytest

from fedjax_diffusion import load_images
from fedjax_diffusion.evaluation.inception.npz import parse_npz
from fedjax_diffusion.evaluation.inception.pth import parse_pth
from fedjax_diffusion.runs.evaluate import read_pngs
from tests.data.prepared import encode, write_cifar10
from tests.evaluation.inception.pth_files import weights_bytes
from tests.reliability.test_files import ARCHIVES, IMAGES

FEW, MAX_LINE = 6, 1000
VALUES = (None, -1, 0, 1e400, 2**70, "", "x" * 5000, [], {}, [[]], True, "../..", "this.X", "\0")


def flip_bits(chance, content):
    """Flips one to three bits."""
    content = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def cut(chance, content):
    return content[: chance.randrange(len(content))]


def lengthen(chance, content):
    return content + chance.randbytes(chance.randint(1, 100))


def replace_part(chance, content):
    """Overwrites a piece with random bytes."""
    start = chance.randrange(len(content))
    return content[:start] + chance.randbytes(min(16, len(content) - start)) + content[start + 16 :]


def duplicate(chance, content):
    start = chance.randrange(len(content))
    return content[:start] + content[start:] * 2


def change_json(chance, content):
    """Replaces one value, at any depth, or leaves a name out; other files are cut."""
    try:
        root = json.loads(content)
    except ValueError:
        return cut(chance, content)
    places = []

    def visit(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                visit(node[key])

    visit(root)
    node, key = chance.choice(places)
    if isinstance(node, dict) and chance.random() < 0.3:
        del node[key]
    else:
        node[key] = chance.choice(VALUES)
    return json.dumps(root).encode()


OF_BYTES = (flip_bits, cut, lengthen, replace_part, duplicate)


def delete(path):
    path.unlink()


def become_folder(path):
    path.unlink()
    path.mkdir()


def become_pipe(path):
    path.unlink()
    os.mkfifo(path)


def become_loop(path):
    path.unlink()
    path.symlink_to(path)


def empty(path):
    path.write_bytes(b"")


OF_FILES = (delete, become_folder, become_pipe, become_loop, empty)


def break_file(chance, path, of_bytes=OF_BYTES):
    """Breaks a file in one way, and returns its name."""
    way = chance.choice((*of_bytes, *of_bytes, *OF_FILES))
    if way in OF_FILES:
        way(path)
    else:
        path.write_bytes(way(chance, path.read_bytes()))
    return f"{way.__name__} of {path.name}"


def expect(read, check, about):
    """Reads: the result is right, or a ValueError has one line of bearable length."""
    try:
        found, said = read(), None
    except ValueError as error:
        found, said = None, str(error)
    if said is None:
        check(found)
        return "read"
    assert "\n" not in said, about
    assert 0 < len(said) <= MAX_LINE, about
    return "refused"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folders = {}
    for file_format in ("tfrecord", "array_record"):
        place = tmp_path_factory.mktemp(file_format)
        folders[file_format] = (place, *write_cifar10(place, file_format=file_format)[1:])
    return folders


def read_broken_data(prepared, place, seed):
    chance = random.Random(seed)
    source, images, labels = prepared[chance.choice(sorted(prepared))]
    shutil.copytree(source, place)
    path = chance.choice(sorted(path for path in place.rglob("*") if path.is_file()))
    about = f"seed {seed}: {break_file(chance, path, (*OF_BYTES, change_json, change_json))}"

    def check(dataset):
        np.testing.assert_array_equal(dataset.images, images, about)
        np.testing.assert_array_equal(dataset.labels, labels, about)

    return expect(lambda: load_images("cifar10", "train", data_dir=place), check, about)


def read_broken_weights(place, seed):
    chance = random.Random(seed)
    tensors = {"a": np.arange(60, dtype=np.float32).reshape(3, 4, 5), "b": np.float32([1, 2])}
    kind = chance.choice(("npz", "zip", "stream"))
    if kind == "npz":
        np.savez(place / "w.npz", **tensors)
        content, parse = (place / "w.npz").read_bytes(), parse_npz
    else:
        content, parse = weights_bytes(kind, tensors), parse_pth
    way = chance.choice(OF_BYTES)
    about = f"seed {seed}: {way.__name__} of {kind}"
    broken = chance.choice(list(ARCHIVES.values())) if seed % 5 == 0 else way(chance, content)

    def check(found):
        if kind == "stream":  # it has no checksum: names, shapes and types are all that is known
            return
        for name, array in found.items():
            if name in tensors:
                np.testing.assert_array_equal(array, tensors[name], about)

    return expect(lambda: parse(broken, "w"), check, about)


def read_broken_pictures(place, seed):
    chance = random.Random(seed)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 8, 8, 1), np.uint8)
    for i, image in enumerate(pixels):
        (place / f"{i:02d}.png").write_bytes(encode(image))
    path = place / "07.png"
    about = f"seed {seed}: {break_file(chance, path)}"
    if seed % 4 == 0:
        path = place / "08.png"
        path.write_bytes(chance.choice(list(IMAGES.values())))

    def check(found):
        assert found.shape == pixels.shape, about
        others = [i for i in range(20) if i not in (7, 8)]
        np.testing.assert_array_equal(found[others], pixels[others], about)

    return expect(lambda: read_pngs(place, (8, 8, 1)), check, about)


def count(read, tmp_path, seeds):
    """Returns how many were refused and how many read."""
    results = []
    for seed in seeds:
        place = tmp_path / str(seed)
        place.mkdir()
        results.append(read(place, seed))
    print({name: results.count(name) for name in ("refused", "read")})
    return results.count("refused")


def test_a_few_broken_data_folders(prepared, tmp_path):
    results = [read_broken_data(prepared, tmp_path / str(seed), seed) for seed in range(FEW)]
    assert "refused" in results


def test_a_few_broken_weights(tmp_path):
    assert count(read_broken_weights, tmp_path, range(FEW)) > 0


def test_a_few_broken_picture_folders(tmp_path):
    assert count(read_broken_pictures, tmp_path, range(FEW)) > 0


@pytest.mark.slow
def test_100_broken_data_folders(prepared, tmp_path):
    results = [read_broken_data(prepared, tmp_path / str(seed), seed) for seed in range(100)]
    print(results.count("refused"), results.count("read"))
    assert results.count("refused") > 50


@pytest.mark.slow
def test_40_broken_weights(tmp_path):
    assert count(read_broken_weights, tmp_path, range(40)) > 20


@pytest.mark.slow
def test_40_broken_picture_folders(tmp_path):
    assert count(read_broken_pictures, tmp_path, range(40)) > 20
