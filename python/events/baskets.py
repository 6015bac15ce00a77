"""Baskets of TTrees, from the bytes of a local file.

uproot makes an object of every basket and copies its parts together, which costs a third of the decompression itself
(zstd). The layout of a basket is ROOT's: a TKey, the members of TBasket, then frames of a 9-byte header and compressed
bytes. What is not laid out so, baskets that are embedded in the tree's description among it, is left to uproot.
"""

from __future__ import annotations

import lzma
import os
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import cramjam
import deflate
import numpy as np
import xxhash

_KEY = struct.Struct(">ihiIh")
"""Bytes of the record, version, bytes of the content, date, bytes of the key."""
_MEMBERS = struct.Struct(">hiiiiB")
"""Of TBasket, at the end of the key: version, buffer size, size of an offset, entries, end of the values, flag."""
_FRAME = 9
_LZ4_CHECKSUM = 8


class Basket(NamedTuple):
    """Stored values as bytes, and where each entry's begin: (entries,) bytes from the start of the key, or None."""

    data: np.ndarray
    starts: np.ndarray | None

    def position(self, entry: int) -> int:
        """Return the byte at which the values of an entry begin, or end where it is the number of entries."""
        assert self.starts is not None  # noqa: S101 - asked before
        return len(self.data) if entry == len(self.starts) else int(self.starts[entry]) - int(self.starts[0])


def read_basket(descriptor: int, branch: Any, index: int) -> Basket:
    """Read and decompress one basket of a TBranch.

    Raises
    ------
    ValueError
        When its parts contradict one another, or a checksum is wrong.
    """
    seek, size = (branch.member(name) for name in ("fBasketSeek", "fBasketBytes"))
    if index < len(seek) and seek[index] > 0:
        record = os.pread(descriptor, int(size[index]), int(seek[index]))
        found = _parse(memoryview(record))
        if found is not None:
            return found
    basket = branch.basket(index)
    starts = basket.byte_offsets
    return Basket(np.asarray(basket.data), None if starts is None else np.asarray(starts[:-1]))


def _parse(record: memoryview) -> Basket | None:
    """Take a basket's record apart; None where it is of a kind for uproot."""
    length, _, size, _, key = _KEY.unpack_from(record)
    if length != len(record) or not _KEY.size + _MEMBERS.size <= key <= length:
        raise ValueError(f"a basket of {len(record)} bytes says that it has {length}")
    _, _, _, entries, end, _ = _MEMBERS.unpack_from(record, key - _MEMBERS.size)
    frames = record[key:]
    if len(frames) == size:
        content = np.frombuffer(frames, np.uint8)
    elif bytes(frames[:2]) in _CODECS:
        content = _decompress(frames, size)
    else:
        return None
    border = end - key
    if border == size:
        return Basket(content, None)
    starts = content[border:].view(np.uint8)[4:].view(">i4")
    if not 0 <= border < size or len(starts) < entries:
        raise ValueError(f"a basket's values end at {border} of {size} bytes")
    return Basket(content[:border], starts[:entries])


def _decompress(frames: memoryview, size: int) -> np.ndarray:
    parts, position = [], 0
    while position < len(frames):
        head = bytes(frames[position : position + _FRAME])
        stored, whole = (int.from_bytes(head[i : i + 3], "little") for i in (3, 6))
        start = position + _FRAME
        position = start + stored
        part = np.frombuffer(_CODECS[head[:2]](frames[start:position], whole), np.uint8)
        if len(part) != whole:
            raise ValueError(f"a basket's frame of {whole} bytes holds {len(part)}")
        parts.append(part)
    content = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if len(content) != size:
        raise ValueError(f"a basket of {size} bytes holds {len(content)}")
    return content


def _lz4(frame: memoryview, size: int) -> Any:
    checksum, block = frame[:_LZ4_CHECKSUM], frame[_LZ4_CHECKSUM:]
    if xxhash.xxh64(block).digest() != bytes(checksum):
        raise ValueError("a basket's checksum (xxhash64) is wrong")
    return cramjam.lz4.decompress_block(block, output_len=size)


_CODECS: dict[bytes, Callable[[memoryview, int], Any]] = {
    b"ZL": deflate.zlib_decompress,
    b"XZ": lambda frame, size: lzma.decompress(frame),
    b"L4": _lz4,
    b"ZS": lambda frame, size: cramjam.zstd.decompress(frame, size),
}
