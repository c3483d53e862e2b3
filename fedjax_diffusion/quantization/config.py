"""How a run quantizes: the scheme and its options; the bits are the allocator's."""

from dataclasses import dataclass
from typing import Any

from fedjax_diffusion.quantization.quantizers import Quantizer, find_quantizer
from fedjax_diffusion.quantization.stochastic import check_num_bits


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
        find_quantizer(self.scheme)
        check_num_bits(self.downlink_bits)

    @property
    def quantizer(self) -> Quantizer:
        """The scheme itself."""
        return find_quantizer(self.scheme)

    def error_weight(self, weight: Any) -> Any:
        """Returns what clients' squared errors count in the aggregate's, [...] like ``weight``.

        ``a_k^2`` where errors have mean zero, else ``a_k``: feedback makes any scheme biased.
        """
        return weight if self.error_feedback else self.quantizer.error_weight(weight)
