"""Weights by name: the same numbers from every kind of file, and what does not fit is named."""

import importlib.util

import chex
import numpy as np
import pytest
from flax import serialization

from fedjax_diffusion.experiment.start import identify, read_start
from fedjax_diffusion.experiment.weight_files import FORMATS, read_weights, write_weights
from fedjax_diffusion.experiment.weights import hash_weights, list_weights, to_params

PARAMS = {
    "params": {
        "conv": {
            "kernel": np.arange(6.0, dtype=np.float32).reshape(2, 3),
            "bias": np.float32([-0.0, 1e-45]),
        },
        "scale": np.array(3.4e38, np.float32),
    }
}
NAMES = ["params/conv/bias", "params/conv/kernel", "params/scale"]


@pytest.fixture(params=FORMATS)
def path(request, tmp_path):
    if request.param == ".safetensors":
        pytest.importorskip("safetensors")
    return tmp_path / f"weights{request.param}"


def test_a_file_brings_back_every_bit_and_the_same_hash(path):
    weights = list_weights(PARAMS)
    assert list(weights) == NAMES
    write_weights(path, weights)
    read = read_weights(path)
    assert {name: array.tobytes() for name, array in read.items()} == {
        name: array.tobytes() for name, array in weights.items()
    }
    assert hash_weights(read) == hash_weights(weights)
    found = read_start(identify(str(path)), PARAMS)
    chex.assert_trees_all_equal(found, PARAMS)
    assert np.signbit(found["params"]["conv"]["bias"][0])


def test_a_damaged_file_is_refused_in_one_line(path):
    write_weights(path, list_weights(PARAMS))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=rf"{path} is no {path.suffix} file of weights") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


def test_msgpack_is_that_of_flax(tmp_path):
    path = tmp_path / "weights.msgpack"
    path.write_bytes(serialization.to_bytes(PARAMS))
    assert hash_weights(read_weights(path)) == hash_weights(list_weights(PARAMS))
    write_weights(path, list_weights(PARAMS))
    chex.assert_trees_all_equal(serialization.from_bytes(PARAMS, path.read_bytes()), PARAMS)


def test_files_of_anything_else_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", names=np.array(["a"], object))
    (tmp_path / "a.msgpack").write_bytes(serialization.msgpack_serialize({"a": "text"}))
    with pytest.raises(ValueError, match=r"a\.npz is no \.npz file of weights"):
        read_weights(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"a\.msgpack holds str in 'a', not an array"):
        read_weights(tmp_path / "a.msgpack")
    with pytest.raises(ValueError, match=r"must end in \.npz, \.safetensors, \.msgpack"):
        read_weights(tmp_path / "a.pt")
    with pytest.raises(ValueError, match="No such file"):
        identify(str(tmp_path / "missing.npz"))


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"pip install -e '.\[safetensors\]' in the project's folder"
    ):
        read_weights(tmp_path / "weights.safetensors")


def test_the_hash_is_of_names_shapes_and_numbers():
    weights = list_weights(PARAMS)
    others = [
        {**weights, "params/scale": np.float32(3.3e38)},
        {**weights, "params/conv/kernel": weights["params/conv/kernel"].reshape(3, 2)},
        {("params/gain" if name == "params/scale" else name): a for name, a in weights.items()},
        {**weights, "params/scale": np.float64(weights["params/scale"])},
    ]
    assert len({hash_weights(weights), *map(hash_weights, others)}) == 5
    backwards = dict(reversed(weights.items()))
    assert hash_weights(backwards) == hash_weights(weights)
    swapped = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in weights.items()}
    assert hash_weights(swapped) == hash_weights(weights)


def test_what_does_not_fit_is_named_in_one_line():
    weights = list_weights(PARAMS)
    del weights["params/scale"]
    weights |= {"other": np.ones(2), "params/conv/bias": np.ones(3, np.float32)}
    weights["params/conv/kernel"] = weights["params/conv/kernel"].astype(np.float16)
    with pytest.raises(ValueError, match="do not fit") as caught:
        to_params(weights, PARAMS)
    assert str(caught.value) == (
        "the weights do not fit the model: it lacks params/scale; the model has no other; shapes "
        "differ: params/conv/bias (3,), the model has (2,); dtypes differ: params/conv/kernel "
        "float16, the model has float32"
    )
    many = {f"w{number}": np.ones(1) for number in range(5)}
    with pytest.raises(ValueError, match=r"has no w0, w1, w2 and 2 more$"):
        to_params(list_weights(PARAMS) | many, PARAMS)
    infinite = list_weights(PARAMS) | {"params/scale": np.float32(np.inf)}
    with pytest.raises(ValueError, match="not finite in params/scale"):
        to_params(infinite, PARAMS)
