"""Partitions: what all partitioners promise, then what each one means."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjax_diffusion.data import (
    PARTITIONS,
    PartitionConfig,
    describe_partition,
    partition,
    partition_dirichlet,
    partition_iid,
    partition_quantity_skew,
    partition_shards,
)

every_partitioner = pytest.mark.parametrize("partitioner", sorted(PARTITIONS))
LABELS = np.random.default_rng(0).integers(0, 10, 1_000)
TINY, HUGE = 5e-324, 1.7e308  # the smallest and (almost) the largest float


@st.composite
def problems(draw):
    """Labels and a config that every partitioner can satisfy."""
    labels = draw(st.lists(st.integers(-3, 5), min_size=1, max_size=60))
    num_clients = draw(st.integers(1, len(labels)))
    config = {
        "num_clients": num_clients,
        "alpha": draw(st.sampled_from([TINY, 1e-3, 0.1, 1, 100.0, HUGE])),
        "shards_per_client": draw(st.integers(1, len(labels) // num_clients)),
    }
    return np.array(labels), config, draw(st.integers(0, 2**32))


def to_lists(parts):
    return [part.tolist() for part in parts]


@every_partitioner
@settings(max_examples=60, deadline=None)
@given(problems())
def test_every_example_has_one_owner_and_nobody_is_empty(partitioner, problem):
    labels, fields, seed = problem
    config = PartitionConfig(partitioner, **fields)
    parts = partition(labels, config, seed=seed)
    assert len(parts) == config.num_clients
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    for part in parts:
        assert part.dtype == np.int32
        assert part.size > 0
        assert (np.diff(part) > 0).all()
    assert to_lists(partition(labels, config, seed=seed)) == to_lists(parts)


@every_partitioner
def test_seed_decides_and_the_callers_arrays_are_left_alone(partitioner):
    config, labels = PartitionConfig(partitioner, 7), LABELS.copy()
    partitions = [to_lists(partition(labels, config, seed=seed)) for seed in range(4)]
    assert len({str(parts) for parts in partitions}) == 4
    np.testing.assert_array_equal(labels, LABELS)


@every_partitioner
def test_examples_of_a_class_are_exchangeable(partitioner):
    """Neighbors share an owner as often as the first and the last example do: 5 sigma."""
    config, num_seeds = PartitionConfig(partitioner, 3), 400
    is_shared = np.zeros((num_seeds, 2))
    for seed in range(num_seeds):
        for part in partition(np.zeros(12, np.int64), config, seed=seed):
            is_shared[seed] += [{0, 1} <= set(part.tolist()), {0, 11} <= set(part.tolist())]
    difference = is_shared[:, 0].sum() - is_shared[:, 1].sum()
    assert abs(difference) < 5 * np.sqrt(2 * num_seeds / 4)


@every_partitioner
def test_as_many_clients_as_examples_get_one_each(partitioner):
    config = PartitionConfig(partitioner, 30, alpha=TINY, shards_per_client=1)
    parts = partition(LABELS[:30], config, seed=0)
    assert [part.size for part in parts] == [1] * 30


@every_partitioner
def test_config_reaches_its_partitioner(partitioner):
    """Each number changes the partitions of the partitioners that use it, and of no others."""
    config = PartitionConfig(partitioner, 7, alpha=0.3, shards_per_client=2)
    users = {"alpha": {"dirichlet", "quantity_skew"}, "shards_per_client": {"shards"}}
    default = to_lists(partition(LABELS, config, seed=0))
    for field, value in (("alpha", 3.0), ("shards_per_client", 5)):
        changed = dataclasses.replace(config, **{field: value})
        is_same = to_lists(partition(LABELS, changed, seed=0)) == default
        assert is_same != (partitioner in users[field])


@every_partitioner
def test_too_many_clients(partitioner):
    config = PartitionConfig(partitioner, 1_001, shards_per_client=1)
    with pytest.raises(ValueError, match="must be at most the 1000 examples, got 1001"):
        partition(LABELS, config, seed=0)


@every_partitioner
@pytest.mark.parametrize("labels", [LABELS / 2, LABELS[:, None], LABELS > 3])
def test_labels_must_be_integers(partitioner, labels):
    with pytest.raises(ValueError, match="labels must be integers"):
        partition(labels, PartitionConfig(partitioner, 2), seed=0)


@pytest.mark.parametrize("alpha", [0, -1.0, np.inf, np.nan, True, "0.5", None])
def test_alpha_is_a_positive_finite_number(alpha):
    for partitioner in (partition_dirichlet, partition_quantity_skew):
        with pytest.raises(ValueError, match="alpha must be a number in"):
            partitioner(LABELS, 3, alpha=alpha, seed=0)
    with pytest.raises(ValueError, match="alpha must be a number in"):
        PartitionConfig("iid", 3, alpha=alpha)


@pytest.mark.parametrize("count", [0, -1, 2.0, True, "3", None])
def test_counts_are_positive_integers(count):
    with pytest.raises(ValueError, match="num_clients must be a whole number in 1"):
        partition_iid(LABELS, count, seed=0)
    with pytest.raises(ValueError, match="num_clients must be a whole number in 1"):
        PartitionConfig("iid", count)
    with pytest.raises(ValueError, match="shards_per_client must be a whole number in 1"):
        partition_shards(LABELS, 3, shards_per_client=count, seed=0)
    with pytest.raises(ValueError, match="shards_per_client must be a whole number in 1"):
        PartitionConfig("iid", 3, shards_per_client=count)


def test_unknown_partitioner_names_the_partitioners():
    with pytest.raises(
        ValueError, match=r"partition\.name must be one of iid, dirichlet, .*, got 'random'"
    ):
        PartitionConfig("random", 3)


def test_more_shards_than_examples():
    with pytest.raises(
        ValueError, match=r"shards_per_client must be at most 333 for 1000 .* got 334"
    ):
        partition_shards(LABELS, 3, shards_per_client=334, seed=0)


def test_iid_sizes_differ_by_at_most_one():
    sizes = [part.size for part in partition_iid(LABELS, 7, seed=0)]
    assert sorted(sizes) == [142] * 1 + [143] * 6


def test_iid_is_uniform():
    """Each example goes to each client equally often: 5 sigma of a binomial."""
    num_seeds, counts = 2_000, np.zeros((6, 3))
    for seed in range(num_seeds):
        for client, part in enumerate(partition_iid(LABELS[:6], 3, seed=seed)):
            counts[part, client] += 1
    sigma = np.sqrt(num_seeds * (1 / 3) * (2 / 3))
    assert np.abs(counts - num_seeds / 3).max() < 5 * sigma


def test_dirichlet_skew_falls_with_alpha():
    skews = [
        describe_partition(LABELS, partition_dirichlet(LABELS, 10, alpha=alpha, seed=0))
        for alpha in (1e-3, 0.1, 1.0, 10.0, 1e3)
    ]
    skews = [facts["label_skew"] for facts in skews]
    assert skews == sorted(skews, reverse=True)
    assert skews[0] > 0.7  # hardly any class is shared: 1 - 1/10 at most, if all classes are equal
    assert skews[-1] < 0.05


@pytest.mark.parametrize("partitioner", [partition_dirichlet, partition_quantity_skew])
def test_shares_have_the_mean_and_the_variance_of_the_dirichlet(partitioner):
    """One client's share of one class is Beta(alpha, (K - 1) alpha): both moments to 5 sigma."""
    alpha, num_seeds, labels = 0.7, 2_000, np.zeros(1_000, np.int64)
    sizes = [partitioner(labels, 4, alpha=alpha, seed=seed)[0].size for seed in range(num_seeds)]
    share = scipy.stats.beta(alpha, 3 * alpha)
    mean, variance, excess_kurtosis = (float(moment) for moment in share.stats("mvk"))
    deviations = np.array(sizes) / 1_000 - mean
    assert abs(deviations.mean()) < 5 * np.sqrt(variance / num_seeds)
    sigma = variance * np.sqrt((excess_kurtosis + 2) / num_seeds)
    assert abs((deviations**2).mean() - variance) < 5 * sigma


def test_dirichlet_of_huge_alpha_gives_everyone_the_same():
    """Also where a class has fewer examples than there are clients, and rounding decides."""
    labels = np.repeat(np.arange(20), 10)
    parts = partition_dirichlet(labels, 50, alpha=HUGE, seed=0)
    facts = describe_partition(labels, parts)
    # 20 classes hand each of 50 clients one example with probability 1/5: mean 4, sigma 1.8.
    assert facts["examples_median"] in (3.0, 3.5, 4.0)
    assert facts["examples_max"] <= 4 + 5 * 1.8


def test_quantity_skew_of_huge_alpha_gives_equal_sizes():
    parts = partition_quantity_skew(LABELS, 10, alpha=HUGE, seed=0)
    assert [part.size for part in parts] == [100] * 10


def test_quantity_skew_leaves_the_mix_of_labels():
    """The largest client's labels against all labels: chi-square, 9 degrees of freedom, 5 sigma."""
    labels = np.sort(LABELS)
    largest = max(partition_quantity_skew(labels, 10, alpha=0.5, seed=0), key=len)
    counts = np.bincount(labels[largest], minlength=10)
    expected = np.bincount(labels) * largest.size / labels.size
    assert ((counts - expected) ** 2 / expected).sum() < 9 + 5 * np.sqrt(18)


def test_shards_give_few_classes_and_equal_sizes():
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(10), 100))
    facts = describe_partition(labels, partition_shards(labels, 10, shards_per_client=2, seed=0))
    assert facts["examples_min"] == facts["examples_max"] == 100
    assert facts["classes_max"] == 2


def test_description_of_a_partition_by_hand():
    labels = np.array([7, 7, 7, 9, 9, 5])
    parts = [np.array([0, 1, 2]), np.array([3]), np.array([4, 5])]
    # Overall (7: 1/2, 9: 1/3, 5: 1/6); distances 1/2, 2/3 and (1/2 + 1/6 + 1/3) / 2 = 1/2.
    assert describe_partition(labels, parts) == {
        "num_clients": 3,
        "num_examples": 6,
        "examples_min": 1,
        "examples_median": 2.0,
        "examples_max": 3,
        "classes_min": 1,
        "classes_median": 1.0,
        "classes_max": 2,
        "label_skew": pytest.approx((1 / 2 + 2 / 3 + 1 / 2) / 3),
    }
