"""TFRecord files: the checksum against its definition, and damage of every kind."""

import hypothesis
import hypothesis.strategies as st
import pytest

from fedjax_diffusion.data.tfds.tfrecord import crc32c, read_tfrecords
from tests.data.prepared import frame, plain_crc32c

RECORDS = [b"", b"a", bytes(range(100)), b"last"]
FILE = b"".join(map(frame, RECORDS))


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # RFC 3720, appendix B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_checksum_of_the_standard(data, expected):
    assert crc32c(data) == expected


@pytest.mark.parametrize("size", [0, 1, 3, 4, 63, 64, 1023, 1024, 1025, 1087, 1088, 3000])
def test_checksum_at_the_borders_of_its_blocks(size):
    data = (b"fedjax-diffusion" * 200)[:size]
    assert crc32c(data) == plain_crc32c(data)


@hypothesis.settings(deadline=None)
@hypothesis.given(st.binary(max_size=3000))
def test_checksum_is_its_definition(data):
    assert crc32c(data) == plain_crc32c(data)


def read(tmp_path, data, num_records=4, start=0, stop=4):
    path = tmp_path / "file"
    path.write_bytes(data)
    return list(read_tfrecords(path, num_records, start, stop))


def test_records_come_back(tmp_path):
    assert read(tmp_path, FILE) == RECORDS
    assert read(tmp_path, FILE, start=1, stop=3) == RECORDS[1:3]


def test_every_flipped_bit_is_found(tmp_path):
    """A CRC finds all single flips; a damaged length must not be followed."""
    for position in range(8 * len(FILE)):
        damaged = bytearray(FILE)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(ValueError, match=r"is damaged|it ends"):
            read(tmp_path, bytes(damaged))


def test_every_truncation_is_found(tmp_path):
    for size in range(len(FILE)):
        with pytest.raises(ValueError, match="it ends"):
            read(tmp_path, FILE[:size])


def test_what_lies_behind_the_last_record_is_found(tmp_path):
    with pytest.raises(ValueError, match="it has more data after its 3 records"):
        read(tmp_path, FILE, num_records=3, stop=3)
