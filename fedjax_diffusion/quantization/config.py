"""How a run quantizes: the scheme and its options; the bits are the allocator's."""

from dataclasses import dataclass
from typing import Any

from fedjax_diffusion.quantization.quantizers import QUANTIZERS, Quantizer
from fedjax_diffusion.quantization.stochastic import LEVELS


@dataclass(frozen=True)
class QuantizationConfig:
    """What happens to uploads, and to the broadcast, on their way.

    Attributes:
      scheme: of ``QUANTIZERS``.
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

    scheme: str = "stochastic"
    per_tensor: bool = False
    error_feedback: bool = False
    entropy_coding: bool = False
    downlink_bits: int = 32

    def __post_init__(self):
        if self.scheme not in QUANTIZERS:
            names = ", ".join(QUANTIZERS)
            raise ValueError(f"quantization.scheme must be one of {names}, got {self.scheme!r}")
        if self.downlink_bits not in LEVELS:
            raise ValueError(
                f"quantization.downlink_bits must be 1..16 or 32, got {self.downlink_bits}"
            )

    @property
    def quantizer(self) -> Quantizer:
        """The scheme itself."""
        return QUANTIZERS[self.scheme]

    def error_weight(self, weight: Any) -> Any:
        """Returns what clients' squared errors count in the aggregate's, [...] like ``weight``.

        ``a_k^2`` where errors have mean zero, else ``a_k``: feedback makes any scheme biased.
        """
        return weight if self.error_feedback else self.quantizer.error_weight(weight)
