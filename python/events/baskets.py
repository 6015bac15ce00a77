"""Baskets of TTrees, from the bytes of a file.

uproot makes an object of every basket and copies its parts together, which costs a third of the decompression itself
(zstd). The layout of a basket is ROOT's: a TKey, the members of TBasket, then frames of a 9-byte header and compressed
bytes. What is not laid out so, baskets that are embedded in the tree's description among it, is left to uproot.
"""

from __future__ import annotations

import lzma
import struct
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import cramjam
import deflate
import numpy as np
import xxhash
import zstandard

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


def decode_basket(record: bytes) -> Basket | None:
    """Decompress a basket from its bytes in the file; None where it is of a kind for uproot.

    Raises
    ------
    ValueError
        When its parts contradict one another, or a checksum is wrong.
    """
    length, _, size, _, key = _KEY.unpack_from(record)
    if length != len(record) or not _KEY.size + _MEMBERS.size <= key <= length:
        raise ValueError(f"a basket of {len(record)} bytes says that it has {length}")
    _, _, _, entries, end, _ = _MEMBERS.unpack_from(record, key - _MEMBERS.size)
    if length - key != size and record[key : key + 2] not in _CODECS:
        return None
    content = np.frombuffer(decompress(record, key, size), np.uint8)
    border = end - key
    if border == size:
        return Basket(content, None)
    starts = content[border + 4 :].view(">i4")  # the first number counts the others
    if not 0 <= border < size or len(starts) < entries:
        raise ValueError(f"a basket's values end at {border} of {size} bytes")
    return Basket(content[:border], starts[:entries])


def decompress(record: bytes, key: int, size: int) -> Any:
    """Return what the frames from byte ``key`` of a record on hold, as a buffer of ``size`` bytes.

    Raises
    ------
    ValueError
        When the frames contradict one another, or a checksum is wrong.
    """
    if len(record) - key == size:
        return memoryview(record)[key:]
    frames, parts, position = memoryview(record), [], key
    while position < len(record):
        start = position + _FRAME
        stored, whole = (int.from_bytes(frames[i : i + 3], "little") for i in (position + 3, position + 6))
        part = _CODECS[record[position : position + 2]](frames[start : start + stored], whole)
        if len(part) != whole:
            raise ValueError(f"a frame of {whole} bytes holds {len(part)}")
        parts.append(part)
        position = start + stored
    content = parts[0] if len(parts) == 1 else b"".join(parts)
    if len(content) != size:
        raise ValueError(f"{len(content)} bytes are stored where {size} are expected")
    return content


def _lz4(frame: memoryview, size: int) -> Any:
    checksum, block = frame[:_LZ4_CHECKSUM], frame[_LZ4_CHECKSUM:]
    if xxhash.xxh64(block).digest() != bytes(checksum):
        raise ValueError("a checksum (xxhash64) is wrong")
    return cramjam.lz4.decompress_block(block, output_len=size)


def _zstd(frame: memoryview, size: int) -> bytes:
    decompressor = getattr(_of_thread, "zstd", None)
    if decompressor is None:  # a new one for every basket costs as much as a small basket itself
        decompressor = _of_thread.zstd = zstandard.ZstdDecompressor()
    content: bytes = decompressor.decompress(frame, max_output_size=size)
    return content


_of_thread = threading.local()
_CODECS: dict[bytes, Callable[[memoryview, int], Any]] = {
    b"ZL": deflate.zlib_decompress,
    b"XZ": lambda frame, size: lzma.decompress(frame),
    b"L4": _lz4,
    b"ZS": _zstd,
}
