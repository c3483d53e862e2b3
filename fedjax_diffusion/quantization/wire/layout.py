"""The places of every tensor's codes in packed rows and in a message.

A packed row (see ``packing``) holds 16 groups of 8 codes, b bytes each. A tensor of n entries
starts with a row, so its first ``n // 8`` groups are one run of bytes there. A message begins with
these *whole bytes* of all tensors, in order. The remaining ``n mod 8`` codes of each tensor follow
as one stream of bits: the *leftovers*. Tensors share bytes only there, so packing and copying of
all others never shift bits.
"""

import functools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from fedjax_diffusion.quantization.blocks import ARRAYS_OR_SHAPES, ROW, check_tensors
from fedjax_diffusion.quantization.wire.aligned import aligned_zeros
from fedjax_diffusion.types import PyTree

_GROUP = 8
_GROUPS_PER_ROW = ROW // _GROUP


@dataclass(frozen=True)
class Layout:
    """The tensors of a model, as sender and receiver must know them.

    Attributes:
      names: the path of each tensor in the tree, as ``['w']``; ``(root)`` for a single tensor.
      sizes: entries of each tensor, >= 0.
      dtypes: name of each tensor's dtype.
      first_groups: first group of each tensor in the packed rows.
      num_groups: number of groups in all rows.
      fingerprint: CRC-32 of paths, shapes and dtypes, in order.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    dtypes: tuple[str, ...]
    first_groups: tuple[int, ...]
    num_groups: int
    fingerprint: int

    def size_array(self) -> np.ndarray:
        """Returns the sizes, int64 [L]."""
        return _size_array(self.sizes)

    def tensor_slices(self) -> list[slice]:
        """Returns the slice of each tensor's entries in the flattened rows."""
        return [
            slice(_GROUP * first, _GROUP * first + size)
            for first, size in zip(self.first_groups, self.sizes, strict=True)
        ]

    def num_code_bits(self, bit_widths: Sequence[int]) -> int:
        """Returns the bits of a message's codes, ``sum_j n_j b_j``."""
        return sum(size * bit_width for size, bit_width in zip(self.sizes, bit_widths, strict=True))

    def runs(self, bit_widths: Sequence[int]) -> list[tuple[int, slice]]:
        """Returns (bit width, bytes of its rows) of the whole bytes; adjacent ones are joined."""
        runs = [(0, slice(0, 0))]
        for size, first, bit_width in zip(self.sizes, self.first_groups, bit_widths, strict=True):
            start, stop = bit_width * first, bit_width * (first + size // _GROUP)
            if (bit_width, start) == (runs[-1][0], runs[-1][1].stop):
                start = runs.pop()[1].start
            runs.append((bit_width, slice(start, stop)))
        return [(bit_width, part) for bit_width, part in runs if part.stop > part.start]

    def leftovers(self, bit_widths: Sequence[int]) -> Iterator[tuple[int, slice, int]]:
        """Yields (bit width, bytes of its packed rows, number of bits in them) of the leftovers."""
        for size, first, bit_width in zip(self.sizes, self.first_groups, bit_widths, strict=True):
            start = bit_width * (first + size // _GROUP)
            if bit_width and size % _GROUP:
                yield bit_width, slice(start, start + bit_width), bit_width * (size % _GROUP)


@functools.lru_cache(maxsize=64)
def _size_array(sizes: tuple[int, ...]) -> np.ndarray:
    return np.array(sizes, np.int64)


def make_layout(tree: PyTree) -> Layout:
    """Returns the layout of a tree of arrays or shapes; it is computed once per model.

    Raises:
      ValueError: a leaf is neither; names it.
    """
    leaves, treedef = jax.tree.flatten(tree)
    if not all(isinstance(x, ARRAYS_OR_SHAPES) for x in leaves):
        check_tensors(tree, ARRAYS_OR_SHAPES)
    return _make_layout(treedef, tuple((x.shape, x.dtype) for x in leaves))


@functools.lru_cache(maxsize=64)
def _make_layout(treedef: Any, specs: tuple[tuple, ...]) -> Layout:
    numbered = jax.tree.unflatten(treedef, range(len(specs)))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(numbered)]
    shapes, dtypes = zip(*specs, strict=True) if specs else ((), ())
    sizes = [int(np.prod(shape, dtype=int)) for shape in shapes]
    groups = [0, *np.cumsum([_GROUPS_PER_ROW * -(-size // ROW) for size in sizes], dtype=int)]
    text = ";".join(map("{}:{}:{}".format, paths, shapes, dtypes))
    return Layout(
        names=tuple(path or "(root)" for path in paths),
        sizes=tuple(sizes),
        dtypes=tuple(map(str, dtypes)),
        first_groups=tuple(int(group) for group in groups[:-1]),
        num_groups=int(groups[-1]),
        fingerprint=zlib.crc32(text.encode()),
    )


def packed_to_stream(
    packed: Mapping[int, np.ndarray], layout: Layout, bit_widths: Sequence[int]
) -> list[np.ndarray]:
    """Returns the codes of a message as pieces, uint8 [n] each, to be joined.

    Args:
      packed: for each bit width in ``bit_widths``, the packed rows of the whole model as uint8 [n].
      layout: of the model.
      bit_widths: bits of each tensor; 0 for one whose codes are elsewhere.
    """
    pieces = [packed[bit_width][part] for bit_width, part in layout.runs(bit_widths)]
    bits = [
        np.unpackbits(packed[bit_width][part], count=num_bits, bitorder="little")
        for bit_width, part, num_bits in layout.leftovers(bit_widths)
    ]
    return [*pieces, np.packbits(np.concatenate(bits), bitorder="little")] if bits else pieces


def stream_to_packed(
    stream: np.ndarray, layout: Layout, bit_widths: Sequence[int]
) -> dict[int, np.ndarray]:
    """Returns the packed rows by bit width, zero in tensors of other bit widths.

    The inverse of ``packed_to_stream``.

    Args:
      stream: uint8 [ceil(num_code_bits / 8)], the pieces joined.
      layout: of the model.
      bit_widths: bits of each tensor; 0 for one whose codes are elsewhere.
    """
    packed = {
        bit_width: aligned_zeros(bit_width * layout.num_groups) for bit_width in {*bit_widths} - {0}
    }
    position = 0
    for bit_width, part in layout.runs(bit_widths):
        end = position + part.stop - part.start
        packed[bit_width][part] = stream[position:end]
        position = end
    bits, position = np.unpackbits(stream[position:], bitorder="little"), 0
    for bit_width, part, num_bits in layout.leftovers(bit_widths):
        code = np.packbits(bits[position : position + num_bits], bitorder="little")
        packed[bit_width][part.start : part.start + code.size] = code
        position += num_bits
    return packed
