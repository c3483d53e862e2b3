"""FID's Inception against NumPy and, if installed, torch-fidelity; its files of weights."""

import dataclasses
import hashlib
import importlib
import math
import re
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.evaluation.inception import features as features_module
from fedjax_diffusion.evaluation.inception import network as network_module
from fedjax_diffusion.evaluation.inception import weights as weights_module
from fedjax_diffusion.evaluation.inception.features import make_inception_extractor
from fedjax_diffusion.evaluation.inception.network import (
    ConvNorm,
    Inception,
    resize_bilinear_tf1,
)
from fedjax_diffusion.evaluation.inception.weights import (
    list_tensors,
    read_inception_weights,
    tensors_to_variables,
)
from tests.evaluation.inception import plain_inception
from tests.evaluation.inception.pth_files import weights_bytes

pytestmark = pytest.mark.optimized  # tolerances are those of a run's rounding

IMAGES = np.random.default_rng(1).integers(0, 256, (2, 20, 33, 3), dtype=np.uint8)
SIZE = 107
"""Inside, of tests: 2x2 pixels are left before the mean, not 8x8."""
ONE_IMAGE = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.uint8)


def random_tensors(seed):
    """Returns weights that keep activations near 1, and statistics that are far from neutral."""
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal(2**22, np.float32)  # twice the largest tensor
    tensors = {}
    for name, (_, shape) in list_tensors().items():
        if len(shape) > 1:
            size = math.prod(shape)
            first = rng.integers(len(drawn) - size)
            scale = np.float32(math.sqrt(2 * shape[0] / size))
            x = scale * drawn[first : first + size].reshape(shape)
        elif name.endswith(("running_var", "bn.weight")):
            x = rng.uniform(0.5, 1.5, shape)
        else:
            x = rng.normal(0, 0.2, shape)
        tensors[name] = x.astype(np.float32, copy=False)
    return tensors


@pytest.fixture(scope="module")
def tensors():
    return random_tensors(0)


@pytest.fixture(scope="module")
def variables(tensors):
    return tensors_to_variables(tensors)


@pytest.fixture(scope="module")
def layers():
    """Of the network whose images are resized to ``SIZE`` inside: activations and its layers'."""
    network, options = Inception(), {"mutable": ["intermediates"]}
    compiled = jax.jit(partial(network.apply, capture_intermediates=is_layer, **options))

    def apply_small(variables, images):
        with pytest.MonkeyPatch.context() as patch:
            resize = partial(resize_bilinear_tf1, size=SIZE)
            patch.setattr(network_module, "resize_bilinear_tf1", resize)
            return compiled(variables, images)

    return apply_small


def is_layer(module, method):
    return len(module.path) == 1


@pytest.fixture(scope="module")
def apply(layers):
    return lambda variables, images: layers(variables, images)[0]


@pytest.fixture(scope="module")
def activations(apply, variables):
    return jax.device_get(apply(variables, IMAGES))


def test_the_network_is_the_one_in_numpy(activations, tensors):
    """Its average pools do not count their padding, and that of the last block is a maximum."""
    features, logits = plain_inception.inception(tensors, IMAGES[0], SIZE)
    assert features.std() > 0.1  # the weights let something through
    np.testing.assert_allclose(activations.features[0], features, atol=1e-4, rtol=0)
    np.testing.assert_allclose(activations.logits[0], logits, atol=1e-4, rtol=0)


def test_an_image_does_not_depend_on_its_batch(apply, activations, variables):
    swapped = apply(variables, IMAGES[::-1]).features[::-1]
    np.testing.assert_allclose(swapped, activations.features, atol=1e-5, rtol=0)
    assert np.abs(swapped[0] - swapped[1]).max() > 1e-3


def test_sizes_of_the_network(layers, variables):
    """Of the graph of 2015, layer by layer, and of the PyTorch port, tensor by tensor.

    There 299 pixels become 149, 147, 73, 71, 35, 17 and 8.
    """
    count = {key: sum(x.size for x in jax.tree.leaves(variables[key])) for key in variables}
    assert count == {"params": 23_850_960, "batch_stats": 2 * 17_216}
    assert jax.eval_shape(resize_bilinear_tf1, ONE_IMAGE).shape == (1, 299, 299, 3)
    _, kept = layers(variables, IMAGES)
    outputs = {
        name: value["__call__"][0].shape[1:] for name, value in kept["intermediates"].items()
    }
    expected = {"Conv2d_1a_3x3": (53, 53, 32), "Conv2d_2a_3x3": (51, 51, 32)}
    expected |= {"Conv2d_2b_3x3": (51, 51, 64), "Conv2d_3b_1x1": (25, 25, 80)}
    expected |= {"Conv2d_4a_3x3": (23, 23, 192), "Mixed_5b": (11, 11, 256)}
    expected |= {f"Mixed_5{x}": (11, 11, 288) for x in "cd"}
    expected |= {f"Mixed_6{x}": (5, 5, 768) for x in "abcde"}
    expected |= {"Mixed_7a": (2, 2, 1280), "Mixed_7b": (2, 2, 2048), "Mixed_7c": (2, 2, 2048)}
    assert outputs == expected | {"fc": (1008,)}


@pytest.mark.parametrize("images", [np.zeros((1, 8, 8, 3)), np.zeros((1, 8, 8, 2), np.uint8)])
def test_other_images_are_refused(images):
    with pytest.raises(ValueError, match=r"^images must be uint8 \[B, H, W, 1 or 3\], got "):
        jax.eval_shape(Inception().init, jax.random.key(0), images)


def test_normalization_by_hand():
    layer = ConvNorm(1)
    x = np.array([0, 2, 2.1, 3], np.float32).reshape(1, 1, 4, 1)
    shapes = jax.eval_shape(layer.init, jax.random.key(0), x)
    values = {"kernel": 2.0, "scale": 3.0, "bias": -1.0, "mean": 4.0, "var": 0.003}
    variables = jax.tree.map_with_path(
        lambda path, like: np.full(like.shape, values[path[-1].key], like.dtype), shapes
    )
    expected = np.maximum((2 * np.array([0, 2, 2.1, 3]) - 4) / np.sqrt(0.004) * 3 - 1, 0)
    np.testing.assert_allclose(jax.jit(layer.apply)(variables, x).ravel(), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["npz", "zip", "stream"])
def test_weights_come_back_from_a_file(kind, tensors, tmp_path, monkeypatch):
    """Of the first layer, a later one and the last; all others in the extractor's test."""
    few = {
        k: v
        for k, v in list_tensors().items()
        if k.startswith(("Conv2d_1", "Mixed_7c.branch_pool", "fc"))
    }
    monkeypatch.setattr(weights_module, "list_tensors", lambda: few)
    tensors = {name: tensors[name] for name in few}
    variables = tensors_to_variables(tensors)
    path = tmp_path / f"weights.{'npz' if kind == 'npz' else 'pth'}"
    if kind == "npz":
        np.savez(path, **tensors)
    else:
        counter = {"Conv2d_1a_3x3.bn.num_batches_tracked": np.zeros(1, np.int64)}
        path.write_bytes(weights_bytes(kind, tensors | counter))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if kind != "npz":
        monkeypatch.setattr(weights_module, "FID_SHA256", sha256)
    weights = read_inception_weights(path)
    jax.tree.map(np.testing.assert_array_equal, weights.variables, variables)
    assert weights.sha256 == sha256
    assert weights.is_fid == (kind != "npz")


def test_grey_images_are_seen_as_rgb(monkeypatch):
    def first_layer(*_, **__):
        def stop(x):
            raise LookupError(x)  # the network is traced no further

        return stop

    @jax.jit
    def find_first_input(images):
        try:
            Inception().apply({}, images)
        except LookupError as reached:
            return reached.args[0]

    monkeypatch.setattr(network_module, "ConvNorm", first_layer)
    grey = IMAGES[..., :1]
    as_rgb = find_first_input(np.repeat(grey, 3, axis=-1))
    np.testing.assert_array_equal(find_first_input(grey), as_rgb)
    assert as_rgb.std() > 0.1


def test_the_extractor_gives_the_features_of_the_network(
    tensors, variables, apply, activations, tmp_path, monkeypatch
):
    path = tmp_path / "weights.npz"
    np.savez(path, **tensors)
    extractor = make_inception_extractor(path)
    assert (extractor.name, extractor.num_features) == ("other_inception", 2048)
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(extractor.fingerprint)
    monkeypatch.setattr(features_module, "Inception", lambda: SimpleNamespace(apply=apply))
    features = jax.eval_shape(features_module._compute_features, variables, IMAGES)
    assert features.shape == (2, extractor.num_features)
    monkeypatch.setattr(
        features_module, "_compute_features", lambda *arguments: apply(*arguments).features
    )
    extractor = dataclasses.replace(extractor, batch_size=2)
    found = extractor.extract(np.concatenate([IMAGES, IMAGES[:1]]))  # a batch and a part of one
    expected = activations.features[[0, 1, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


NAME = "Conv2d_1a_3x3.conv.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc.bias": None, "fc.weight": None}, "tensor fc.bias is missing (2 of 472 are)"),
        ({"AuxLogits.fc.bias": np.zeros(3)}, "tensor 'AuxLogits.fc.bias' is unexpected (1 are)"),
        (
            {NAME: np.zeros((3, 3, 3, 32), np.float32)},
            f"tensor {NAME} has shape [3, 3, 3, 32], expected [32, 3, 3, 3]",
        ),
        (
            {NAME: np.zeros((32, 3, 3, 3), np.int32)},
            f"tensor {NAME} has type int32, expected a float",
        ),
        (
            {NAME: np.full((32, 3, 3, 3), np.inf, np.float32)},
            f"tensor {NAME} has entries that are not finite",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(tensors, change, message):
    changed = {k: v for k, v in (tensors | change).items() if v is not None}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        tensors_to_variables(changed)


def test_files_that_are_no_weights(tmp_path):
    missing = tmp_path / "none.pth"
    with pytest.raises(ValueError, match=r"none\.pth does not exist; .*pt_inception-2015-12-05-67"):
        read_inception_weights(missing)
    with pytest.raises(ValueError, match=r"must be a \.pth or \.npz file, .*weights\.bin$"):
        read_inception_weights(tmp_path / "weights.bin")
    other = tmp_path / "other.pth"
    other.write_bytes(weights_bytes("zip", {"x": np.zeros(3, np.float32)}))
    with pytest.raises(
        ValueError, match=r"other\.pth does not fit: tensor Conv2d_1a_3x3\.bn\.bias is"
    ):
        read_inception_weights(other)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello", "cut", "objects"])
def test_damaged_npz_files_are_refused(content, tmp_path):
    path = tmp_path / "weights.npz"
    if content == "objects":  # whose pickle could run anything
        np.savez(path, x=np.array([{}], object))
    else:
        np.savez(path, x=np.zeros(100))
        path.write_bytes(path.read_bytes()[:300] if content == "cut" else content)
    with pytest.raises(
        ValueError, match=r"^inception_weights \S+ cannot be read as an .npz file: .+$"
    ):
        read_inception_weights(path)


def test_features_are_those_of_torch_fidelity(variables, tensors, tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch_fidelity")
    baseline = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    path = tmp_path / "weights.pth"
    torch.save({name: torch.from_numpy(x) for name, x in tensors.items()}, path)
    net = baseline.FeatureExtractorInceptionV3(
        "inception", ["2048", "logits"], feature_extractor_weights_path=str(path)
    )
    features, logits = net(torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()))
    activations = jax.jit(lambda *arguments: Inception().apply(*arguments))(variables, IMAGES)
    np.testing.assert_allclose(activations.features, features, atol=1e-4, rtol=0)
    np.testing.assert_allclose(activations.logits, logits, atol=1e-4, rtol=0)
