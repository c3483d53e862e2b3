"""Facts of a round for methods that users register, from the statistics of the last uploads."""

import numpy as np

from fedjax_diffusion.allocation import RoundFacts
from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.federated import UploadStatistics


def list_facts(
    statistics: UploadStatistics,
    num_examples: np.ndarray,
    predicted: np.ndarray | None,
    cohort: np.ndarray,
    is_unknown: bool,
) -> RoundFacts:
    """Returns the facts of a round, of the clients of its cohort.

    Args:
      statistics: of all clients' last uploads.
      num_examples: int [K].
      predicted: float64 [K, 17], of ``predict_errors``; None: no error is known.
      cohort: int32 [M], client ids.
      is_unknown: whether the round is planned without errors.
    """
    unknown = np.zeros((len(cohort), len(BIT_WIDTHS)))
    return RoundFacts(
        round=np.asarray(statistics.round, np.int32),
        num_examples=np.asarray(num_examples[cohort], float),
        is_error_known=np.array(not is_unknown),
        bit_width_error=unknown if predicted is None else predicted[cohort],
        update_squared_norm=np.array(statistics.last_squared_norm or 0.0),
    )
