"""Registration of a user's own data sets and partitioners."""

import inspect
from collections.abc import Callable

import numpy as np

from fedjax_diffusion.data.partition import PARTITIONS, Partition, PartitionConfig
from fedjax_diffusion.data.sources import LOADERS, OWN_LOADERS, Loader
from fedjax_diffusion.host.own_names import add_name, digest_source

DivideFn = Callable[[np.ndarray, PartitionConfig, int], Partition]
"""``divide(labels int [N], config, seed) -> Partition``."""


def register_dataset(name: str, load: Loader) -> None:
    """Adds a data set of your own, for ``data.name``.

    Args:
      name: letters, digits and underscores, beginning with a letter.
      load: ``load(name, split, data_dir) -> ImageDataset``; it is first called when a command needs
        the images.

    Raises:
      ValueError: the name is taken, or ``load`` does not take three arguments.
    """
    _check_arguments("data set", name, load, ("name", "split", "data_dir"))
    if name in OWN_LOADERS:
        raise ValueError(f"data set {name!r} is one of the package's own; choose another name")
    add_name(LOADERS, "data set", name, load, digest_source(load))


def register_partitioner(name: str, divide: DivideFn) -> None:
    """Adds a partitioner of your own, for ``partition.name``; it is tried on 60 examples.

    Args:
      name: letters, digits and underscores, beginning with a letter.
      divide: ``divide(labels, config, seed)`` returns ``config.num_clients`` arrays of indices;
        its random numbers follow from the seed alone.

    Raises:
      ValueError: the name is taken, or the parts are not a division of all examples into one or
        more for each client, the same again for the same seed.
    """
    _check_arguments("partitioner", name, divide, ("labels", "config", "seed"))
    num_clients, labels = 4, np.arange(60) % 3
    config = PartitionConfig("iid", num_clients)
    first, again = (list(divide(labels.copy(), config, 7)) for _ in range(2))
    is_whole = all(np.issubdtype(np.asarray(part).dtype, np.integer) for part in first)
    if len(first) != num_clients or not is_whole or min(map(len, first)) < 1:
        raise ValueError(
            f"partitioner {name!r} must return {num_clients} arrays of whole numbers for "
            f"{num_clients} clients, none of them empty"
        )
    if not np.array_equal(np.sort(np.concatenate(first)), np.arange(len(labels))):
        raise ValueError(f"partitioner {name!r} must give each example to exactly one client")
    if not all(map(np.array_equal, first, again)):
        raise ValueError(f"partitioner {name!r} must give the same parts for the same seed")
    add_name(PARTITIONS, "partitioner", name, divide, digest_source(divide))


def _check_arguments(
    kind: str, name: str, function: Callable[..., object], arguments: tuple[str, ...]
) -> None:
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        text = ", ".join(arguments)
        raise ValueError(f"{kind} {name!r} must be a function of ({text})") from None
