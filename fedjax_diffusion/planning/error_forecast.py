"""What is known of the errors of a round's uploads before it is trained."""

import numpy as np

from fedjax_diffusion.quantization import QuantizationConfig, predict_bit_width_error
from fedjax_diffusion.simulator import NOT_MEASURED, SimulationState


def predict_errors(
    state: SimulationState, mode: str, quantization: QuantizationConfig
) -> np.ndarray | None:
    """Returns the bound on each client's squared error at each bit width, as far as it is known.

    A client's last measured one, else the mean of the measured ones; when none was measured yet,
    mode ``"model"`` takes that of the broadcast model. NumPy in float64: sums over clients are not
    to depend on the accelerator.

    Args:
      state: before the round.
      mode: ``"model"`` or ``"update"``.
      quantization: quantizer and options.

    Returns:
      float64 [K, 17], in squared parameter units; None where nothing is known.
    """
    measured = np.asarray(state.bit_width_error, np.float64)
    is_measured = measured[:, 0] != NOT_MEASURED
    if is_measured.any():
        mean = measured[is_measured].mean(axis=0)
        return np.where(is_measured[:, None], measured, mean)
    if mode != "model":
        return None
    error = predict_bit_width_error(
        quantization.quantizer, state.params, bits_per_tensor=quantization.per_tensor
    )
    return np.broadcast_to(np.asarray(error, np.float64), measured.shape)
