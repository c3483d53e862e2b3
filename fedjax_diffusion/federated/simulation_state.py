"""State of a simulation between two rounds, and the diagnostics of a round."""

import flax.struct

from fedjax_diffusion.federated.round import ClientReport
from fedjax_diffusion.federated.upload_statistics import UploadStatistics
from fedjax_diffusion.types import Array, Params, PyTree


@flax.struct.dataclass
class SimulationState:
    """The complete input of the next step. It has no keys: they are derived from the run's key.

    Attributes:
      round: int32 [], the number of the next round.
      params: the global model, float32.
      opt_state: the server optimizer's state.
      ema_params: exponential moving average of ``params`` over rounds; samples come from it.
      bit_width_error: float32 [K, 17], bound on the squared error of each client's last upload at
        each of ``BIT_WIDTHS``, in squared parameter units; ``NOT_MEASURED`` for a client that has
        not uploaded yet.
      update_squared_norm: float32 [], squared norm of the last mean update, in the same unit;
        ``NOT_MEASURED`` at first.
      client_memory: float32 [K, R, 128], the error that each client kept of its last upload; ()
        without error feedback.
    """

    round: Array
    params: Params
    opt_state: PyTree
    ema_params: Params
    bit_width_error: Array
    update_squared_norm: Array
    client_memory: PyTree = ()

    @property
    def range_variance(self) -> Array:
        """Bound at one bit, float32 [K], squared parameter units: V_k."""
        return self.bit_width_error[:, 0]

    @property
    def whole(self) -> "SimulationState":
        """This state; of a run in a pack, its part of the pack."""
        return self

    @property
    def upload_statistics(self) -> UploadStatistics:
        """The part that the plan of the next round needs; nothing is copied."""
        return UploadStatistics(self.round, self.bit_width_error, self.update_squared_norm)


@flax.struct.dataclass
class RoundInfo:
    """Diagnostics of one round; the next round needs none of them.

    Attributes:
      loss: float32 [], mean local loss weighted by a_k; NaN if no client was included.
      clients: ``ClientReport``, [M].
      quantization_error: float32 [], ``||sum_k a_k (Q(u_k) - u_k)||^2``, squared parameter units.
      quantization_error_bound: float32 [], ``sum_k a_k^2 bound_k``, with the ranges of the sent
        updates; ``sum_k a_k bound_k`` if the errors do not have mean zero. Same unit.
      update_squared_norm: float32 [], squared norm of the mean update. Same unit.
      is_refused: bool [], the server's step was not finite; the model is the earlier one.
    """

    loss: Array
    clients: ClientReport
    quantization_error: Array
    quantization_error_bound: Array
    update_squared_norm: Array
    is_refused: Array
