"""No quantization: float32 at every requested bit width."""

from fedjax_diffusion.bits import FULL_PRECISION_BITS
from fedjax_diffusion.quantization.grid import make_grid
from fedjax_diffusion.quantization.quantizer import Quantizer
from fedjax_diffusion.quantization.stochastic import draw_codes

NONE = Quantizer(
    wire_number=4, make_grid=make_grid, choose_codes=draw_codes, min_bits=FULL_PRECISION_BITS
)
