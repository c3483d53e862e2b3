"""What cannot run here is at least lowered for it: every program, for CUDA and for TPU.

Lowering asks no device and compiles nothing: an operation without a rule for a platform is found,
and so is a number that a TPU does not have.
"""

import functools
import re

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.extend.core import Primitive
from jax.interpreters import mlir
from jax.sharding import PartitionSpec as P

from fedjax_diffusion.diffusion import CONV_LOWERINGS, make_conv
from fedjax_diffusion.evaluation.classifier import Classifier
from fedjax_diffusion.evaluation.inception.network import Inception
from fedjax_diffusion.experiment.compute import make_mesh
from fedjax_diffusion.experiment.sampling import SamplingConfig, make_sampler_program
from fedjax_diffusion.federated import (
    CLIENT_MAPS,
    ClientInputs,
    ClientMapping,
    SharedInputs,
    make_client_map,
)
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.quantization import (
    QUANTIZERS,
    QuantizationConfig,
    quantize,
    stochastic_quantize,
)
from fedjax_diffusion.quantization.wire.packing import code_dtype, pack_codes, unpack_codes
from tests.accelerators.networks import (
    BATCH_SIZE,
    IMAGE_SHAPE,
    KEY,
    NUM_CLIENTS,
    SCHEDULE,
    client_data,
    network,
    one_block,
    play,
    shapes_of,
    simulator_of,
)
from tests.tiny import PixelConfig, make_pixels

two_numbers = functools.partial(make_pixels, PixelConfig(), IMAGE_SHAPE)
PLATFORMS = ("cuda", "tpu")
NUM_DEVICES = 8
CHUNK_SIZE = 2
COMPILED_MAPS = [name for name in CLIENT_MAPS if name != "loop"]
FLOAT64 = re.compile(r"tensor<[^>]*f64")
INT64 = re.compile(r"tensor<(?:\d+x)*i64>")
"""Signed: ``jax.random`` counts its draws in unsigned ones, which every platform has."""
ATTRIBUTE = re.compile(r"= dense<[^>]*> : tensor<[^>]*>")
"""Of an operation, known to the compiler only: replica groups are int64."""

ROUNDS = {
    "map, plain, bfloat16, labels, dropout, eight devices": {
        "client_map": "map",
        "conv": "plain",
        "dropout": 0.1,
        "dtype": "bfloat16",
        "num_classes": 2,
        "client_optimizer": optax.sgd(0.1),
        "num_devices": NUM_DEVICES,
    },
    "vmap, two numbers a pixel, rotated with feedback, one device": {
        "network": two_numbers,
        "client_map": "vmap",
        "quantization": QuantizationConfig("rotated", error_feedback=True, entropy_coding=True),
    },
    "chunked, rows, again for gradients, qsgd, eight devices": {
        "client_map": "chunked",
        "conv": "rows",
        "remat": True,
        "quantization": QuantizationConfig("qsgd"),
        "client_optimizer": optax.sgd(0.1),
        "num_devices": NUM_DEVICES,
    },
}
"""Their network has each layer once, or none: a loop under ``vmap`` is traced several times.

``chunked`` maps by ``vmap``, too. Every convolution with every mapping is in the test of gradients,
the U-Net in those of samplers.
"""
OF_ROUNDS = {options.get("quantization", QuantizationConfig()).name for options in ROUNDS.values()}
"""Quantizers."""
NETWORK_OPTIONS = ("conv", "dtype", "dropout", "num_classes", "remat")


def lower(function, *arguments):
    """Returns one text for all platforms, with a branch where they differ; may be given jitted."""
    jitted = function if hasattr(function, "trace") else jax.jit(function)
    return jitted.trace(*arguments).lower(lowering_platforms=PLATFORMS).as_text()


def assert_no_64_bits(text):
    assert FLOAT64.findall(text) == []
    assert INT64.findall(ATTRIBUTE.sub("", text)) == []


def chunk_size_of(client_map):
    return CHUNK_SIZE if client_map == "chunked" else None


def update():
    """Returns the shapes of an update, an empty tensor and a number among them."""
    sizes = {"kernel": (3, 3, 5, 16), "bias": (16,), "empty": (0, 2), "scalar": ()}
    return {name: jax.ShapeDtypeStruct(size, jnp.float32) for name, size in sizes.items()}


def test_numbers_of_64_bits_are_found():
    with jax.enable_x64(True):
        text = lower(lambda x: x.astype(jnp.float64) + 1, jax.ShapeDtypeStruct((2,), jnp.float32))
        counted = lower(lambda x: x.astype(jnp.int64) + 1, jax.ShapeDtypeStruct((), jnp.int32))
    for found in (text, counted):
        with pytest.raises(AssertionError):
            assert_no_64_bits(found)


@pytest.mark.parametrize(("known", "missing"), [PLATFORMS, PLATFORMS[::-1]])
def test_an_operation_without_a_rule_for_one_platform_is_found(known, missing):
    only_there = Primitive(f"only_{known}")
    only_there.def_abstract_eval(lambda x: x)
    mlir.register_lowering(only_there, lambda ctx, x: [x], platform=known)
    with pytest.raises(NotImplementedError, match=f"only_{known}.* not found .*{missing}"):
        lower(only_there.bind, jax.ShapeDtypeStruct((2,), jnp.float32))


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_branch_of_one_platform_is_looked_through(platform):
    def widen(x):
        return x.astype(jnp.float64).astype(jnp.float32)

    def own(x):
        return jax.lax.platform_dependent(x, **{platform: widen}, default=jnp.sin)

    with jax.enable_x64(True):
        text = lower(own, jax.ShapeDtypeStruct((2,), jnp.float32))
    with pytest.raises(AssertionError):
        assert_no_64_bits(text)


def test_the_rounds_cover_every_value_of_every_axis():
    chosen = [{"dtype": "float32", "num_devices": 1} | options for options in ROUNDS.values()]
    assert {options["client_map"] for options in chosen} == {*COMPILED_MAPS}
    for axis in ("dtype", "num_devices"):
        assert len({options[axis] for options in chosen}) == 2


@pytest.mark.parametrize("name", ROUNDS)
def test_a_round_is_lowered(name):
    """From the clients' data to the next state, as the simulator plays it."""
    options = dict(ROUNDS[name])
    of_network = {key: options.pop(key) for key in NETWORK_OPTIONS if key in options}
    num_devices = options.get("num_devices", 1)
    chunk_size = chunk_size_of(options["client_map"])
    denoiser = options.pop("network", one_block)(**of_network)
    simulator = simulator_of(denoiser, chunk_size=chunk_size, **options)
    data = client_data()

    def step(state, images, labels, indices):
        held = data.replace(images=images, labels=labels, indices=indices)
        return play(simulator, state, held, [8] * NUM_CLIENTS)

    state = jax.eval_shape(lambda key: simulator.init(key, data), KEY)
    text = lower(step, state, *shapes_of((data.images, data.labels, data.indices)))
    assert_no_64_bits(text)
    assert ("stablehlo.all_reduce" in text) == (num_devices > 1)
    assert ("bf16" in text) == (of_network.get("dtype") == "bfloat16")


@pytest.mark.parametrize("conv", CONV_LOWERINGS)
@pytest.mark.parametrize("client_map", COMPILED_MAPS)
def test_gradients_of_clients_with_kernels_of_their_own_are_lowered(client_map, conv):
    """Every mapping of clients with every way to compute their convolutions, each in both dtypes.

    The dtypes alternate as on a chessboard.
    """
    is_odd = ([*COMPILED_MAPS].index(client_map) + [*CONV_LOWERINGS].index(conv)) % 2
    dtype = jnp.bfloat16 if is_odd else jnp.float32
    convolve = functools.partial(
        make_conv(conv),
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )

    def loss_fn(kernels, images):
        small, large = jax.tree.map(lambda kernel: kernel.astype(dtype), kernels)
        hidden = jnp.tanh(convolve(images.astype(dtype), large))
        return jnp.square(convolve(hidden, small)).mean().astype(jnp.float32)

    def client_fn(shared, one):
        loss, gradients = jax.value_and_grad(loss_fn)(one.client_memory, shared.data)
        return gradients, loss

    def of_cohort(kernels, images):
        zeros = jnp.zeros(NUM_CLIENTS, jnp.int32)
        cohort = ClientInputs(zeros, zeros, zeros, zeros, zeros, kernels)
        mapping = make_client_map(ClientMapping(client_map, chunk_size_of(client_map)))
        return mapping(client_fn, SharedInputs(KEY, jnp.int32(0), (), images), cohort)

    sizes = (NUM_CLIENTS, 1, 1, 4, 1), (NUM_CLIENTS, 3, 3, 1, 4)
    kernels = [jax.ShapeDtypeStruct(size, jnp.float32) for size in sizes]
    images = jax.ShapeDtypeStruct((BATCH_SIZE, *IMAGE_SHAPE), jnp.float32)
    text = lower(of_cohort, kernels, images)
    assert_no_64_bits(text)
    assert ("stablehlo.convolution" in text) == (conv in ("stock", "plain"))


@pytest.mark.parametrize(
    ("sampler", "scale", "dtype", "num_devices"),
    [
        ("ddim", 1.0, "bfloat16", NUM_DEVICES),
        ("ancestral", 1.0, "float32", 1),
        ("ddim", 2.0, "float32", 1),
        ("ancestral", 2.0, "bfloat16", NUM_DEVICES),
    ],
)
def test_a_sampler_is_lowered(sampler, scale, dtype, num_devices):
    """With guidance where the scale is not 1; once of a U-Net of two levels."""
    make = network if (sampler, scale) == ("ddim", 2.0) else one_block
    denoiser = make(dtype=dtype, num_classes=None if scale == 1 else 2)
    config = SamplingConfig(1, BATCH_SIZE, sampler, None, guidance_scale=scale)
    mesh = make_mesh(num_devices)
    draw = make_sampler_program(config, denoiser, SCHEDULE, IMAGE_SHAPE, mesh).draw_batches
    num_batches = num_devices * (2 if dtype == "bfloat16" else 1)  # two at once on a device, or one
    keys = jax.eval_shape(lambda: jax.random.split(seed_to_key(0), num_batches))
    labels = jax.ShapeDtypeStruct((num_batches, BATCH_SIZE), jnp.int32)
    params = jax.eval_shape(denoiser.init, KEY)
    assert_no_64_bits(lower(draw, keys, None if scale == 1 else labels, params))


def test_the_quantizer_is_lowered_on_several_devices():
    mesh = make_mesh(NUM_DEVICES)
    clients = P(mesh.axis_names[0])
    quantize_update = jax.shard_map(
        jax.vmap(stochastic_quantize), mesh=mesh, in_specs=clients, out_specs=clients
    )
    keys = jax.eval_shape(lambda: jax.random.split(seed_to_key(0), NUM_DEVICES))
    num_bits = jax.ShapeDtypeStruct((NUM_DEVICES,), jnp.int32)
    trees = jax.tree.map(lambda x: jax.ShapeDtypeStruct((NUM_DEVICES, *x.shape), x.dtype), update())
    assert_no_64_bits(lower(quantize_update, keys, trees, num_bits))


@pytest.mark.parametrize(
    ("name", "per_tensor"),
    [
        *((name, True) for name in QUANTIZERS),
        *((name, False) for name in sorted({*QUANTIZERS} - OF_ROUNDS)),
    ],
)
def test_a_quantizer_is_lowered(name, per_tensor):
    """One bit width for all tensors is in the rounds, too."""
    like = update()
    num_rows = sum(-(-x.size // 128) for x in jax.tree.leaves(like))

    def upload(key, blocks, num_bits):
        quantizer = QUANTIZERS[name]
        return quantize(quantizer, key, blocks, like, num_bits, bits_per_tensor=per_tensor)

    blocks = jax.ShapeDtypeStruct((num_rows, 128), jnp.float32)
    num_bits = jax.ShapeDtypeStruct((), jnp.int32)
    assert_no_64_bits(lower(upload, KEY, blocks, num_bits))


def test_packing_and_unpacking_are_lowered_at_every_bit_width():
    rows = {b: jax.ShapeDtypeStruct((4, 128), code_dtype(b)) for b in range(1, 17)}

    def pack(codes):
        return {b: pack_codes(array, b) for b, array in codes.items()}

    words = jax.eval_shape(pack, rows)
    assert_no_64_bits(lower(pack, rows))
    assert_no_64_bits(lower(lambda w: {b: unpack_codes(w[b], b) for b in w}, words))


@pytest.mark.parametrize(
    ("extractor", "image_shape"),
    [(Classifier(10), (8, 8, 1)), (Inception(), (32, 32, 3))],
    ids=["classifier", "inception"],
)
def test_what_extracts_features_is_lowered(extractor, image_shape):
    images = jax.ShapeDtypeStruct((BATCH_SIZE, *image_shape), jnp.uint8)
    variables = jax.eval_shape(extractor.init, KEY, images)
    assert_no_64_bits(lower(extractor.apply, variables, images))
