"""Bits per tensor against brute force, an integer program and the relaxed optimum."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from fedjax_diffusion.bits import BIT_WIDTHS, UNIFORM_ERROR_CURVE
from fedjax_diffusion.quantization import QUANTIZERS, quantize, split_bits, tree_to_blocks
from fedjax_diffusion.quantization.qsgd import MIN_QSGD_BITS, qsgd_error_curve
from fedjax_diffusion.quantization.tensor_bits import bits_to_tree, split_bit_widths

MIXED = (1, 32, 9216, 64, 18432, 128, 9216, 32, 4096, 288)
FEW = (32, 9216, 40, 4096)
ORDER = np.random.default_rng(1).permutation(len(MIXED) + 1)
WITH_EMPTY = tuple(np.array((*MIXED, 0))[ORDER].tolist())
"""The same tensors in another order, with an empty one among them."""
to_blocks = jax.jit(tree_to_blocks)
MOST = 20
"""Instances of one call of ``solve``."""


@functools.cache
def solve(sizes, error_curve=None, min_bits=1):
    """``(range variances [n, L]) -> bits [n, B, L]``, one program for each set of sizes."""
    sizes = np.array(sizes)
    error_curve = UNIFORM_ERROR_CURVE if error_curve is None else error_curve(sizes)
    split = functools.partial(
        split_bit_widths, sizes=sizes, error_curve=error_curve, min_bits=min_bits
    )
    split_all = jax.jit(jax.vmap(split))

    def run(energies):
        filled = np.zeros((MOST, len(sizes)), np.float32)
        filled[: len(energies)] = energies
        return np.asarray(split_all(filled))[: len(energies)]

    return run


def draw_energies(sizes, num, spread=3.0, seed=0):
    """Range energies whose ratio to the size varies over ``spread`` orders, float32 [num, L]."""
    r = np.random.default_rng(seed)
    return np.float32(np.array(sizes) * 10 ** r.uniform(-spread, 0, (num, len(sizes))))


def errors(energies, bits, error_curve=UNIFORM_ERROR_CURVE):
    """``sum_j V_j curve_j(b_j)`` in float64; bits [..., L], energies broadcast against them."""
    index = np.minimum(np.asarray(bits), 17) - 1
    table = np.broadcast_to(error_curve, (17, index.shape[-1]))
    return (table[index, np.arange(index.shape[-1])] * np.float64(energies)).sum(-1)


def relaxed_gap(energies, sizes, num_bits):
    """What the first increment that does not fit would save: the most that greedy can lose."""
    sizes, energies = np.array(sizes), np.float64(energies)
    saved = (
        energies[:, None] * (UNIFORM_ERROR_CURVE[:15] - UNIFORM_ERROR_CURVE[1:16])[None, :, 0]
    ).ravel()
    costs = np.repeat(sizes, 15)
    order = np.argsort(-saved / costs, kind="stable")
    is_over = np.cumsum(costs[order]) > sizes.sum() * (num_bits - 1)
    return saved[order][is_over][0] if is_over.any() else 0.0


@pytest.mark.parametrize("sizes", [MIXED, FEW])
def test_fits_the_payload_and_never_loses_to_uniform_bits(sizes):
    energies = draw_energies(sizes, MOST)
    bits = np.asarray(solve(sizes)(energies))
    bit_widths = np.array(BIT_WIDTHS)
    assert ((bits * np.array(sizes)).sum(-1) <= bit_widths * sum(sizes)).all()
    uniform = np.broadcast_to(bit_widths[:, None], bits.shape[1:])
    limit = errors(energies[:, None], uniform)
    assert (errors(energies[:, None], bits) <= limit * (1 + 1e-6)).all()
    assert (bits[:, :16] >= 1).all()
    assert (bits[:, :16] <= 16).all()
    assert (bits[:, 16] == 32).all()
    unspent = bit_widths * sum(sizes) - (bits * np.array(sizes)).sum(-1)
    smallest_step = np.where(bits < 16, np.array(sizes), np.inf).min(-1)
    is_split = (bits != bit_widths[:, None]).any(-1)
    assert (unspent < smallest_step)[is_split].all()


COMBINATIONS = np.array(list(itertools.product(range(1, 17), repeat=4)))


def test_brute_force_finds_no_better():
    """Within one increment; some instances have no range. Equal sizes are in the next tests."""
    energies = draw_energies(FEW, 12)
    energies[:4] *= np.tri(4, dtype=np.float32)
    bits = np.asarray(solve(FEW)(energies))
    payloads = (COMBINATIONS * np.array(FEW)).sum(1)
    for v, solved in zip(energies, bits, strict=True):
        table = errors(v, COMBINATIONS)
        for num_bits in (1, 2, 3, 5, 8, 13, 16):
            best = table[payloads <= sum(FEW) * num_bits].min()
            gap = relaxed_gap(v, FEW, num_bits)
            assert errors(v, solved[num_bits - 1]) <= (best + gap) * (1 + 1e-6)


def best_by_integer_program(energies, sizes, num_bits):
    """One binary variable per tensor and bit width, HiGHS."""
    num_tensors = len(sizes)
    cost = (np.float64(energies)[:, None] * UNIFORM_ERROR_CURVE[:16, 0][None, :]).ravel()
    picks_one = np.kron(np.eye(num_tensors), np.ones(16))
    payload = np.kron(sizes, np.arange(1, 17))[None, :]
    answer = milp(
        cost / cost.max(),
        constraints=[
            LinearConstraint(picks_one, 1, 1),
            LinearConstraint(payload, -np.inf, sum(sizes) * num_bits),
        ],
        integrality=np.ones(cost.size),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 1e-9},
    )
    assert answer.status == 0
    return answer.fun * cost.max()


@pytest.mark.parametrize("num_bits", [2, 4])
def test_an_integer_program_finds_no_better(num_bits):
    """Exact where the sizes are equal, of ten tensors, else within one increment."""
    for sizes in ((64,) * 10, MIXED):
        energies = draw_energies(sizes, 2, spread=2.0)
        bits = np.asarray(solve(sizes)(energies))[:, num_bits - 1]
        for v, solved in zip(energies, bits, strict=True):
            best = best_by_integer_program(v, sizes, num_bits)
            gap = relaxed_gap(v, sizes, num_bits) if len(set(sizes)) > 1 else 0.0
            assert best * (1 - 1e-5) <= errors(v, solved) <= (best + gap) * (1 + 1e-5)


def test_equal_ranges_give_uniform_bits():
    bits = solve(MIXED)(np.float32(MIXED)[None] * np.float32(0.37))[0]
    np.testing.assert_array_equal(bits, np.array(BIT_WIDTHS)[:, None] + np.zeros(len(MIXED), int))


def test_tensors_without_a_range_get_one_bit():
    energies = draw_energies(WITH_EMPTY, 1)[0]
    is_flat = np.isin(ORDER, [2, 5, 10])  # the tenth is empty
    energies[is_flat] = 0
    bits = np.asarray(solve(WITH_EMPTY)(energies[None]))[0]
    assert (bits[:16, is_flat] == 1).all()
    assert (bits[16] == 32).all()
    assert (np.asarray(solve(WITH_EMPTY)(0 * energies[None]))[0, :16] == 1).all()


@pytest.mark.parametrize("unit", [2.0**-100, 2.0**100])
def test_only_ratios_of_the_ranges_count(unit):
    energies = draw_energies(MIXED, 20)
    np.testing.assert_array_equal(solve(MIXED)(energies * np.float32(unit)), solve(MIXED)(energies))


def test_permutes_with_the_tensors_and_ignores_an_empty_one():
    energies = draw_energies(MIXED, 20)
    bits = np.pad(solve(MIXED)(energies), ((0, 0), (0, 0), (0, 1)))
    permuted = solve(WITH_EMPTY)(np.pad(energies, ((0, 0), (0, 1)))[:, ORDER])
    is_full = np.array((*MIXED, 0))[ORDER] > 0
    np.testing.assert_array_equal(permuted[..., is_full], bits[..., ORDER[is_full]])


def test_the_payload_of_a_billion_parameters_does_not_overflow():
    sizes = (700_000_001, 300_000_000, 5, 1_000_003)
    energies = draw_energies(sizes, 20)
    bits = np.asarray(solve(sizes)(energies), np.int64)
    assert ((bits * np.array(sizes)).sum(-1) <= np.array(BIT_WIDTHS) * sum(sizes)).all()
    uniform = errors(energies, np.full(len(sizes), 8))
    assert (errors(energies, bits[:, 7]) <= uniform * (1 + 1e-6)).all()
    assert (errors(energies, bits[:, 7]) < 0.9 * uniform).any()


def test_one_program_for_any_bit_width_and_the_same_in_a_loop():
    traces = []

    @jax.jit
    def split(energies, num_bits):
        traces.append(num_bits)
        return split_bits(energies, np.array(MIXED), num_bits)

    energies = draw_energies(MIXED, 5)
    looped = np.array([[split(v, jnp.int32(b)) for b in BIT_WIDTHS] for v in energies])
    np.testing.assert_array_equal(solve(MIXED)(energies), looped)
    assert len(traces) == 1


def test_another_law_and_a_least_bit_width():
    """QSGD on equal sizes, where greedy is exact; below its least bit width nothing is split."""
    sizes = (90,) * 4
    energies = draw_energies(sizes, 10)
    bits = np.asarray(solve(sizes, qsgd_error_curve, MIN_QSGD_BITS)(energies))
    error_curve = qsgd_error_curve(np.array(sizes))
    combinations = COMBINATIONS[COMBINATIONS.min(1) >= MIN_QSGD_BITS]
    assert (bits[:, 0] == 1).all()
    for v, solved in zip(energies, bits, strict=True):
        table = errors(v, combinations, error_curve)
        for num_bits in (2, 3, 6, 16):
            best = table[combinations.sum(1) <= 4 * num_bits].min()
            assert errors(v, solved[num_bits - 1], error_curve) <= best * (1 + 1e-6)


TREE = [
    np.float32(scale * np.random.default_rng(j).normal(size=size))
    for j, (size, scale) in enumerate([(300, 1.0), (300, 0.1), (40, 3.0), (500, 0.01)])
]


def test_a_split_upload_costs_no_more_and_errs_less():
    """Also where the squared ranges, 1e-50, are below float32 and only their ratios are left.

    QSGD has an error curve and a least bit width of its own.
    """

    @functools.partial(jax.jit, static_argnums=2)
    def run(blocks, num_bits, bits_per_tensor):
        key = jax.random.key(0)
        return quantize(
            QUANTIZERS["qsgd"], key, blocks, TREE, num_bits, bits_per_tensor=bits_per_tensor
        )

    sizes = np.array([x.size for x in TREE])
    for scale, num_bits in itertools.product((1.0, 1e-25), (3, 5)):
        blocks = to_blocks([np.float32(scale) * x for x in TREE])
        uniform, split = (run(blocks, np.int32(num_bits), flag) for flag in (False, True))
        bits = np.asarray(split.grid.num_bits)
        assert (bits * sizes).sum() <= sizes.sum() * num_bits
        assert len(set(bits.tolist())) > 1
        relative = [
            np.mean(((np.asarray(q.decoded, np.float64) - np.asarray(blocks)) / scale) ** 2)
            for q in (uniform, split)
        ]
        assert relative[1] < 0.8 * relative[0]
        if scale == 1.0:
            planned = float(split.bit_width_error[num_bits - 1])
            np.testing.assert_allclose(split.error_bound, planned, rtol=2.0**-6)
            assert planned < uniform.bit_width_error[num_bits - 1]


def test_bits_become_a_tree_of_scalars():
    like = {"a": np.zeros(3), "b": [np.zeros(2), np.zeros(1)]}
    tree = bits_to_tree(jnp.array([1, 2, 3]), like)
    assert jax.tree.map(int, tree) == {"a": 1, "b": [2, 3]}
