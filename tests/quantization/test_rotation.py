"""The rotation: orthogonal, a function of its seed alone, undone up to float32 rounding."""

import jax
import numpy as np
import pytest
from scipy.linalg import hadamard

from fedjax_diffusion.quantization import (
    Grid,
    encode_update,
    is_quantizable,
    make_grid,
    tree_to_blocks,
)
from fedjax_diffusion.quantization.bounds import grid_error_bound, grid_range_variance
from fedjax_diffusion.quantization.rotation import (
    ROUNDING,
    make_rotated_grid,
    rotate,
    rotate_back,
    rotated_error_bound,
)
from tests.each import check_each
from tests.quantization.uploads import make_tree

LIKE = [np.zeros(shape, np.float32) for shape in (340, (2, 128), 5, (0, 2), 64)]
NUM_FULL = np.array([2, 2, 1, 2, 2, 0, 1])  # blocks of 64 in each row
FULL = np.arange(2) < NUM_FULL[:, None]
SEED = np.array([1, 2], np.uint32)
jit_rotate = jax.jit(lambda seed, blocks: rotate(seed, blocks, LIKE))
jit_rotate_back = jax.jit(lambda seed, blocks: rotate_back(seed, blocks, LIKE))
DENSE = np.zeros((1000, 128), np.float32)
jit_tree_to_blocks = jax.jit(tree_to_blocks)
jit_dense_rotate = jax.jit(lambda seed, blocks: rotate(seed, blocks, DENSE))
jit_dense_rotate_back = jax.jit(lambda seed, blocks: rotate_back(seed, blocks, DENSE))
dense_range_variance = jax.jit(
    lambda values: grid_range_variance(make_grid(values, DENSE, 8), DENSE)
)


@jax.jit
def dense_ratio(values, num_bits):
    """Returns the error bound with what rotating rounds, over that without."""
    grid = make_grid(values, DENSE, num_bits)
    return rotated_error_bound(grid, DENSE) / grid_error_bound(grid, DENSE)


def draw_blocks(seed=0):
    return jit_tree_to_blocks(
        [np.float32(np.random.default_rng(seed).normal(size=x.shape)) for x in LIKE]
    )


def cut(blocks):
    """Rows of 128 as pairs of 64: [R, 2, 64]."""
    return np.asarray(blocks, np.float64).reshape(len(FULL), 2, 64)


def find_signs(seed):
    """The signs [R, 2, 64] that the seed gives full blocks: the image of e_i starts with s_i."""
    units = np.tile(np.eye(64, dtype=np.float32)[:, None, :], (1, len(FULL), 2))
    return np.stack([np.sign(cut(jit_rotate(seed, x)))[:, :, 0] for x in units], axis=-1)


def test_is_the_hadamard_transform_of_the_signed_blocks():
    x = cut(draw_blocks())
    expected = (find_signs(SEED) * x) @ hadamard(64) / 8
    rotated = cut(jit_rotate(SEED, draw_blocks()))
    np.testing.assert_allclose(rotated[FULL], expected[FULL], atol=1e-5)
    np.testing.assert_array_equal(rotated[~FULL], x[~FULL])


def test_signs_are_fair_and_come_from_the_seed_alone():
    seeds = np.random.default_rng(0).integers(2**32, size=(20, 2), dtype=np.uint32)
    signs = np.stack([find_signs(seed)[FULL] for seed in seeds]).reshape(-1, 64)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert abs(signs.mean()) <= 5 / np.sqrt(signs.size)
    correlations = signs @ signs.T / 64 - np.eye(len(signs))  # of blocks and seeds
    assert np.abs(correlations).max() <= 5 / np.sqrt(64)
    np.testing.assert_array_equal(find_signs(seeds[0]), find_signs(seeds[0]))


@pytest.mark.parametrize("kind", ["normal", "spike", "constant", "geometric", "huge"])
def test_rounding_stays_within_its_allowance(kind):
    """Each way costs at most half of it, in units of the block's norm."""
    r = np.random.default_rng(0)
    rows = {
        "normal": r.normal(size=(2000, 64)),
        "spike": np.eye(64)[r.integers(0, 64, 2000)] * r.normal(size=(2000, 1)),
        "constant": np.ones((2000, 64)) * r.normal(size=(2000, 1)),
        "geometric": r.normal(size=(2000, 64)) * 2.0 ** -np.arange(64),
        "huge": 1e30 * r.normal(size=(2000, 64)),
    }[kind]
    blocks = np.float32(rows).reshape(1000, 128)
    rotated = jit_dense_rotate(SEED, blocks)
    exact, image, restored = (
        np.asarray(x, np.float64).reshape(2000, 64)
        for x in (blocks, rotated, jit_dense_rotate_back(SEED, rotated))
    )
    norms = np.linalg.norm(exact, axis=1)
    assert (np.linalg.norm(restored - exact, axis=1) <= ROUNDING * norms).all()
    assert (np.abs(np.linalg.norm(image, axis=1) - norms) <= ROUNDING / 2 * norms).all()


def test_the_bound_counts_what_rounding_adds():
    """A tensor that came out constant has nothing to quantize, but was rotated all the same."""
    like = np.zeros(640, np.float32)
    bound = jax.jit(lambda grid: rotated_error_bound(grid, like))
    grid = Grid(*(np.float32([x]) for x in (-3.0, 0.0, 16, 0.0)))
    grid = grid._replace(num_bits=np.int32([16]))
    rounding = 640 * (3 * ROUNDING) ** 2
    assert float(bound(grid)) == pytest.approx(rounding, rel=1e-5)
    lo, step, spread = (np.float32([x]) for x in (-1.0, 2.0**-14, 4.0))
    wide = grid._replace(lo=lo, step=step, spread=spread)
    quantization = 640 * 2.0**-28 / 4
    expected = (np.sqrt(quantization) + np.sqrt(rounding)) ** 2
    assert float(bound(wide)) == pytest.approx(expected, rel=1e-5)
    assert float(bound(grid._replace(num_bits=np.int32([32])))) == 0


def test_rounding_is_below_the_quantization_error():
    def check(num_bits):
        normal = np.float32(np.random.default_rng(0).normal(size=DENSE.shape))
        ratio = dense_ratio(jit_dense_rotate(SEED, normal), num_bits)
        assert 1 <= ratio <= (1.01 if num_bits <= 12 else 1.15)

    check_each(range(1, 17), check)


def test_heavy_tails_gain():
    """A block with a single 1 becomes entries of 1/8 or -1/8: its range falls from 1 to 1/4."""
    spikes = np.float32(np.eye(128)[np.random.default_rng(0).integers(1, 64, 1000)])
    plain, rotated = map(dense_range_variance, (spikes, jit_dense_rotate(SEED, spikes)))
    np.testing.assert_allclose(rotated / plain, 1 / 16, rtol=1e-6)


def test_what_could_leave_float32_when_rotated_back_is_not_quantizable():
    """The sender leaves it out, as the wire refuses it, instead of failing when it is encoded."""
    largest = float(np.finfo(np.float32).max) / 64
    is_sendable = jax.jit(
        lambda tree: is_quantizable(make_rotated_grid(tree_to_blocks(tree), tree, 4))
    )
    for scale, expected in ((0.3 * largest, True), (1.2 * largest, False)):
        tree = make_tree("zero")
        tree["w"][:3] = [scale, 0.0, scale / 2]
        assert is_sendable(tree) == expected
        if expected:
            encode_update(jax.random.key(0), tree, 4, quantizer="rotated")
        else:
            with pytest.raises(ValueError, match=r"\['w'\] cannot be sent"):
                encode_update(jax.random.key(0), tree, 4, quantizer="rotated")
