"""A model as rows: nothing is lost, filling counts nowhere, ranges are those of the tensors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.quantization.blocks import (
    ROW,
    blocks_squared_norm,
    blocks_to_tree,
    row_tensors,
    tensor_ranges,
    tensor_sizes,
    tree_to_blocks,
)

SIZES = [0, 1, 5, ROW - 1, ROW, ROW + 1, 3 * ROW, 1000]


def make_tree(dtype=np.float32):
    """Returns tensors of all sizes, of different signs."""
    rng = np.random.default_rng(0)
    return {
        f"{size:04d}": rng.normal(loc=3 - i, size=size).astype(dtype)
        for i, size in enumerate(SIZES)
    } | {"matrix": rng.normal(size=(3, 50, 2)).astype(dtype)}


jit_blocks = jax.jit(tree_to_blocks)
jit_ranges = jax.jit(lambda tree: tensor_ranges(tree_to_blocks(tree), tree))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_there_and_back(dtype):
    tree = make_tree(dtype)
    back = jax.jit(lambda tree: blocks_to_tree(tree_to_blocks(tree), tree))(tree)
    assert all(x.dtype == dtype for x in jax.tree.leaves(back))
    jax.tree.map(np.testing.assert_array_equal, back, tree)


def test_each_row_belongs_to_one_tensor():
    tree = make_tree()
    blocks, rows = np.asarray(jit_blocks(tree)), row_tensors(tree)
    assert blocks.shape == (len(rows), ROW)
    for j, x in enumerate(jax.tree.leaves(tree)):
        own = np.asarray(blocks[rows == j]).ravel()
        np.testing.assert_array_equal(own[: x.size], x.ravel())
        assert (own[x.size :] == x.ravel()[:1]).all()
        assert own.size == -(-x.size // ROW) * ROW
    np.testing.assert_array_equal(tensor_sizes(tree), [x.size for x in jax.tree.leaves(tree)])


def test_squared_norm_counts_no_filling():
    tree = make_tree()
    expected = sum(np.square(np.asarray(x, np.float64)).sum() for x in jax.tree.leaves(tree))
    computed = float(jax.jit(lambda x: blocks_squared_norm(x, tree))(jit_blocks(tree)))
    np.testing.assert_allclose(computed, expected, rtol=1e-6)


@pytest.mark.parametrize("scale", [1.0, -1.0, 1e-38, 1e38])
def test_ranges(scale):
    with np.errstate(over="ignore"):
        tree = jax.tree.map(lambda x: x * np.float32(scale), make_tree())
    lo, hi = map(np.asarray, jit_ranges(tree))
    for j, x in enumerate(jax.tree.leaves(tree)):
        expected = (np.min(x), np.max(x)) if x.size else (0, 0)
        assert (lo[j], hi[j]) == expected


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([-0.0, 0.0], (0.0, 0.0)),
        ([0.0, -np.inf, 1.0], (-np.inf, 1.0)),
        ([-3e38, np.inf], (-3e38, np.inf)),
        ([-np.inf, np.inf], (-np.inf, np.inf)),
    ],
)
def test_ranges_with_infinities_and_zeros(entries, expected):
    lo, hi = jit_ranges({"x": jnp.array(entries)})
    assert (lo[0], hi[0]) == tuple(np.float32(expected))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("place", [0, 77, 129])
def test_a_nan_of_either_sign_is_seen_and_stays_in_its_tensor(sign, place):
    x = np.zeros(130, np.float32)
    x[place] = np.copysign(np.float32(np.nan), sign)
    lo, hi = jit_ranges({"x": x, "y": jnp.arange(3.0)})
    assert np.isnan(hi[0] - lo[0])
    assert (lo[1], hi[1]) == (0, 2)


def test_ranges_under_vmap():
    trees = jax.tree.map(lambda x: np.stack([x, 2 * x, -x]), make_tree())
    mapped = jax.jit(jax.vmap(jit_ranges))(trees)
    for m in range(3):
        alone = jit_ranges(jax.tree.map(lambda x, m=m: x[m], trees))
        jax.tree.map(
            np.testing.assert_array_equal, jax.tree.map(lambda x, m=m: x[m], mapped), alone
        )
