"""What a round sent: the lengths of the very messages, and of nothing else."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.federated import ClientReport, Upload
from fedjax_diffusion.federated.traffic import make_count_traffic
from fedjax_diffusion.keys import words_to_key
from fedjax_diffusion.quantization import (
    QuantizationConfig,
    find_quantizer,
    make_layout,
    payload_bytes,
    quantize,
    tree_to_blocks,
    write_upload,
)

TREE = {
    "w": np.float32(np.random.default_rng(0).standard_normal((40, 50))),
    "b": np.linspace(0.0, 1.0, 7, dtype=np.float32),
}
NUM_BITS = [2, 0, 5, 32, 3]
IS_INCLUDED = [True, False, True, True, False]  # the last one diverged
KEYS = words_to_key(np.random.default_rng(1).integers(2**32, size=(5, 2), dtype=np.uint32))
BLOCKS = np.asarray(jax.jit(tree_to_blocks)(TREE))


@functools.cache
def upload_of(name, per_tensor):
    """Returns ``(key, num_bits) -> Upload`` of TREE, one program per way to quantize."""
    quantizer = find_quantizer(name)

    @jax.jit
    def send(key, num_bits):
        sent = quantize(quantizer, key, BLOCKS, TREE, num_bits, bits_per_tensor=per_tensor)
        codes = jnp.where(sent.grid.num_bits.max() <= 16, sent.codes, 0).astype(jnp.uint16)
        return Upload(sent.grid.num_bits, sent.grid.lo, sent.grid.step, sent.seed, codes)

    return send


def report_of(config):
    """Returns what the round reports of clients that all send TREE."""
    send = upload_of(config.name, config.per_tensor)
    uploads = [send(key, jnp.int32(b or 1)) for key, b in zip(KEYS, NUM_BITS, strict=True)]
    stacked = jax.tree.map(lambda *x: np.stack(x), *uploads)
    nothing = jnp.zeros(len(NUM_BITS))
    return ClientReport(np.array(IS_INCLUDED), nothing, nothing, nothing, nothing, stacked)


def write_message(config, report, m):
    """Returns the message of client m; ``test_uplink.py`` holds it to be what a client sends."""
    upload = jax.tree.map(lambda x: np.asarray(x)[m], report.upload)
    return write_upload(
        make_layout(TREE),
        config.name,
        upload.bit_widths,
        upload.lo,
        upload.step,
        upload.seed,
        upload.codes,
        floats=BLOCKS,
        entropy_coding=config.entropy_coding,
    )


@pytest.mark.parametrize("entropy_coding", [False, True])
@pytest.mark.parametrize(("quantizer", "per_tensor"), [("rotated", False), ("nearest", True)])
def test_bytes_are_the_lengths_of_the_messages(quantizer, per_tensor, entropy_coding):
    if entropy_coding:
        pytest.importorskip("constriction")
    config = QuantizationConfig(
        quantizer, per_tensor, entropy_coding=entropy_coding, downlink_bits=8
    )
    report = report_of(config)
    traffic = make_count_traffic(TREE, config)(np.array(NUM_BITS), report)
    lengths = [
        len(write_message(config, report, m)) if is_included else 0
        for m, is_included in enumerate(IS_INCLUDED)
    ]
    assert traffic.uplink_bytes.tolist() == lengths
    broadcast = payload_bytes(TREE, 8)
    assert traffic.downlink_bytes.tolist() == [broadcast * (b > 0) for b in NUM_BITS]
    if entropy_coding:
        assert lengths[0] < payload_bytes(TREE, 2, quantizer)
    elif not per_tensor:
        assert lengths[0] == payload_bytes(TREE, 2, quantizer)
