"""Forecast of the errors of a round's uploads, before the round is trained."""

from collections.abc import Callable

import numpy as np

from fedjax_diffusion.federated import NOT_MEASURED, UploadStatistics
from fedjax_diffusion.quantization import QuantizationConfig, predict_bit_width_error
from fedjax_diffusion.types import Params


def predict_errors(
    statistics: UploadStatistics,
    params: Params | Callable[[], Params] | None,
    mode: str,
    quantization: QuantizationConfig,
) -> np.ndarray | None:
    """Returns a bound on each client's squared error at each bit width, if one is known.

    The bound is the client's last measured one, else the mean of the measured ones. If none was
    measured yet, mode ``"model"`` takes that of the broadcast model. Computed by NumPy in float64,
    so that sums over clients do not depend on the accelerator.

    Args:
      statistics: of the last uploads.
      params: the broadcast model, or a function that returns it; needed in mode ``"model"`` if
        none was measured yet.
      mode: ``"model"`` or ``"update"``.
      quantization: quantizer and options.

    Returns:
      float64 [K, 17], in squared parameter units; None if no bound is known.

    Raises:
      ValueError: ``params`` are needed but not given.
    """
    measured = np.asarray(statistics.bit_width_error, np.float64)
    is_measured = measured[:, 0] != NOT_MEASURED
    if is_measured.any():
        mean = measured[is_measured].mean(axis=0)
        return np.where(is_measured[:, None], measured, mean)
    if mode != "model":
        return None
    if params is None:
        raise ValueError("params must be given in mode 'model' before the first upload, got None")
    model = params() if callable(params) else params
    error = predict_bit_width_error(
        quantization.quantizer, model, bits_per_tensor=quantization.per_tensor
    )
    return np.broadcast_to(np.asarray(error, np.float64), measured.shape)
