"""Where codes lie: the stream of a message against its description, code by code."""

import math

import jax
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedjax_diffusion.quantization.wire.layout import (
    make_layout,
    packed_to_stream,
    stream_to_packed,
)

TENSORS = st.lists(st.tuples(st.integers(0, 300), st.sampled_from([*range(1, 17), 32])), max_size=9)


def check_stream(tensors, seed):
    rng = np.random.default_rng(seed)
    sizes, bit_widths = [n for n, _ in tensors], [b for _, b in tensors]
    layout = make_layout([jax.ShapeDtypeStruct((n,), np.float32) for n in sizes])
    num_rows = sum(-(-n // 128) for n in sizes)
    packed = {b: np.frombuffer(rng.bytes(16 * b * num_rows), np.uint8) for b in bit_widths}
    numbers = {b: int.from_bytes(rows.tobytes(), "little") for b, rows in packed.items()}

    wholes, leftovers, row = [], [], 0
    for size, bit_width in tensors:
        first = 128 * row
        code = [
            numbers[bit_width] >> bit_width * (first + i) & (2**bit_width - 1) for i in range(size)
        ]
        wholes += [(c, bit_width) for c in code[: size - size % 8]]
        leftovers += [(c, bit_width) for c in code[size - size % 8 :]]
        row += -(-size // 128)
    expected = num_bits = 0
    for code, bit_width in wholes + leftovers:
        expected |= code << num_bits
        num_bits += bit_width

    pieces = packed_to_stream(packed, layout, bit_widths)
    stream = np.concatenate([*pieces, np.zeros(0, np.uint8)])
    assert num_bits == layout.num_code_bits(bit_widths)
    assert stream.tobytes() == expected.to_bytes(math.ceil(num_bits / 8), "little")
    again = packed_to_stream(stream_to_packed(stream, layout, bit_widths), layout, bit_widths)
    assert np.concatenate([*again, np.zeros(0, np.uint8)]).tobytes() == stream.tobytes()


@given(tensors=TENSORS, seed=st.integers(0, 9))
@example(tensors=[(64, 16), (64, 8)], seed=0)  # the second starts at the byte where the first ends
@example(tensors=[(128, 5), (256, 5), (0, 5), (130, 5)], seed=0)
@settings(max_examples=50, deadline=None)
def test_whole_bytes_of_all_tensors_then_their_leftovers(tensors, seed):
    check_stream(tensors, seed)


@pytest.mark.slow
@given(tensors=TENSORS, seed=st.integers(0, 9))
@settings(max_examples=500, deadline=None)
def test_streams_of_many_models(tensors, seed):
    check_stream(tensors, seed)


def test_full_tensors_of_one_bit_width_are_one_piece():
    """A message of a large model is copied in a few pieces, not in one per tensor."""
    layout = make_layout([jax.ShapeDtypeStruct((n,), np.float32) for n in (128, 256, 3, 128, 128)])
    assert layout.runs([4] * 5) == [(4, slice(0, 192)), (4, slice(256, 384))]
    assert layout.runs([4, 8, 4, 8, 8]) == [
        (4, slice(0, 64)),
        (8, slice(128, 384)),
        (8, slice(512, 768)),
    ]


def test_a_layout_is_made_once_and_names_every_tensor():
    tree = {"up": {"bias": np.ones(2, np.float32)}, "in": [np.ones((3, 4), np.float32)]}
    layout = make_layout(tree)
    assert layout is make_layout(jax.eval_shape(lambda: tree))
    assert layout.names == ("['in'][0]", "['up']['bias']")
    assert (layout.sizes, layout.first_groups, layout.num_groups) == ((12, 2), (0, 16), 32)
    assert make_layout(tree["in"][0]).names == ("(root)",)
    others = [{"up": tree["up"], "in": tuple(tree["in"])}, {"up": tree["up"], "on": tree["in"]}]
    same, renamed = (make_layout(other).fingerprint for other in others)
    assert same == layout.fingerprint != renamed
