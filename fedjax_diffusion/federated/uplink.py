"""The upload of ONE client after its training, and its quantization error."""

from collections.abc import Callable
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from fedjax_diffusion.bits import MAX_BITS
from fedjax_diffusion.quantization import (
    QuantizationConfig,
    is_quantizable,
    quantize,
    refill,
    shrink,
    tree_to_blocks,
)
from fedjax_diffusion.types import Array, Key, Params, PyTree

MODES = ("model", "update")
"""The quantized quantity: the local model w_k (the paper), or w_k - w, w the global model."""


@flax.struct.dataclass
class Upload:
    """A message before it becomes bytes; those of a cohort have a leading [M].

    Attributes:
      bit_widths: int32 [L], bits of each tensor; 0 if nothing was sent.
      lo: float32 [L], smallest value of each tensor's grid.
      step: float32 [L], distance between the grid's values.
      seed: uint32 [2], of the quantizer's transform.
      codes: uint16 [R, 128] with entropy coding, else None.
    """

    bit_widths: Array
    lo: Array
    step: Array
    seed: Array
    codes: Array | None


class SentUpdate(NamedTuple):
    """An upload with its decoded update, error and error bounds.

    Attributes:
      update: float32 [R, 128], the decoded change of the broadcast model.
      error: float32 [R, 128], the quantization error in it.
      error_bound: float32 [], bound on the mean of ``||error||^2``.
      bit_width_error: float32 [17], that bound at each of ``BIT_WIDTHS``.
      upload: the message.
      client_memory: float32 [R, 128], the error that the client keeps for its next upload; ()
        without error feedback.
      is_sendable: bool [], every entry is finite and every range fits float32.
    """

    update: Array
    error: Array
    error_bound: Array
    bit_width_error: Array
    upload: Upload
    client_memory: PyTree
    is_sendable: Array


SendFn = Callable[[Key, Params, Params, Array, PyTree], SentUpdate]
"""``send(key, trained, received, num_bits int32 [], client_memory) -> SentUpdate``."""


def make_send(config: QuantizationConfig, mode: str) -> SendFn:
    """Returns the function that quantizes and sends a client's trained model.

    Args:
      config: the quantizer and its options.
      mode: ``"model"`` quantizes w_k as the paper does, ``"update"`` quantizes w_k - w.

    Returns:
      ``send(key, trained, received, num_bits, client_memory)``: the client's key, trained model,
      received broadcast, bits (1..16 or 32) and the error it kept of its last upload.

    Raises:
      ValueError: an unknown mode, or error feedback of whole models.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if config.error_feedback and mode != "update":
        raise ValueError(f"quantization.error_feedback needs mode 'update', got {mode!r}")

    def send(
        key: Key, trained: Params, received: Params, num_bits: Array, client_memory: PyTree
    ) -> SentUpdate:
        local, start = tree_to_blocks(trained), tree_to_blocks(received)
        payload = local if mode == "model" else local - start
        if config.error_feedback:
            payload = refill(payload + client_memory, trained)
        sent = quantize(
            config.quantizer, key, payload, trained, num_bits, bits_per_tensor=config.per_tensor
        )
        if config.error_feedback:
            sent = shrink(sent, payload, trained)
        error = sent.decoded - payload
        bit_widths = sent.grid.num_bits
        codes = jnp.where(bit_widths.max(initial=0) <= MAX_BITS, sent.codes, 0).astype(jnp.uint16)
        return SentUpdate(
            update=sent.decoded - start if mode == "model" else sent.decoded,
            error=error,
            error_bound=sent.error_bound,
            bit_width_error=sent.bit_width_error,
            upload=Upload(
                bit_widths=bit_widths,
                lo=sent.grid.lo,
                step=sent.grid.step,
                seed=sent.seed,
                codes=codes if config.entropy_coding else None,
            ),
            client_memory=-error if config.error_feedback else (),
            is_sendable=is_quantizable(sent.grid),
        )

    return send


def empty_client_memory(config: QuantizationConfig, params: Params, num_clients: int) -> PyTree:
    """Returns the memory of K clients before their first upload, float32 [K, R, 128] or ()."""
    if not config.error_feedback:
        return ()
    shape = jax.eval_shape(tree_to_blocks, params).shape
    return jnp.zeros((num_clients, *shape), jnp.float32)
