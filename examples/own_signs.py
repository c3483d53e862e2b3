"""Signs with one scale, a quantizer of your own with a payload of its own. A plug-in.

fedjax-diffusion run --workdir=runs/signs --config.quantization.name=sign_l2
    --config.plugins="('examples/own_signs.py',)" --config.num_rounds=5

Of each tensor x with D entries the signs are sent, and ||x|| / sqrt(D), with which they have the
norm of x. More bits change nothing: a message has one bit per entry at every bit width, and so the
allocator chooses the least. The squared error is 2 ||x||^2 - 2 ||x|| ||x||_1 / sqrt(D), at most
2 ||x||^2 (1 - 1 / sqrt(D)), as the sum of magnitudes ||x||_1 is at least ||x||.
"""

import jax.numpy as jnp
import numpy as np

from fedjax_diffusion import Grid, Payload, Quantizer, quantization, register_quantizer
from fedjax_diffusion.bits import BIT_WIDTHS

SMALLEST = 2.0**-126  # of the normal float32


def make_grid(blocks, like, num_bits):
    bit_widths = quantization.broadcast_num_bits(num_bits, like)
    sizes = np.fmax(quantization.tensor_sizes(like), 1)
    spread = 2 * quantization.tensor_norms(blocks, like) / np.sqrt(sizes).astype(np.float32)
    step = quantization.round_step_up(spread, jnp.minimum(bit_widths, 16))
    step = jnp.where(spread >= SMALLEST, step, 0.0)
    return Grid(-step / 2, step, bit_widths, spread)


def choose_codes(key, blocks, grid, like):
    return (blocks > 0).astype(jnp.int32)


def error_curve(sizes):  # per unit of D spread^2 / 4, which is ||x||^2
    curve = 2 - 2 / np.sqrt(np.fmax(sizes, 1))
    return np.where(np.array(BIT_WIDTHS)[:, None] == 32, 0.0, curve)


def error_bound(grid, like):  # with the step that is sent
    sizes = jnp.asarray(quantization.tensor_sizes(like), jnp.float32)
    norm, scale = jnp.sqrt(sizes) * grid.spread / 2, grid.step / 2
    bound = norm**2 + sizes * scale**2 - 2 * scale * norm
    return jnp.where(grid.num_bits == 32, 0.0, bound).sum()


SIGN_L2 = Quantizer(
    *(make_grid, choose_codes, error_curve, error_bound),
    is_unbiased=False,
    payload=Payload(
        count_bits=lambda sizes, num_bits: sizes + 0 * num_bits,
        pack=lambda codes, num_bits: codes == 1,
        unpack=lambda bits, size, num_bits: bits.astype(int),
    ),
)
register_quantizer("sign_l2", SIGN_L2)
