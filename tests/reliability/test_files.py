"""Files of others may do nothing but hold data, and no file of others is overwritten."""

import io
import json
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from fedjax_diffusion import load_images
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.data.tfds.examples import decode_image
from fedjax_diffusion.evaluation.inception.npz import parse_npz
from fedjax_diffusion.evaluation.inception.weights import read_inception_weights
from fedjax_diffusion.host.images import save_grid
from fedjax_diffusion.host.outputs import check_output, is_own_json, is_own_picture
from fedjax_diffusion.runs.evaluate import read_pngs
from tests.data.prepared import encode, write_cifar10

EVIL = "this.X"
CHUNKS = {0: 1, 2: 3, 4: 2, 6: 4}  # PNG's type of color: channels


def make_png(width, height, depth=8, color=0, data=None):
    """Returns a PNG, written by hand; without data the pixels are zeros."""

    def chunk(name, content):
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    if data is None:
        row = b"\0" + b"\x9c\x40" * (width * CHUNKS[color] * depth // 16)
        data = zlib.compress(row * height)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


IMAGES = {
    "16-bit gray": make_png(8, 8, 16, 0),
    "16-bit color": make_png(8, 8, 16, 2),
    "16-bit gray and alpha": make_png(8, 8, 16, 4),
    "16-bit color and alpha": make_png(8, 8, 16, 6),
    "20,000 x 20,000": make_png(20_000, 20_000, data=b"x"),
    "12,000 x 12,000": make_png(12_000, 12_000, data=b"x"),
    "2^31 - 1": make_png(2**31 - 1, 2**31 - 1, data=b"x"),
    "cut": make_png(8, 8)[:40],
    "no data": make_png(8, 8, data=b""),
    "empty": b"",
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_is_too_large_too_deep_or_damaged_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"^it "):
        decode_image(IMAGES[name], 3)
    for i in range(20):
        (tmp_path / f"{i}.png").write_bytes(encode(np.zeros((8, 8), np.uint8)))
    (tmp_path / "7.png").write_bytes(IMAGES[name])
    with pytest.raises(ValueError, match=r"7\.png is not an image that can be taken: it "):
        read_pngs(tmp_path, (8, 8, 1))


def test_what_is_no_regular_file_is_refused(tmp_path):
    for i in range(20):
        (tmp_path / f"{i}.png").write_bytes(encode(np.zeros((8, 8), np.uint8)))
    (tmp_path / "7.png").unlink()
    os.mkfifo(tmp_path / "7.png")
    with pytest.raises(ValueError, match=r"7\.png .* not a regular file"):
        read_pngs(tmp_path, (8, 8, 1))
    (tmp_path / "7.png").rename(tmp_path / "weights.npz")
    with pytest.raises(ValueError, match="does not exist"):
        read_inception_weights(tmp_path / "weights.npz")


def test_another_image_format_is_not_decoded():
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, format="TIFF")
    with pytest.raises(ValueError, match="cannot be read"):
        decode_image(file.getvalue(), 3)


NAMES = {
    "of today": ("pythonClassName", EVIL),
    "of the protocol": ("python_class_name", EVIL),
    "of earlier versions": ("type", EVIL),
    "below the features": (
        "pythonClassName",
        "tensorflow_datasets.core.features.evil.X",
    ),
    "of TFDS": ("pythonClassName", "tensorflow_datasets.core.lazy_imports_lib.X"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_imports_nothing(tmp_path, name, capsys):
    folder, _, _ = write_cifar10(tmp_path)
    path = folder / "features.json"
    content = json.loads(path.read_text())
    key, value = NAMES[name]
    features = content["featuresDict"]["features"]
    features["image"].pop("pythonClassName")
    features["image"][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"features.json names the class '{value}'"):
        load_images("cifar10", "train", data_dir=tmp_path)
    assert capsys.readouterr().out == ""


def test_a_description_must_be_a_regular_file(tmp_path):
    folder, _, _ = write_cifar10(tmp_path)
    (label,) = folder.glob("*.labels.txt")
    label.unlink()
    os.mkfifo(label)
    with pytest.raises(ValueError, match="is not a regular file"):
        load_images("cifar10", "train", data_dir=tmp_path)


def test_images_of_another_size_than_described_are_refused():
    content = encode(np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(ValueError, match=r"size is \(9, 9\), features.json says \(8, 8\)"):
        decode_image(content, 3, size=(8, 8))
    assert decode_image(content, 3, size=(None, 9)).shape == (9, 9, 3)


def make_npz(array_file, compression=zipfile.ZIP_STORED, name="x.npy"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression, compresslevel=1) as archive:
        archive.writestr(name, array_file)
    return file.getvalue()


def make_npy(shape, content=b"\0" * 16, dtype="<f4"):
    file = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + content


def flag_encrypted(content):
    """Sets the flag in both headers."""
    content = bytearray(content)
    content[6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def with_compression(content, number):
    content = bytearray(content)
    content[8] = content[content.rindex(b"PK\x01\x02") + 10] = number
    return bytes(content)


ARCHIVES = {
    "an .npy": make_npy((4,)),
    "4 TiB": make_npz(make_npy((1 << 40,))),
    "2^70": make_npz(make_npy((1 << 70,))),
    "negative": make_npz(make_npy((-4,))),
    "too short": make_npz(make_npy((5,))),
    "objects": make_npz(make_npy((2,), dtype="|O")),
    "no array": make_npz(b"text"),
    "a header that is no dict": make_npz(b"\x93NUMPY\x01\x00\x10\x00((((((((((((((((\n"),
    "encrypted": flag_encrypted(make_npz(make_npy((4,)))),
    "unknown compression": with_compression(make_npz(make_npy((4,))), 99),
}


def check_archive(content):
    with pytest.raises(ValueError, match=r"w cannot be read as an \.npz file: .+"):
        parse_npz(content, "w")


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_is_looked_at_before_it_is_unpacked(name):
    check_archive(ARCHIVES[name])


def test_an_archive_that_unpacks_to_300_mb_is_not_unpacked():
    zeros = make_npy((75 << 20,), bytes(300 << 20))
    check_archive(make_npz(zeros, zipfile.ZIP_DEFLATED))


def test_an_honest_archive_is_read():
    file, values = io.BytesIO(), np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.savez_compressed(file, a=values, b=np.float32(3))
    found = parse_npz(file.getvalue(), "w")
    np.testing.assert_array_equal(found["a"], values)
    assert (found["b"].shape, found["b"].dtype) == ((), np.float32)


def test_no_output_replaces_a_file_of_others(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "photo.png")
    (tmp_path / "table.json").write_text('{"mine": 1}')
    (tmp_path / "folder.png").mkdir()
    save_grid(tmp_path / "own.png", np.zeros((4, 8, 8, 1), np.uint8))
    (tmp_path / "own.json").write_text('{"measure_version": 3}')
    for name in ("photo.png", "table.json", "folder.png"):
        is_own = is_own_picture if name.endswith("png") else is_own_answer
        with pytest.raises(ValueError, match="was not made by fedjax-diffusion"):
            check_output(tmp_path / name, is_own)
    check_output(tmp_path / "own.png", is_own_picture)
    check_output(tmp_path / "own.json", is_own_answer)
    check_output(tmp_path / "new" / "x.png", is_own_picture)
    with pytest.raises(ValueError, match="choose another path"):
        check_output(tmp_path / "own.json" / "x.png", is_own_picture)
    with pytest.raises(ValueError, match=r"nnn\.\.\. has 304 bytes: choose a name of at most 255"):
        check_output(tmp_path / ("n" * 300 + ".png") / "x", is_own_picture)
    with pytest.raises(ValueError, match=r"the path has [0-9]+ bytes: choose a shorter one"):
        check_output(tmp_path / ("x/" * 5000), is_own_picture)
    assert not (tmp_path / "new").exists()


def is_own_answer(path):
    return is_own_json(path, "measure_version")


def test_the_commands_refuse_to_replace_a_file_of_others(finished, tmp_path, capsys):
    folder = tmp_path / "data"
    folder.mkdir()
    for path in (folder / "examples.png", tmp_path / "photo.png"):
        Image.new("L", (8, 8)).save(path)
    (tmp_path / "table.json").write_text("[]")
    commands = (
        ["sample", f"--workdir={finished}", f"--output={tmp_path / 'photo.png'}"],
        ["evaluate", f"--workdir={finished}", f"--output={tmp_path / 'table.json'}"],
        ["allocate", "--problem=nowhere.json", f"--output={tmp_path / 'table.json'}"],
        ["data", "--name=digits", f"--output={folder}"],
    )
    for command in commands:
        assert main(command) == 2, command
        error = capsys.readouterr().err
        assert "was not made by fedjax-diffusion" in error
        assert error.count("\n") == 1
    assert (tmp_path / "table.json").read_text() == "[]"
