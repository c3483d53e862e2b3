"""Folders as TFDS prepares them, written without TensorFlow, in both formats, and compared."""

import functools
import io
import json
import os
import pathlib
import struct

import numpy as np
from PIL import Image


def encode(image, image_format="PNG"):
    """Returns the bytes of an image file, of uint8 [H, W] or [H, W, C]."""
    file = io.BytesIO()
    image = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    Image.fromarray(image).save(file, format=image_format)
    return file.getvalue()


@functools.cache
def divide(byte):
    """Returns the rest of a byte's division by the polynomial of CRC-32C, bit by bit."""
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


def plain_crc32c(data):
    """Returns the CRC-32C, byte by byte, as the polynomial division that it is."""
    state = 0xFFFFFFFF
    for byte in data:
        state = state >> 8 ^ divide((state ^ byte) & 0xFF)
    return state ^ 0xFFFFFFFF


def frame(data):
    """Returns a record of a TFRecord file."""

    def masked(part):
        crc = plain_crc32c(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32)

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def write_records(path, records, file_format):
    """Writes one shard."""
    if file_format == "tfrecord":
        path.write_bytes(b"".join(map(frame, records)))
        return
    from array_record.python import array_record_module

    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


def write_folder(
    data_dir, features, splits, name="shapes/1.0.0", file_format="array_record", num_shards=1
):
    """Writes ``data_dir/name`` and returns its path.

    Args:
      data_dir: as TFDS means it.
      features: a dict of TFDS features.
      splits: split -> list of examples; images as encoded bytes.
      name: data set and version.
      file_format: ``"array_record"`` or ``"tfrecord"``.
      num_shards: of every split, of equal lengths except the last.
    """
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict(features)
    folder = pathlib.Path(data_dir) / name
    folder.mkdir(parents=True)
    infos = []
    for split, examples in splits.items():
        records = [features.serialize_example(features.encode_example(e)) for e in examples]
        step = -(-len(records) // num_shards)
        shards = [records[step * i : step * (i + 1)] for i in range(num_shards)]
        for i, shard in enumerate(shards):
            file = f"{folder.parent.name}-{split}.{file_format}-{i:05d}-of-{num_shards:05d}"
            write_records(folder / file, shard, file_format)
        infos.append(
            {
                "name": split,
                "numBytes": str(sum(map(len, records))),
                "shardLengths": [str(len(shard)) for shard in shards],
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            }
        )
    features.save_config(str(folder))
    info = {"name": folder.parent.name, "version": folder.name, "fileFormat": file_format}
    (folder / "dataset_info.json").write_text(json.dumps({**info, "splits": infos}))
    return folder


def write_cifar10(data_dir, num_examples=7, seed=0, **options):
    """Writes noise that looks like CIFAR-10, and returns the folder, the images and the labels."""
    import tensorflow_datasets as tfds

    names = [f"class {i}" for i in range(10)]
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (num_examples, 32, 32, 3), np.uint8)
    labels = rng.integers(0, 10, num_examples).astype(np.int32)
    features = {
        "id": tfds.features.Text(),
        "image": tfds.features.Image(shape=(32, 32, 3)),
        "label": tfds.features.ClassLabel(names=names),
    }
    examples = [
        {"id": f"train_{i}", "image": encode(image), "label": int(label)}
        for i, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    folder = write_folder(data_dir, features, {"train": examples}, "cifar10/3.0.2", **options)
    return folder, images, labels


def write_celeb_a(data_dir, images):
    """Writes images like those of CelebA: JPEG, and no label but nested attributes."""
    import tensorflow_datasets as tfds

    features = {
        "image": tfds.features.Image(shape=(218, 178, 3), encoding_format="jpeg"),
        "attributes": {"Smiling": np.bool_, "Young": np.bool_},
        "landmarks": {"nose_x": np.int64},
    }
    examples = [
        {
            "image": encode(image, "JPEG"),
            "attributes": {"Smiling": i % 2 == 0, "Young": i > 0},
            "landmarks": {"nose_x": 89},
        }
        for i, image in enumerate(images)
    ]
    write_folder(data_dir, features, {"train": examples}, "celeb_a/2.1.0")


def check(dataset, images, labels, chosen=slice(None)):
    """Compares what was read with what was written."""
    np.testing.assert_array_equal(dataset.images, images[chosen])
    np.testing.assert_array_equal(dataset.labels, labels[chosen])


def rewrite(path, data):
    """Writes a file so that name, size and time of change are what they were."""
    stat = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size


def blot(path):
    """Writes over 5,000 bytes in the middle of a file, which nothing but its contents tells."""
    data = bytearray(path.read_bytes())
    data[9_000:14_000] = bytes(5_000)
    rewrite(path, data)
