"""Errors of messages that cannot be read, and checks that raise them."""

import numpy as np


class WireFormatError(ValueError):
    """Bytes that are not a message for this tree; always one of the four subclasses below."""


class ForeignMessageError(WireFormatError):
    """Bytes that are not an upload, or an upload for another model."""


class VersionError(WireFormatError):
    """An upload in another version of the format, or with a quantizer that is unknown here."""


class TruncatedMessageError(WireFormatError):
    """Fewer bytes than the header and the bit widths announce."""


class DamagedMessageError(WireFormatError):
    """A wrong checksum, too many bytes, or a field that no sender writes."""


def check(is_right: object, cause: str) -> None:
    """Raises DamagedMessageError with ``cause`` unless ``is_right``."""
    if not is_right:
        raise DamagedMessageError(cause)


def check_last_bits(stream: np.ndarray, num_bits: int) -> None:
    """Raises DamagedMessageError unless uint8 [ceil(num_bits / 8)] ends in zeros."""
    if num_bits % 8 and stream[-1] >> num_bits % 8:
        raise DamagedMessageError("the bits after the last code must be zero")
