"""Error budget: the allowed squared error of the aggregate due to quantization."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from fedjax_diffusion.bits import QuantizedBits
from fedjax_diffusion.values import Range, check_fields


@dataclass(frozen=True)
class ErrorBudget:
    """Setting of the bound eps on the aggregate's squared quantization error; all None: no bound.

    Attributes:
      as_fixed_bits: b in 1..16: the error of b bits for every client, ``eps = sum_k c_k / (2^b -
        1)^2`` with stochastic quantization.
      relative: rho in [1e-30, 1e30]: ``eps = rho^2 ||last mean update||^2``.
      absolute: eps itself, in [1e-60, 1e60], in squared parameter units.

    Raises:
      ValueError: more than one is given, or one is out of range.
    """

    as_fixed_bits: QuantizedBits | None = None
    relative: Annotated[float, Range(1e-30, 1e30)] | None = None
    absolute: Annotated[float, Range(1e-60, 1e60)] | None = None

    def __post_init__(self):
        check_fields(self, "allocator.error_budget")
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) > 1:
            names = ", ".join(vars(self))
            raise ValueError(f"allocator.error_budget: give one of {names}, got {given}")

    def to_eps(self, bit_width_error: np.ndarray, update_squared_norm: float | None) -> float:
        """Returns eps of one round, in squared parameter units; infinity for no bound.

        Args:
          bit_width_error: float64 [M, 17], each client's term of the squared error at each bit
            width.
          update_squared_norm: squared norm of the last mean update; None before the first update.
        """
        if self.as_fixed_bits is not None:
            return float(bit_width_error[:, self.as_fixed_bits - 1].sum())
        if self.relative is not None and update_squared_norm is not None:
            return self.relative**2 * update_squared_norm
        return np.inf if self.absolute is None else self.absolute
