"""Traffic of a round: the real lengths of its messages."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from fedjax_diffusion.federated import ClientReport, Upload
from fedjax_diffusion.quantization import (
    QuantizationConfig,
    make_layout,
    message_bytes,
    payload_bytes,
    write_upload,
)
from fedjax_diffusion.types import PyTree


class Traffic(NamedTuple):
    """Bytes of one round, in the cohort's order.

    Attributes:
      uplink_bytes: int64 [M], the length of each client's message; 0 if it sent none.
      downlink_bytes: int64 [M], the length of the broadcast to it; 0 if it does not participate.
    """

    uplink_bytes: np.ndarray
    downlink_bytes: np.ndarray


CountTraffic = Callable[[np.ndarray, ClientReport], Traffic]
"""``count(num_bits [M], clients) -> Traffic``; 0 bits: the client does not participate."""


def make_count_traffic(params: PyTree, quantization: QuantizationConfig) -> CountTraffic:
    """Returns a function that counts a round's bytes on the host.

    The length of a plain message follows from its bit widths. An entropy-coded message is built to
    measure its length.

    Args:
      params: the model or its shapes.
      quantization: quantizer and options.
    """
    layout = make_layout(params)
    broadcast_bytes = payload_bytes(params, quantization.downlink_bits)

    def coded_bytes(upload: Upload) -> int:
        message = write_upload(
            layout,
            quantization.name,
            np.asarray(upload.bit_widths),
            np.asarray(upload.lo),
            np.asarray(upload.step),
            np.asarray(upload.seed),
            upload.codes,
            entropy_coding=True,
        )
        return len(message)

    def count(num_bits: np.ndarray, clients: ClientReport) -> Traffic:
        is_included = np.asarray(clients.is_included)
        bit_widths = np.where(is_included[:, None], np.asarray(clients.upload.bit_widths), 1)
        uplink = message_bytes(layout, bit_widths, quantization.name)
        if quantization.entropy_coding:
            for client in np.flatnonzero(is_included & (bit_widths.min(axis=1) <= 16)):
                upload = jax.tree.map(lambda x, m=client: x[m], clients.upload)
                uplink[client] = coded_bytes(upload)
        is_participating = np.asarray(num_bits) > 0
        return Traffic(uplink * is_included, broadcast_bytes * is_participating.astype(np.int64))

    return count
