"""Partitions of the examples over clients: labels -> one index array per client.

Every partitioner chooses an *owner* for each example. One function then makes the partition, with
these properties:

* every example belongs to exactly one client, and no client is empty;
* equal arguments give equal partitions; all randomness comes from the seed (stream ``PARTITION``);
* indices are int32 and ascending.

If a partitioner leaves a client without examples, the client gets a random one from the client
with the most examples.
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, TypeAlias

import numpy as np

from fedjax_diffusion.keys import Stream, stream_seed
from fedjax_diffusion.values import Count, OneOf, Range, check_fields, check_value

Partition: TypeAlias = list[np.ndarray]
"""One int32 index array [N_k] per client, N_k >= 1; together they are 0..N-1."""
Concentration: TypeAlias = Annotated[float, Range(0, sys.float_info.max, is_above=True)]


@dataclasses.dataclass(frozen=True)
class PartitionConfig:
    """Settings of the partition of examples over clients.

    Attributes:
      name: a key of ``PARTITIONS``.
      num_clients: number K of clients, >= 1.
      alpha: concentration of the Dirichlet partitioners, > 0 and finite; small values are very
        uneven. Others ignore it.
      shards_per_client: shards of each client, >= 1, for ``shards``. Others ignore it.

    Raises:
      ValueError: a field is out of range.
    """

    name: Annotated[str, OneOf(lambda: PARTITIONS)]
    num_clients: Count
    alpha: Concentration = 0.5
    shards_per_client: Count = 2

    def __post_init__(self) -> None:
        """Checks the ranges of the fields."""
        check_fields(self, "partition")


def partition(labels: np.ndarray, config: PartitionConfig, *, seed: int) -> Partition:
    """Returns the partition that ``config`` describes.

    Args:
      labels: int [N].
      config: the partitioner and its parameters.
      seed: >= 0, the run's seed.

    Raises:
      ValueError: more clients (or shards) than examples.

    >>> labels = np.arange(6) % 2
    >>> config = PartitionConfig("shards", num_clients=2, shards_per_client=1)
    >>> sorted(indices.tolist() for indices in partition(labels, config, seed=0))
    [[0, 2, 4], [1, 3, 5]]
    """
    try:
        return PARTITIONS[config.name](labels, config, seed)
    except ValueError as error:
        raise ValueError(f"partition: {error}") from None


def partition_iid(labels: np.ndarray, num_clients: int, *, seed: int) -> Partition:
    """Distributes the examples at random; client sizes differ by at most one.

    Args:
      labels: int [N]; only their number matters.
      num_clients: K in 1..N.
      seed: >= 0.

    Raises:
      ValueError: an argument is outside its range.
    """
    labels, rng = _check_labels(labels, num_clients), _make_rng(seed)
    owners = rng.permutation(len(labels)) % num_clients
    return _owners_to_parts(rng, owners, num_clients)


def partition_dirichlet(
    labels: np.ndarray, num_clients: int, *, alpha: float, seed: int
) -> Partition:
    """Distributes the examples of each class over the clients in shares p ~ Dirichlet(alpha).

    Label skew: alpha -> infinity gives every client the same mix of classes, alpha -> 0 gives every
    class to one client.

    Args:
      labels: int [N].
      num_clients: K in 1..N.
      alpha: > 0, finite.
      seed: >= 0.

    Raises:
      ValueError: an argument is outside its range.

    Source: M. Yurochkin et al., "Bayesian Nonparametric Federated Learning of Neural Networks",
    ICML 2019; T.-M. H. Hsu et al., arXiv 1909.06335, draw the mix per client instead.
    """
    labels, rng = _check_labels(labels, num_clients), _make_rng(seed)
    check_value("alpha", alpha, Concentration)
    owners = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        owners[members] = _dirichlet_owners(rng, len(members), num_clients, alpha)
    return _owners_to_parts(rng, owners, num_clients)


def partition_quantity_skew(
    labels: np.ndarray, num_clients: int, *, alpha: float, seed: int
) -> Partition:
    """Distributes the examples at random, in shares p ~ Dirichlet(alpha) of all examples.

    Quantity skew: clients differ in the number of examples, not in the mix of classes.

    Args:
      labels: int [N]; only their number matters.
      num_clients: K in 1..N.
      alpha: > 0, finite.
      seed: >= 0.

    Raises:
      ValueError: an argument is outside its range.

    Source: Q. Li et al., "Federated Learning on Non-IID Data Silos: An Experimental Study", ICDE
    2022, section IV-C.
    """
    labels, rng = _check_labels(labels, num_clients), _make_rng(seed)
    check_value("alpha", alpha, Concentration)
    owners = _dirichlet_owners(rng, len(labels), num_clients, alpha)
    return _owners_to_parts(rng, rng.permutation(owners), num_clients)


def partition_shards(
    labels: np.ndarray, num_clients: int, *, shards_per_client: int, seed: int
) -> Partition:
    """Sorts the examples by label, cuts equal shards and gives each client the same number of them.

    Shard sizes differ by at most one, so a client has about ``shards_per_client`` classes.

    Args:
      labels: int [N].
      num_clients: K in 1..N.
      shards_per_client: >= 1, with K * shards_per_client <= N.
      seed: >= 0.

    Raises:
      ValueError: an argument is outside its range.

    Source: H. B. McMahan et al., "Communication-Efficient Learning of Deep Networks from
    Decentralized Data", AISTATS 2017, section 3.
    """
    labels, rng = _check_labels(labels, num_clients), _make_rng(seed)
    check_value("shards_per_client", shards_per_client, Count)
    num_shards = num_clients * shards_per_client
    if num_shards > len(labels):
        raise ValueError(
            f"shards_per_client must be at most {len(labels) // num_clients} for {len(labels)} "
            f"examples and {num_clients} clients, got {shards_per_client}"
        )
    shuffled = rng.permutation(len(labels))
    by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
    shard_owners = rng.permutation(num_shards) % num_clients
    owners = np.empty(len(labels), np.int64)
    owners[by_label] = shard_owners[np.arange(len(labels)) * num_shards // len(labels)]
    return _owners_to_parts(rng, owners, num_clients)


PARTITIONS: dict[str, Callable[[np.ndarray, PartitionConfig, int], Partition]] = {
    "iid": lambda labels, c, seed: partition_iid(labels, c.num_clients, seed=seed),
    "dirichlet": lambda labels, c, seed: partition_dirichlet(
        labels, c.num_clients, alpha=c.alpha, seed=seed
    ),
    "shards": lambda labels, c, seed: partition_shards(
        labels, c.num_clients, shards_per_client=c.shards_per_client, seed=seed
    ),
    "quantity_skew": lambda labels, c, seed: partition_quantity_skew(
        labels, c.num_clients, alpha=c.alpha, seed=seed
    ),
}


def describe_partition(labels: np.ndarray, parts: Sequence[np.ndarray]) -> dict[str, float]:
    """Returns statistics of a partition, all as plain Python numbers.

    Returns:
      ``num_clients``, ``num_examples``; ``examples_min``, ``_median``, ``_max`` and
      ``classes_min``, ``_median``, ``_max`` per client; ``label_skew`` in [0, 1), the mean over
      clients of the total variation distance ``1/2 sum_c |p_k(c) - p(c)|`` between the class
      frequencies of the client and of all examples: 0 is iid.

    >>> facts = describe_partition(np.array([0, 0, 1, 1]), [np.array([0, 1]), np.array([2, 3])])
    >>> facts["classes_max"], facts["label_skew"]
    (1, 0.5)
    """
    classes, codes = np.unique(labels, return_inverse=True)
    counts = np.stack([np.bincount(codes[part], minlength=len(classes)) for part in parts])
    examples, classes_seen = counts.sum(axis=1), (counts > 0).sum(axis=1)
    overall = counts.sum(axis=0) / counts.sum()
    distances = 0.5 * np.abs(counts / examples[:, None] - overall[None, :]).sum(axis=1)
    return {
        "num_clients": len(parts),
        "num_examples": int(examples.sum()),
        **_spread("examples", examples),
        **_spread("classes", classes_seen),
        "label_skew": float(distances.mean()),
    }


def _spread(name: str, values: np.ndarray) -> dict[str, float]:
    return {
        f"{name}_min": int(values.min()),
        f"{name}_median": float(np.median(values)),
        f"{name}_max": int(values.max()),
    }


def _dirichlet_owners(
    rng: np.random.Generator, num_examples: int, num_clients: int, alpha: float
) -> np.ndarray:
    """Returns owners [N] in shares p ~ Dirichlet(alpha), rounded so that they sum to N.

    The clients are in random order: else rounding would favor the same clients in every class.
    """
    # Above 1e100 all shares are equal to the last bit, and NumPy's normalization would overflow.
    shares = rng.dirichlet(np.full(num_clients, min(alpha, 1e100)))
    quantiles = (np.arange(num_examples) + 0.5) / num_examples
    turns = np.searchsorted(np.cumsum(shares)[:-1], quantiles)
    return rng.permutation(num_clients)[turns]


def _owners_to_parts(rng: np.random.Generator, owners: np.ndarray, num_clients: int) -> Partition:
    """Returns each client's ascending indices; an empty client is first given one example."""
    counts = np.bincount(owners, minlength=num_clients)
    for empty in np.flatnonzero(counts == 0):
        donor = int(np.argmax(counts))
        owners[rng.choice(np.flatnonzero(owners == donor))] = empty
        counts[donor] -= 1
        counts[empty] = 1
    order = np.argsort(owners, kind="stable").astype(np.int32)
    return np.split(order, np.cumsum(counts)[:-1])


def _make_rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(stream_seed(seed, Stream.PARTITION))


def _check_labels(labels: np.ndarray, num_clients: int) -> np.ndarray:
    """Returns the labels as an array; checks that they are integers [N] and at least K."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be integers [N], got {labels.dtype} {list(labels.shape)}")
    check_value("num_clients", num_clients, Count)
    if num_clients > len(labels):
        raise ValueError(
            f"num_clients must be at most the {len(labels)} examples, got {num_clients}"
        )
    return labels
