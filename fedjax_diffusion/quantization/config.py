"""How a run quantizes: the quantizer and its options; the bits are the allocator's."""

from dataclasses import dataclass
from typing import Any

from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.quantization.quantizer import Quantizer
from fedjax_diffusion.quantization.quantizers import QUANTIZERS


@dataclass(frozen=True)
class QuantizationConfig:
    """What happens to uploads, and to the broadcast, on their way.

    Attributes:
      name: of ``QUANTIZERS``.
      per_tensor: a client's bits are an average that its tensors share out, see ``tensor_bits``.
      error_feedback: what quantization lost is added to the next upload, see ``feedback``; needs
        mode ``"update"``, and a model's size of memory per client.
      entropy_coding: codes are compressed without loss before they are sent; the allocator plans
        with the plain size. Needs the extra ``entropy``.
      downlink_bits: 1..16, at which the server quantizes what it broadcasts, stochastically; 32: it
        broadcasts float32.

    Raises:
      ValueError: a value outside of these.
    """

    name: str = "stochastic"
    per_tensor: bool = False
    error_feedback: bool = False
    entropy_coding: bool = False
    downlink_bits: int = 32

    def __post_init__(self):
        if self.name not in QUANTIZERS:
            names = ", ".join(QUANTIZERS)
            raise ValueError(f"quantization.name must be one of {names}, got {self.name!r}")
        if self.downlink_bits not in BIT_WIDTHS:
            raise ValueError(
                f"quantization.downlink_bits must be 1..16 or 32, got {self.downlink_bits}"
            )

    @property
    def quantizer(self) -> Quantizer:
        """The quantizer itself."""
        return QUANTIZERS[self.name]

    def aggregation_factor(self, weight: Any) -> Any:
        """Returns what clients' squared errors count in the aggregate's, [...] like ``weight``.

        ``a_k^2`` where errors have mean zero, else ``a_k``: feedback makes any quantizer biased.
        """
        return weight if self.error_feedback else self.quantizer.aggregation_factor(weight)
