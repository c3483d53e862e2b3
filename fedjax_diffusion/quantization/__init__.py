"""Stochastic quantization, its wire format and its error bound."""

from fedjax_diffusion.quantization.blocks import (
    blocks_squared_norm,
    blocks_to_tree,
    tensor_sizes,
    tree_to_blocks,
)
from fedjax_diffusion.quantization.bounds import (
    grid_error_bound,
    grid_range_variance,
    quantization_error_bound,
    range_variance,
)
from fedjax_diffusion.quantization.config import QuantizationConfig
from fedjax_diffusion.quantization.feedback import shrink
from fedjax_diffusion.quantization.grid import (
    Grid,
    broadcast_num_bits,
    check_num_bits,
    is_quantizable,
    make_grid,
    round_step_up,
)
from fedjax_diffusion.quantization.padding import is_entry, refill, tensor_sums
from fedjax_diffusion.quantization.qsgd import (
    make_qsgd_grid,
    qsgd_error_bound,
    qsgd_error_curve,
    tensor_norms,
)
from fedjax_diffusion.quantization.quantizer import Payload, Quantizer
from fedjax_diffusion.quantization.quantizers import (
    QUANTIZERS,
    Quantized,
    dequantize,
    find_quantizer,
    predict_bit_width_error,
    quantize,
)
from fedjax_diffusion.quantization.registration import register_quantizer
from fedjax_diffusion.quantization.stochastic import (
    draw_codes,
    quantize_blocks,
    stochastic_quantize,
)
from fedjax_diffusion.quantization.tensor_bits import split_bits
from fedjax_diffusion.quantization.wire.codec import (
    decode_update,
    encode_update,
    overhead_bits,
    own_payload_bits,
    payload_bytes,
)
from fedjax_diffusion.quantization.wire.entropy import check_entropy_coding
from fedjax_diffusion.quantization.wire.errors import (
    DamagedMessageError,
    ForeignMessageError,
    TruncatedMessageError,
    VersionError,
    WireFormatError,
)
from fedjax_diffusion.quantization.wire.layout import make_layout
from fedjax_diffusion.quantization.wire.message import message_bytes
from fedjax_diffusion.quantization.wire.upload import write_upload

__all__ = [
    "QUANTIZERS",
    "DamagedMessageError",
    "ForeignMessageError",
    "Grid",
    "Payload",
    "QuantizationConfig",
    "Quantized",
    "Quantizer",
    "TruncatedMessageError",
    "VersionError",
    "WireFormatError",
    "blocks_squared_norm",
    "blocks_to_tree",
    "broadcast_num_bits",
    "check_entropy_coding",
    "check_num_bits",
    "decode_update",
    "dequantize",
    "draw_codes",
    "encode_update",
    "find_quantizer",
    "grid_error_bound",
    "grid_range_variance",
    "is_entry",
    "is_quantizable",
    "make_grid",
    "make_layout",
    "make_qsgd_grid",
    "message_bytes",
    "overhead_bits",
    "own_payload_bits",
    "payload_bytes",
    "predict_bit_width_error",
    "qsgd_error_bound",
    "qsgd_error_curve",
    "quantization_error_bound",
    "quantize",
    "quantize_blocks",
    "range_variance",
    "refill",
    "register_quantizer",
    "round_step_up",
    "shrink",
    "split_bits",
    "stochastic_quantize",
    "tensor_norms",
    "tensor_sizes",
    "tensor_sums",
    "tree_to_blocks",
    "write_upload",
]
