"""The sender's quantizer in a message: a number, and for a registered one name and fingerprint.

The signature of a registered quantizer is a byte with the length of its name, the name in ASCII,
and the first 8 bytes of the SHA-256 of its source: both ends must have the same one.
"""

from fedjax_diffusion.quantization.quantizer import OWN_NUMBER
from fedjax_diffusion.quantization.quantizers import QUANTIZERS
from fedjax_diffusion.quantization.wire.errors import TruncatedMessageError, VersionError

_FINGERPRINT_BYTES = 8


def make_signature(name: str, digest: str) -> bytes:
    """Returns the signature of a quantizer.

    Args:
      name: ASCII, 1 to 255 characters.
      digest: SHA-256 of its source, hexadecimal.
    """
    return bytes([len(name)]) + name.encode("ascii") + bytes.fromhex(digest)[:_FINGERPRINT_BYTES]


def find_sender(number: int, body: bytes) -> str:
    """Returns the name of the quantizer that has made a message.

    Args:
      number: ``wire_number``, of the header.
      body: the bytes after the header; they begin with the signature if there is one.

    Raises:
      VersionError: the quantizer is unknown here, or it is registered from another source.
      TruncatedMessageError: the bytes end within the signature.
    """
    if number != OWN_NUMBER:
        names = {quantizer.wire_number: name for name, quantizer in QUANTIZERS.items()}
        names.pop(OWN_NUMBER, None)
        if number in names:
            return names[number]
        raise VersionError(f"quantizer {number} is none of 0..{max(names)}, which this version has")
    end = 1 + int.from_bytes(body[:1]) + _FINGERPRINT_BYTES
    if len(body) < end:
        raise TruncatedMessageError(f"the message ends within its quantizer's signature, of {end}")
    name = body[1 : end - _FINGERPRINT_BYTES].decode("ascii", "replace")
    if name not in QUANTIZERS or not QUANTIZERS[name].signature:
        raise VersionError(f"quantizer {name!r} is not registered here: import its plug-in first")
    if QUANTIZERS[name].signature != body[:end]:
        raise VersionError(f"quantizer {name!r} is registered here from another source")
    return name
