"""The allocator against brute force, on 168 instances of seven families.

All combinations of bit widths, each client's time split by golden sections over the energy
(``Recomputation``, which shares no code with the allocator). Exact is: the same clients
participate, at the same energy, within the budget.
"""

import collections
import functools
import itertools
from typing import NamedTuple

import jax
import numpy as np
import pytest

from fedjax_diffusion.allocation import (
    Allocation,
    AllocationProblem,
    Status,
    allocate,
    verify,
)
from fedjax_diffusion.allocation.verification.recomputation import Recomputation
from fedjax_diffusion.bits import BIT_WIDTHS
from tests.allocation.padding import pad

NUM_INSTANCES = 8
NUM_CLIENTS = (1, 3, 4)
SLACK = 1 + 1e-12


def tight_budget(generator, num_clients):
    """From out of reach to just met by the largest bit widths."""
    del num_clients
    return {"max_bits": 8, "error_budget": 10 ** generator.uniform(-5.5, -3.5)}


def loose_budget(generator, num_clients):
    """The demanded bit widths meet it, or nearly."""
    del num_clients
    return {"error_budget": generator.choice([10 ** generator.uniform(-2, 2), np.inf])}


def demands(generator, num_clients):
    """Every client between its own two bit widths, some of which contradict each other."""
    return {
        "min_bits": generator.integers(1, 9, num_clients),
        "max_bits": generator.integers(3, 17, num_clients),
        "error_budget": 10 ** generator.uniform(-4, -1),
    }


def late_clients(generator, num_clients):
    """Some cannot even deliver what they demand."""
    gain = np.where(generator.random(num_clients) < 0.4, 1e-17, 1e-12)
    return {"channel_gain": gain, "error_budget": 10 ** generator.uniform(-4, -1)}


def undeliverable_bit_widths(generator, num_clients):
    """The deadline cuts off some bit widths within the limits."""
    reach = generator.uniform(2.0, 14.0, num_clients)  # bits that arrive
    seconds = 1e9 / 2e9 + 8.0
    return {
        "compute_cycles": 1e9,
        "max_frequency_hz": 2e9,
        "bandwidth_hz": 267_000 * reach / 8.0 / np.log2(1 + 10.0),
        "channel_gain": 10.0 * 10**-20.4 * 267_000 * reach / 8.0 / np.log2(11.0) / 0.2,
        "time_budget_seconds": seconds,
        "min_bits": 1,
        "max_bits": 16,
        "error_budget": 10 ** generator.uniform(-3, 0),
    }


def own_tables(generator, num_clients):
    """Payload and error per bit width in no order at all."""
    shape = (num_clients, len(BIT_WIDTHS))
    return {
        "bit_width_payload_bits": 10 ** generator.uniform(4.5, 7.0, shape),
        "bit_width_error": 10 ** generator.uniform(-5, 1, shape),
        "min_bits": generator.choice([1, 4], num_clients),
        "max_bits": generator.choice([12, 32], num_clients),
        "error_budget": 10 ** generator.uniform(-4, 0),
    }


def full_precision(generator, num_clients):
    """32 bits are allowed, and sometimes nothing else will do."""
    return {
        "max_bits": generator.choice([16, 32, 32], num_clients),
        "error_budget": generator.choice([0.0, 0.0, 1e-11, 1e-9]),
    }


FAMILIES = (
    tight_budget,
    loose_budget,
    demands,
    late_clients,
    undeliverable_bit_widths,
    own_tables,
    full_precision,
)


class Instance(NamedTuple):
    """A problem, its answer, and what brute force makes of it."""

    problem: AllocationProblem
    allocation: Allocation
    energy: np.ndarray  # [B, K], infinite where a bit width is late or not allowed
    error: np.ndarray  # [B, K]
    is_able: np.ndarray  # [K], some bit width is left
    least_joules: float  # of those who are able; infinite if the budget is out of reach


def combinations(rows):
    """Sums [B^K] over the clients of a table [B, K]."""
    return functools.reduce(lambda sums, row: np.add.outer(sums, row).ravel(), rows.T)


def brute_force(energy, error, budget):
    """The least energy of all combinations of bit widths whose error meets the budget."""
    if not energy.shape[1]:
        return 0.0
    is_met = combinations(error) <= budget * SLACK
    return float(np.min(combinations(energy), where=is_met, initial=np.inf))


def tabulate(problem):
    """The problem with its formulas in tables, made anew: one program solves every family.

    Problems without tables are in ``test_on_demand.py``.
    """
    anew = Recomputation(problem, problem.bandwidth_hz)
    return problem.replace(
        bit_width_payload_bits=anew.bit_width_payloads().T,
        bit_width_error=anew.bit_width_errors().T,
    )


def solve(problem):
    """The answer of a problem; one number of clients, so that it compiles once."""
    answer = allocate(pad(tabulate(problem), max(NUM_CLIENTS)))
    return jax.tree.map(lambda x: x[: problem.num_clients] if x.ndim else x, answer)


@pytest.fixture(scope="module")
def instances(make_problem):
    """Returns ``instances(family, num_clients)``; one compilation for all."""

    @functools.cache
    def make(family, num_clients):
        generator = np.random.default_rng([FAMILIES.index(family), num_clients])
        problems = [
            make_problem(num_clients, seed, **family(generator, num_clients))
            for seed in range(NUM_INSTANCES)
        ]
        return [compare(problem, solve(problem)) for problem in problems]

    return make


def compare(problem, allocation):
    anew = Recomputation(problem, problem.bandwidth_hz)
    energy, error = anew.bit_width_joules(0.0), anew.bit_width_errors()
    is_able = np.isfinite(energy).any(axis=0)
    budget = float(problem.error_budget)
    least = brute_force(energy[:, is_able], error[:, is_able], budget)
    return Instance(problem, allocation, energy, error, is_able, least)


@pytest.mark.parametrize("num_clients", NUM_CLIENTS, ids="{} clients".format)
@pytest.mark.parametrize(
    "family", FAMILIES, ids=lambda family: f"{NUM_INSTANCES} x {family.__name__}"
)
def test_equals_brute_force(instances, family, num_clients):
    for problem, allocation, _, _, is_able, least in instances(family, num_clients):
        demanding = problem.min_bits > problem.max_bits
        reason = np.where(demanding, Status.INFEASIBLE_DEMAND, Status.INFEASIBLE_TIME)
        others = Status.OPTIMAL if np.isfinite(least) else Status.INFEASIBLE_ERROR
        np.testing.assert_array_equal(allocation.status, np.where(is_able, others, reason))
        if np.isfinite(least):
            np.testing.assert_allclose(allocation.total_joules, least, rtol=1e-10)
            assert allocation.error <= problem.error_budget * SLACK
            assert allocation.dual_bound_joules <= least * (1 + 1e-10)
        assert verify(problem, allocation).violations == ()


def kinds(instance):
    """Which kinds of instance this is: ``(kind, whether it is one)``."""
    problem, allocation, energy, error, is_able, least = instance
    is_solved = bool(np.isfinite(least)) and bool(is_able.any())
    is_allowed = Recomputation(problem, problem.bandwidth_hz).is_allowed
    yield "the budget binds", is_solved and allocation.multiplier > 0
    yield "the budget is loose", is_solved and allocation.multiplier == 0
    yield "the budget is out of reach", not np.isfinite(least)
    yield "there is no budget", np.isinf(problem.error_budget)
    yield "the budget is zero", problem.error_budget == 0
    yield "a client is late", np.any(allocation.status == Status.INFEASIBLE_TIME)
    yield "a client demands too much", np.any(allocation.status == Status.INFEASIBLE_DEMAND)
    yield "a bit width is late", np.any(is_allowed & np.isinf(energy) & is_able)
    yield "demands differ", np.unique(problem.min_bits).size > 1
    yield "32 bits are sent", np.any(allocation.num_bits == 32)
    yield "bits differ by 4", is_solved and np.ptp(allocation.num_bits[is_able]) >= 4
    yield "more bits have more error", np.any(np.diff(error, axis=0) > 0)


def test_every_kind_of_instance_occurs(instances):
    counts = collections.Counter()
    for family, num_clients in itertools.product(FAMILIES, NUM_CLIENTS):
        for instance in instances(family, num_clients):
            counts["instances"] += 1
            counts.update({kind: bool(is_one) for kind, is_one in kinds(instance)})
    assert counts["instances"] >= 160
    assert {kind: count for kind, count in counts.items() if count < 5} == {}
