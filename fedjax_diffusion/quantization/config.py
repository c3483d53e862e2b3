"""Settings of a run's quantization: the quantizer and its options. The allocator sets the bits."""

from dataclasses import dataclass
from typing import Annotated, Any

from fedjax_diffusion.bits import BitWidth
from fedjax_diffusion.quantization.quantizer import Quantizer
from fedjax_diffusion.quantization.quantizers import QUANTIZERS, check_options
from fedjax_diffusion.values import OneOf, check_fields


@dataclass(frozen=True)
class QuantizationConfig:
    """Settings of the quantization of uploads and of the broadcast.

    Attributes:
      name: quantizer of the uploads, a key of ``QUANTIZERS``.
      per_tensor: a client's bits are an average, split over its tensors, see ``tensor_bits``.
      error_feedback: the quantization error is added to the next upload, see ``feedback``; needs
        mode ``"update"``, and memory of a model's size per client.
      entropy_coding: codes are compressed without loss before they are sent; the allocator plans
        with the plain size. Needs the extra ``entropy``.
      downlink_bits: bits of the broadcast, 1..16, quantized stochastically; 32: float32.

    Raises:
      ValueError: a value is out of range.
    """

    name: Annotated[str, OneOf(QUANTIZERS)] = "stochastic"
    per_tensor: bool = False
    error_feedback: bool = False
    entropy_coding: bool = False
    downlink_bits: BitWidth = 32

    def __post_init__(self):
        check_fields(self, "quantization")
        check_options(self.name, per_tensor=self.per_tensor, entropy_coding=self.entropy_coding)

    @property
    def quantizer(self) -> Quantizer:
        """The quantizer of this name."""
        return QUANTIZERS[self.name]

    def aggregation_factor(self, weight: Any) -> Any:
        """Returns the factor of a client's squared error in the aggregate's, [...] like ``weight``.

        ``a_k^2`` if errors have mean zero, else ``a_k``: feedback makes every quantizer biased.
        """
        return weight if self.error_feedback else self.quantizer.aggregation_factor(weight)
