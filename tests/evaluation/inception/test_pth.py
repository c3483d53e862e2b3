"""The reader of ``.pth`` files: written by hand, hostile, damaged, and by PyTorch."""

import os
import pickle
import re

import numpy as np
import pytest

from fedjax_diffusion.evaluation.inception.pth import parse_pth, read_pth
from tests.evaluation.inception.pth_files import (
    TYPES,
    Entry,
    file_bytes,
    name,
    state,
    stream_bytes,
    tensor,
    value,
    weights_bytes,
    zip_bytes,
)

LAYOUTS = pytest.mark.parametrize("layout", ["zip", "stream"])
NUMBERS = {"7": np.arange(24, dtype=np.float32)}


def file_of(layout, entries, storages=NUMBERS):
    opcodes = {key: tensor(entry, storages, layout) for key, entry in entries.items()}
    return file_bytes(layout, state(opcodes), storages)


def refusal(content):
    """Returns the one line that a file is refused with."""
    with pytest.raises(ValueError, match=r"^weights\.pth cannot be read as a \.pth file: ") as info:
        parse_pth(content, "weights.pth")
    message = str(info.value)
    assert "\n" not in message
    return message


@LAYOUTS
@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Entry("7", 0, (4, 6), (6, 1)), np.arange(24).reshape(4, 6)),
        (Entry("7", 0, (6, 4), (1, 6)), np.arange(24).reshape(4, 6).T),
        (Entry("7", 12, (2, 3), (6, 2)), np.arange(24).reshape(4, 6)[2:, ::2]),
        (Entry("7", 5, (3, 2), (0, 1)), np.array([[5, 6]] * 3)),
        (Entry("7", 23, (), ()), np.array(23)),
        (Entry("7", 23, (1, 1), (10**18, 4)), np.array([[23]])),
        (Entry("7", 24, (0, 5), (5, 1)), np.zeros((0, 5))),
    ],
)
def test_offsets_and_strides_are_those_of_the_tensor(layout, entry, expected):
    (array,) = parse_pth(file_of(layout, {"x": entry}), "weights.pth").values()
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, expected, strict=False)
    assert array.shape == expected.shape


@LAYOUTS
def test_tensors_of_one_storage_share_its_memory(layout):
    entries = {"all": Entry("7", 0, (24,), (1,)), "end": Entry("7", 20, (4,), (1,))}
    arrays = parse_pth(file_of(layout, entries), "weights.pth")
    assert list(arrays) == ["all", "end"]
    assert np.shares_memory(arrays["all"], arrays["end"])
    assert not arrays["all"].flags.writeable


@LAYOUTS
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_every_type_of_storage(layout, dtype):
    x = np.array([[0, 1, 2], [3, 0, 100]]).astype(dtype)
    content = weights_bytes(layout, {"a": x, "b": x[:1] + x[:1]})
    arrays = parse_pth(content, "weights.pth")
    assert {a.dtype for a in arrays.values()} == {dtype}
    np.testing.assert_array_equal(arrays["a"], x)
    np.testing.assert_array_equal(arrays["b"], x[:1] + x[:1])


def test_a_view_within_a_storage_of_the_stream():
    """Before PyTorch 0.4 a storage could be a part of another: (key, offset, elements)."""
    entry = Entry("7", 1, (2, 2), (2, 1), view=("8", 10, 6))
    (array,) = parse_pth(file_of("stream", {"x": entry}), "weights.pth").values()
    np.testing.assert_array_equal(array, [[11, 12], [13, 14]])
    beyond = entry._replace(offset=3)  # 3 + 3 is not below 6, although the storage has more
    assert "reaches beyond" in refusal(file_of("stream", {"x": beyond}))


def test_a_file_on_disk_is_read(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(weights_bytes("zip", {"x": np.arange(3.0)}))
    np.testing.assert_array_equal(read_pth(path)["x"], np.arange(3.0))


class Malice:
    """An object whose pickle makes a folder when it is loaded."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@LAYOUTS
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("is_entry", [True, False])
def test_a_hostile_pickle_runs_nothing_and_is_named(layout, protocol, is_entry, tmp_path):
    folder = tmp_path / "made"
    malice = Malice(folder)
    hostile = pickle.dumps({"x": malice} if is_entry else malice, protocol)
    message = refusal(file_bytes(layout, hostile, {}))
    assert not folder.exists()
    if protocol >= 2 or not is_entry:
        assert f"it names {os.mkdir.__module__}.mkdir, which" in message
    pickle.loads(hostile)  # the same bytes do work
    assert folder.exists()


@pytest.mark.parametrize("position", range(5))
def test_every_pickle_of_the_stream_is_restricted(position, tmp_path):
    hostile = pickle.dumps(Malice(tmp_path / "made"), 2)
    parts = [pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {}, {}, [])]
    assert parse_pth(b"".join(parts), "weights.pth") == {}
    parts[position] = hostile
    refusal(b"".join(parts))
    assert not (tmp_path / "made").exists()


@LAYOUTS
@pytest.mark.parametrize(
    ("opcodes", "named"),
    [
        (name("builtins", "eval") + b"(" + value("1") + b"tR", "builtins.eval"),
        (name("torch", "load") + b")R", "torch.load"),
        (name("torch._utils", "os") + b")R", "torch._utils.os"),
        (name("collections", "OrderedDict.fromkeys") + b")R", "collections.OrderedDict.fromkeys"),
        (b"(" + value("1") + b"ibuiltins\neval\n", "builtins.eval"),
        (value("builtins") + value("eval") + b"\x93", "builtins.eval"),
        (b"\x82\x01", "EXT1"),
        (name("collections", "OrderedDict") + b")\x81", "NEWOBJ"),
        (b"(" + name("collections", "OrderedDict") + b"o", "OBJ"),
        (b"\x96" + (2**40).to_bytes(8, "little"), "damaged"),
        (value(1) + b"r\xff\xff\xff\x7f", "memo index 2147483647"),
    ],
)
def test_what_a_state_dict_has_no_need_of_is_refused(layout, opcodes, named):
    assert named in refusal(file_bytes(layout, state({"x": opcodes}), {}))


@LAYOUTS
def test_a_pickle_cannot_change_the_reader(layout):
    good = file_of(layout, {"x": Entry("7", 0, (24,), (1,))})
    change = b"}" + value("name") + value("OrderedDict") + b"s"
    for state_opcodes in (change + b"b", b"N" + change + b"\x86b"):
        call = name("torch._utils", "_rebuild_tensor_v2") + state_opcodes
        assert "damaged" in refusal(file_bytes(layout, state({"x": call}), {}))
    np.testing.assert_array_equal(parse_pth(good, "weights.pth")["x"], NUMBERS["7"])


@LAYOUTS
@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (Entry("7", 1, (24,), (1,)), "tensor x reaches beyond its storage 7"),
        (Entry("7", 0, (4, 6), (7, 1)), "tensor x reaches beyond its storage 7"),
        (Entry("7", 0, (2**62, 2**62), (0, 0)), ""),
        (Entry("7", 0, (0, 2**70), (1, 1)), ""),
        (Entry("7", -1, (2,), (1,)), "tensor x has no valid offset, shape and strides"),
        (Entry("7", 4, (2,), (-1,)), "tensor x has no valid offset, shape and strides"),
        (Entry("7", 0, (2,), (1, 1)), "tensor x has no valid offset, shape and strides"),
        (Entry("7", 0, (True,), (1,)), "tensor x has no valid offset, shape and strides"),
    ],
)
def test_a_tensor_that_its_storage_does_not_hold_is_refused(layout, entry, reason):
    assert reason in refusal(file_of(layout, {"x": entry}))


@LAYOUTS
@pytest.mark.parametrize(
    ("unpickled", "reason"),
    [
        ([1, 2], "it holds a list, not a dict of tensors"),
        ({"epoch": 3}, "its entry epoch is a int, not a tensor"),
        ({3: "x"}, "it has an entry under a int, not under a name"),
        ({"two\nlines": 1}, "its entry two?lines is a int"),
    ],
)
def test_what_is_no_state_dict_is_refused(layout, unpickled, reason):
    assert reason in refusal(file_bytes(layout, pickle.dumps(unpickled, 2), {}))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello", pickle.dumps({"x": 1}, 2)])
def test_what_is_no_pth_file_is_refused(content):
    refusal(content)


@LAYOUTS
def test_a_file_cut_off_anywhere_is_refused(layout):
    content = file_of(layout, {"x": Entry("7", 0, (24,), (1,))})
    for length in range(len(content)):
        refusal(content[:length])


@LAYOUTS
def test_a_changed_byte_gives_tensors_or_a_refusal(layout):
    """Never another exception, never an array that reaches out of the file."""
    content = file_of(layout, {"x": Entry("7", 0, (4, 6), (6, 1))})
    rng = np.random.default_rng(0)
    for position in range(len(content)):
        for byte in rng.integers(0, 256, 4).tolist():
            changed = content[:position] + bytes([byte]) + content[position + 1 :]
            message = ""
            try:
                for array in parse_pth(changed, "weights.pth").values():
                    array.tobytes()
            except ValueError as error:
                message = str(error)
            assert re.fullmatch(r"|weights\.pth cannot be read as a \.pth file: .+", message)


def test_what_only_a_zip_archive_can_get_wrong():
    pickled = state({"x": tensor(Entry("7", 0, (24,), (1,)), NUMBERS, "zip")})
    assert "big-endian" in refusal(zip_bytes(pickled, NUMBERS, byteorder=b"big"))
    assert "record weights/data/7 is missing" in refusal(zip_bytes(pickled, {}))
    twice = zip_bytes(pickled, NUMBERS, **{"other/data.pkl": pickled})
    assert "2 records named data.pkl" in refusal(twice)
    odd = {"7": np.frombuffer(NUMBERS["7"].tobytes()[:-1], np.uint8)}
    assert "95 bytes" in refusal(zip_bytes(pickled, odd))


def test_what_only_a_stream_can_get_wrong():
    good = file_of("stream", {"x": Entry("7", 0, (24,), (1,))})
    version = pickle.dumps(1001, 2)
    assert "protocol" in refusal(good.replace(version, pickle.dumps(1002, 2), 1))
    pickled = state({"x": tensor(Entry("7", 0, (24,), (1,)), NUMBERS, "stream")})
    assert "the storage 7 of tensor x is missing" in refusal(stream_bytes(pickled, {}))
    stray = stream_bytes(state({}), NUMBERS)
    assert "storage 7 belongs to no tensor" in refusal(stray)


def test_a_storage_has_one_type():
    x = Entry("7", 0, (2,), (1,))
    as_integers = tensor(x, {"7": np.arange(24, dtype=np.int32)}, "zip")
    opcodes = {"x": tensor(x, NUMBERS, "zip"), "y": as_integers}
    assert "tensor y shares storage 7 under another type" in refusal(
        zip_bytes(state(opcodes), NUMBERS)
    )


@LAYOUTS
def test_files_that_pytorch_writes(layout, tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {"base": base, "part": base[1:, ::2].T, "half": base.half(), "count": torch.tensor(3)}
    tensors |= {"parameter": torch.nn.Parameter(base + 1), "bf16": base.bfloat16()}
    path = tmp_path / "weights.pth"
    torch.save(tensors, path, _use_new_zipfile_serialization=layout == "zip")
    arrays = read_pth(path)
    assert list(arrays) == list(tensors)
    for key, array in arrays.items():
        np.testing.assert_array_equal(array.astype(np.float64), tensors[key].detach().double())
    assert np.shares_memory(arrays["base"], arrays["part"])
