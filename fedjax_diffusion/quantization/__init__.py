"""Stochastic quantization, its wire format and its error bound."""

from fedjax_diffusion.quantization.blocks import blocks_squared_norm, blocks_to_tree, tree_to_blocks
from fedjax_diffusion.quantization.bounds import (
    grid_error_bound,
    grid_range_variance,
    quantization_error_bound,
    range_variance,
)
from fedjax_diffusion.quantization.config import QuantizationConfig
from fedjax_diffusion.quantization.feedback import shrink
from fedjax_diffusion.quantization.grid import Grid, check_num_bits, is_quantizable, make_grid
from fedjax_diffusion.quantization.padding import refill
from fedjax_diffusion.quantization.quantizer import Quantizer
from fedjax_diffusion.quantization.quantizers import (
    QUANTIZERS,
    Quantized,
    dequantize,
    find_quantizer,
    predict_bit_width_error,
    quantize,
)
from fedjax_diffusion.quantization.stochastic import quantize_blocks, stochastic_quantize
from fedjax_diffusion.quantization.tensor_bits import split_bits
from fedjax_diffusion.quantization.wire.codec import (
    decode_update,
    encode_update,
    overhead_bits,
    payload_bytes,
)
from fedjax_diffusion.quantization.wire.entropy import check_entropy_coding
from fedjax_diffusion.quantization.wire.layout import make_layout
from fedjax_diffusion.quantization.wire.message import (
    DamagedMessageError,
    ForeignMessageError,
    TruncatedMessageError,
    VersionError,
    WireFormatError,
    message_bytes,
)
from fedjax_diffusion.quantization.wire.upload import write_upload

__all__ = [
    "QUANTIZERS",
    "DamagedMessageError",
    "ForeignMessageError",
    "Grid",
    "QuantizationConfig",
    "Quantized",
    "Quantizer",
    "TruncatedMessageError",
    "VersionError",
    "WireFormatError",
    "blocks_squared_norm",
    "blocks_to_tree",
    "check_entropy_coding",
    "check_num_bits",
    "decode_update",
    "dequantize",
    "encode_update",
    "find_quantizer",
    "grid_error_bound",
    "grid_range_variance",
    "is_quantizable",
    "make_grid",
    "make_layout",
    "message_bytes",
    "overhead_bits",
    "payload_bytes",
    "predict_bit_width_error",
    "quantization_error_bound",
    "quantize",
    "quantize_blocks",
    "range_variance",
    "refill",
    "shrink",
    "split_bits",
    "stochastic_quantize",
    "tree_to_blocks",
    "write_upload",
]
