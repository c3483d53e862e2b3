"""Registration of a user's own quantizer, with checks of all that its users rely on."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.bits import BIT_WIDTHS, FULL_PRECISION_BITS, MAX_BITS
from fedjax_diffusion.host.measurement_cache import measure_once
from fedjax_diffusion.host.own_names import add_name, check_names, digest_source, explain_trial
from fedjax_diffusion.host.platforms import has_started
from fedjax_diffusion.host.version import __version__
from fedjax_diffusion.keys import seed_to_key, step_keys
from fedjax_diffusion.quantization.blocks import tree_to_blocks
from fedjax_diffusion.quantization.padding import is_entry
from fedjax_diffusion.quantization.quantizer import OWN_NUMBER, Quantizer
from fedjax_diffusion.quantization.quantizers import QUANTIZERS, Quantized, quantize
from fedjax_diffusion.quantization.rotation import SEED_BITS
from fedjax_diffusion.quantization.wire.codec import decode_update, encode_update, payload_bytes
from fedjax_diffusion.quantization.wire.signature import make_signature
from fedjax_diffusion.types import Array

_KIND = "quantizer"
_NUM_DRAWS = 256
_SIGMAS = 6.0
_MAX_BIAS = 9.0
"""Largest squared norm of the draws' mean error, in units of its expectation if it is unbiased."""
_ROUNDING = 1e-5
"""Largest relative error of sums of float32 numbers in the checks."""


def register_quantizer(name: str, quantizer: Quantizer) -> None:
    """Adds a quantizer of your own: ``quantization.name``, messages and the allocator know it.

    As soon as JAX has started, it is tried on a small model at its smallest bit width, at 4 and at
    16 bits, 256 draws each.

    Args:
      name: letters, digits and underscores, beginning with a letter.
      quantizer: its functions and properties; ``wire_number`` stays ``OWN_NUMBER``.

    Raises:
      ValueError: in one line: the name is taken, or the quantizer does not keep what it states:
        shapes, codes below ``2^b``, a spread and a step that fit the message, the error curve, the
        error bound, mean zero if it ``is_unbiased``, an inverse unless it ``is_lossy``, or the
        same values after encoding and decoding.
    """
    payload = quantizer.payload
    functions = (quantizer.make_grid, quantizer.choose_codes, quantizer.error_curve)
    functions += (quantizer.error_bound, quantizer.transform, quantizer.inverse)
    functions += (payload.count_bits, payload.pack, payload.unpack) if payload else ()
    digest = digest_source(*(function for function in functions if function is not None))
    own = quantizer._replace(wire_number=OWN_NUMBER, signature=b"")
    if isinstance(name, str) and name.isascii() and name:
        own = own._replace(signature=make_signature(name[:40], digest))
    add_name(QUANTIZERS, _KIND, name, own, digest, lambda: _check_once(name, own, digest))
    if has_started():
        check_names()


def _check_once(name: str, quantizer: Quantizer, digest: str) -> None:
    """Checks a quantizer, unless this machine has checked the same source and properties."""
    properties = [part for part in quantizer if isinstance(part, int)]
    question = {"quantizer": name, "source": digest, "properties": properties}
    question["version"] = __version__
    measure_once(question, lambda: _check(name, quantizer))


def _make_probe() -> dict[str, np.ndarray]:
    """Returns a model with several rows, a padded row, a scalar, equal and empty entries."""
    r = np.random.default_rng(0)
    return {
        "bell": r.normal(size=(15, 20)).astype(np.float32),
        "even": r.uniform(-3, 1, size=70).astype(np.float32),
        "equal": np.full(9, 0.3, np.float32),
        "none": np.zeros((0, 3), np.float32),
        "one": np.full((), 1.5, np.float32),
    }


def _check(name: str, quantizer: Quantizer) -> bool:
    """Returns True; raises ValueError if a quantizer does not keep what it states."""

    def require(is_right: object, what: str) -> None:
        if not is_right:
            raise ValueError(f"quantizer {name!r}: {what}")

    least = quantizer.min_bits
    require(least in BIT_WIDTHS, f"min_bits must be 1..16 or 32, got {least}")
    extra = quantizer.extra_overhead_bits
    require(extra in (0, SEED_BITS), f"extra_overhead_bits must be 0 or {SEED_BITS}, got {extra}")
    probe = _make_probe()
    sizes = np.array([x.size for x in jax.tree.leaves(probe)])
    _check_error_curve(quantizer, sizes, require)
    _check_payload(quantizer, sizes, require)
    blocks = jax.jit(tree_to_blocks)(probe)
    draw = _make_draw(name, quantizer, blocks, probe)
    bit_widths = sorted({max(least, bits) for bits in (least, 4, MAX_BITS)})
    spreads = []
    for bits in reversed(bit_widths):  # with many bits, a loss of the transform stands out
        drawn = draw(bits)
        _check_grid(drawn, bits, blocks.shape, require)
        spreads.append(np.asarray(drawn.grid.spread[0]))
        require((spreads[0] == spreads[-1]).all(), "grid.spread must not depend on num_bits")
        _check_errors(quantizer, drawn, np.asarray(blocks), is_entry(probe), bits, require)
    send = jax.jit(lambda key, bits: quantize(quantizer, key, blocks, probe, bits).decoded)
    for bits in (*bit_widths, FULL_PRECISION_BITS):
        sent = np.asarray(send(seed_to_key(1), jnp.int32(bits)))
        _check_message(name, sent, probe, bits, require)
    return True


_Require = Callable[[object, str], None]


def _check_error_curve(quantizer: Quantizer, sizes: np.ndarray, require: _Require) -> None:
    curve = np.asarray(quantizer.error_curve(sizes), np.float64)
    num, shapes = len(BIT_WIDTHS), ((len(BIT_WIDTHS), 1), (len(BIT_WIDTHS), len(sizes)))
    require(curve.shape in shapes, f"error_curve must have shape [{num}, L] or [{num}, 1]")
    require(np.isfinite(curve).all() and (curve >= 0).all(), "error_curve must be finite, >= 0")
    require((curve[-1] == 0).all(), "error_curve must be 0 at 32 bits")
    steps = np.diff(curve[max(quantizer.min_bits, 1) - 1 : MAX_BITS], axis=0)
    require((steps <= 0).all(), "error_curve must not increase from min_bits to 16 bits")
    slack = 1e-12 * curve.max(initial=0.0)
    require((np.diff(steps, axis=0) >= -slack).all(), "error_curve must be convex in the bits")


def _check_payload(quantizer: Quantizer, sizes: np.ndarray, require: _Require) -> None:
    if quantizer.payload is None:
        return
    widths = np.arange(quantizer.min_bits, MAX_BITS + 1)[:, None].repeat(len(sizes), axis=1)
    counted = np.asarray(quantizer.payload.count_bits(sizes, widths))
    require(counted.shape == widths.shape, "payload.count_bits must return the bits of each tensor")
    is_whole = np.issubdtype(counted.dtype, np.integer) and (counted >= 0).all()
    require(is_whole, "payload.count_bits must return whole numbers >= 0")
    is_growing = (np.diff(counted, axis=0) >= 0).all()
    require(is_growing, "payload.count_bits must not decrease in the bit width")


def _make_draw(
    name: str, quantizer: Quantizer, blocks: Array, probe: dict[str, np.ndarray]
) -> Callable[[int], Quantized]:
    """Returns the function that quantizes the probe many times, with one program for all bits."""
    keys = step_keys(seed_to_key(0), jnp.arange(_NUM_DRAWS))
    draw = jax.jit(
        jax.vmap(lambda key, bits: quantize(quantizer, key, blocks, probe, bits), (0, None))
    )

    def draw_all(bits: int) -> Quantized:
        with explain_trial(_KIND, name):
            return jax.device_get(draw(keys, jnp.int32(bits)))

    return draw_all


def _check_grid(drawn: Quantized, bits: int, shape: tuple[int, ...], require: _Require) -> None:
    at = f"at {bits} bits"
    grid, codes = drawn.grid, drawn.codes
    require((grid.num_bits == bits).all(), f"grid.num_bits must be the asked bits {at}")
    require(np.isfinite(grid.spread).all(), f"grid.spread must be finite for finite entries {at}")
    is_coarse = grid.step.astype(np.float32).view(np.uint32) % (1 << min(bits, MAX_BITS)) == 0
    require(
        bits > MAX_BITS or is_coarse.all(),
        f"grid.step must have at most 24 - b significant bits {at}: use round_step_up",
    )
    is_integer = np.issubdtype(codes.dtype, np.integer) and codes.shape[1:] == shape
    require(is_integer, f"choose_codes must return int32 {list(shape)}, got {codes.shape[1:]}")
    is_code = (codes >= 0) & (codes < 2 ** min(bits, MAX_BITS))
    require(bits > MAX_BITS or is_code.all(), f"codes must be in 0..2^b - 1 {at}")


def _check_errors(
    quantizer: Quantizer,
    drawn: Quantized,
    blocks: np.ndarray,
    is_own: np.ndarray,
    bits: int,
    require: _Require,
) -> None:
    """Checks loss, mean and squared error of many draws, float32 [N, R, 128]."""
    at = f"at {bits} bits"
    errors = (drawn.decoded.astype(np.float64) - blocks)[:, is_own]
    scale = float(np.abs(blocks).max())
    squared = np.square(errors).sum(axis=1)
    bound, noise = float(drawn.error_bound.mean()), squared.std() / np.sqrt(_NUM_DRAWS)
    slack = _SIGMAS * noise + _ROUNDING * scale**2
    require(
        squared.mean() <= bound * (1 + _ROUNDING) + slack,
        f"the mean squared error {at} is {squared.mean():.4g}, above the error_bound {bound:.4g}"
        + ("" if quantizer.is_lossy else "; state is_lossy=True if the transform loses a part"),
    )
    curve = float(drawn.bit_width_error[:, BIT_WIDTHS.index(bits)].mean())
    require(
        squared.mean() <= curve * (1 + 0.01) + slack,
        f"the mean squared error {at} is {squared.mean():.4g}, above the error_curve's {curve:.4g}",
    )
    if quantizer.is_unbiased:
        bias = np.square(errors.mean(axis=0)).sum()
        require(
            bias <= _MAX_BIAS * errors.var(axis=0).sum() / _NUM_DRAWS + _ROUNDING * scale**2,
            f"the mean of {_NUM_DRAWS} draws {at} is off by {np.sqrt(bias):.4g}; state "
            "is_unbiased=False",
        )


def _check_message(
    name: str, sent: np.ndarray, probe: dict[str, np.ndarray], bits: int, require: _Require
) -> None:
    at = f"at {bits} bits"
    message = encode_update(seed_to_key(1), probe, bits, quantizer=name)
    length = payload_bytes(probe, bits, name)
    require(len(message) == length, f"a message {at} has {len(message)} bytes, not {length}")
    got = tree_to_blocks(decode_update(message, probe))
    is_equal = np.asarray(got == sent)[is_entry(probe)]
    require(is_equal.all(), f"a decoded message {at} has other values than the quantized model")
