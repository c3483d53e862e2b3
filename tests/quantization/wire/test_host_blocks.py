"""Rows copied by the host against rows concatenated by XLA."""

import jax
import numpy as np
import pytest

from fedjax_diffusion.quantization import tree_to_blocks
from fedjax_diffusion.quantization.wire.host_blocks import make_blocks
from fedjax_diffusion.quantization.wire.layout import make_layout

SIZES = {
    "small": (0, 1, 0, 127, 128, 129, 300, 0),
    "empty": (0, 0),
    "large": (5, 2**20 + 3, 0, 77, 2**19, 128, 1),  # copied by two threads
    "one": (2**20 + 130,),
}


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("case", SIZES)
def test_rows_equal_those_of_the_device(case, backend, monkeypatch):
    rng = np.random.default_rng(0)
    tree = [jax.device_put(np.float32(rng.normal(size=n))) for n in SIZES[case]]
    expected = np.asarray(jax.jit(tree_to_blocks)(tree))
    monkeypatch.setattr(jax, "default_backend", lambda: backend)  # where the host is no device
    blocks = make_blocks(tree, make_layout(tree))
    assert isinstance(blocks, jax.Array)
    np.testing.assert_array_equal(blocks, expected)
