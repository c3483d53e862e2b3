"""Clients' data on the host; each round transfers those of its cohort to the device."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Sharding

from fedjax_diffusion.data.clients import ClientData, check_parts, count_slots
from fedjax_diffusion.data.dataset import ImageDataset


class CohortData(NamedTuple):
    """The data of one round.

    Attributes:
      data: rows of clients, on the device.
      rows: int32 [M], rows of the cohort's clients in it.
    """

    data: ClientData
    rows: np.ndarray


LoadCohort = Callable[[np.ndarray], CohortData]
"""``load(cohort int32 [M]) -> CohortData``; it does not wait for the device."""


def make_load_resident(data: ClientData) -> LoadCohort:
    """Returns the loader of a cohort if the data of all clients are on the device."""
    return lambda cohort: CohortData(data, cohort)


class StreamedClients:
    """K clients with images in the host's memory or in a file that is mapped into it.

    The arrays of all cohorts have the same shape, so one program reads them.

    Attributes:
      num_examples: int32 [K], at least 1.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        parts: Sequence[np.ndarray],
        cohort_size: int,
        num_slots: int | None = None,
    ):
        """Checks the parts like ``make_client_data``.

        Args:
          dataset: N examples.
          parts: K arrays of indices in 0..N-1, none empty.
          cohort_size: M in 1..K.
          num_slots: as of ``make_client_data``.
        """
        self.num_examples = check_parts(dataset, parts)
        self._dataset, self._parts = dataset, parts
        self._num_slots = num_slots or int(self.num_examples.max())
        num_loaded = int(np.sort(self.num_examples)[-cohort_size:].sum())
        self._num_loaded = num_loaded if num_slots is None else count_slots(num_loaded)

    def load(self, cohort: np.ndarray, placement: Sharding | None = None) -> CohortData:
        """Returns the cohort's data; their transfer to the device has started.

        Args:
          cohort: int [M], client ids.
          placement: the devices; None: the default one.

        Guarantees:
          A client draws the same batches from it as from ``make_client_data``.
        """
        sizes = self.num_examples[cohort]
        examples = np.concatenate([self._parts[client] for client in cohort])
        padding = np.zeros(self._num_loaded - len(examples), examples.dtype)
        taken = np.concatenate([examples, padding])
        starts = np.cumsum(sizes) - sizes
        slots = np.arange(self._num_slots, dtype=np.int32)
        indices = np.where(slots < sizes[:, None], starts[:, None] + slots, 0).astype(np.int32)
        arrays = (self._dataset.images[taken], self._dataset.labels[taken], indices, sizes)
        data = ClientData(*jax.device_put(arrays, placement))
        return CohortData(data, np.arange(len(cohort), dtype=np.int32))
