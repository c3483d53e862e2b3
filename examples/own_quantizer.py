"""Top-k, a quantizer of your own with a payload of its own. A plug-in, used by its name.

fedjax-diffusion run --workdir=runs/top_k --config.quantization.name=top_k
    --config.plugins="('examples/own_quantizer.py',)" --config.num_rounds=5

Of each tensor the tenth of the entries that is largest is sent with b bits each, and their places.
"""

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion import Payload, Quantizer, quantization, register_quantizer


def count_kept(sizes):
    return np.ceil(0.1 * np.asarray(sizes)).astype(int)


def keep_largest(seed, blocks, like):
    def keep(x):
        places = jax.lax.top_k(jnp.abs(x.ravel()), int(count_kept(x.size)))[1]
        return jnp.zeros(x.size).at[places].set(x.ravel()[places]).reshape(x.shape)

    tree = quantization.blocks_to_tree(blocks, like)
    return quantization.tree_to_blocks(jax.tree.map(keep, tree))


def error_curve(sizes):
    kept = count_kept(sizes)
    return quantization.qsgd_error_curve(kept) * kept / np.fmax(sizes, 1)


def error_bound(grid, like):
    kept = jax.tree.map(lambda x: jax.ShapeDtypeStruct((int(count_kept(x.size)),), x.dtype), like)
    return quantization.qsgd_error_bound(grid, kept)


def pack(codes, num_bits):  # zero has the code in the middle
    is_zero = codes == 2 ** (num_bits - 1) - 1
    places = np.sort(np.argsort(is_zero, kind="stable")[: count_kept(codes.size)])
    values = codes[places][:, None] >> np.arange(num_bits) & 1
    return np.concatenate([np.isin(np.arange(codes.size), places), values.ravel() == 1])


def unpack(bits, size, num_bits):
    codes = np.full(size, 2 ** (num_bits - 1) - 1)
    codes[bits[:size]] = bits[size:].reshape(-1, num_bits) @ (1 << np.arange(num_bits))
    return codes


TOP_K = Quantizer(
    *(quantization.make_qsgd_grid, quantization.draw_codes, error_curve, error_bound),
    transform=keep_largest,
    is_lossy=True,
    is_unbiased=False,
    min_bits=2,
    payload=Payload(lambda sizes, num_bits: sizes + num_bits * count_kept(sizes), pack, unpack),
)
register_quantizer("top_k", TOP_K)
