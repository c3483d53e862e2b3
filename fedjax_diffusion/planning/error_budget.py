"""Error budget: the allowed squared error of the aggregate due to quantization."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ErrorBudget:
    """Setting of the bound eps on the aggregate's squared quantization error; all None: no bound.

    Attributes:
      as_fixed_bits: b in 1..16: the error of b bits for every client, ``eps = sum_k c_k / (2^b -
        1)^2`` with stochastic quantization.
      relative: rho > 0: ``eps = rho^2 ||last mean update||^2``.
      absolute: eps itself, > 0, in squared parameter units.

    Raises:
      ValueError: more than one is given, or one is out of range.
    """

    as_fixed_bits: int | None = None
    relative: float | None = None
    absolute: float | None = None

    def __post_init__(self):
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) > 1:
            raise ValueError(f"error_budget: give one of {', '.join(vars(self))}, got {given}")
        if self.as_fixed_bits is not None and not 1 <= self.as_fixed_bits <= 16:
            raise ValueError(
                f"error_budget.as_fixed_bits must be in 1..16, got {self.as_fixed_bits}"
            )
        for name in ("relative", "absolute"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"error_budget.{name} must be above 0, got {value}")

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
