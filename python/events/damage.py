"""What is wrong with a file, in words: looked at before a library stumbles over it, or told from what it raised."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import FileError

HEAD = 1024
"""Bytes that tell files apart: the header of a ROOT file has its UUID and its size."""

_GZIP = b"\x1f\x8b"
_SIGNATURES = {
    b"root": "a ROOT file",
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a zip archive: unpack it",
    _GZIP: "compressed by gzip: unpack it",
    b"BZh": "compressed by bzip2: unpack it",
    b"\xfd7zXZ": "compressed by xz: unpack it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it",
    b"\x89HDF": "an HDF5 file",
    b"version https://git-lfs": "a pointer of Git LFS: run 'git lfs pull'",
}
_COMPRESSION = ("DeflateError", "LZMAError", "ZstdError", "DecompressionError")
_STRUCTURE = (
    "DeserializationError",
    "AssertionError",
    "IndexError",
    "KeyError",
    "TypeError",
    "error",
    "KeyInFileError",
)


def kind_of(head: bytes) -> str:
    """Say what a file is by its first bytes."""
    by_signature = next((kind for start, kind in _SIGNATURES.items() if head.startswith(start)), None)
    if by_signature is not None:
        return by_signature
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "a web page, perhaps that of a login: copy the file itself"
    return "a text file" if head.isascii() and b"\0" not in head else "of an unknown kind"


@dataclass(frozen=True)
class FileKind:
    """By what files of a format are told.

    Attributes
    ----------
    name
        Of the format.
    start, end
        The first and last bytes of every file; nothing where they may be any.
    text
        Whether they hold text, or such that is compressed where their names end in ``.gz``.
    """

    name: str
    start: bytes = b""
    end: bytes = b""
    text: bool = False


ROOT = FileKind("ROOT", b"root")


def refuse_damaged(path: str, kind: FileKind) -> None:
    """Raise a :class:`FileError` for a local file that cannot be read, is empty, of another kind, or truncated."""
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(HEAD)
            file.seek(max(size - 4, 0))
            tail = file.read()
    except OSError as error:
        raise FileError(path, f"cannot be read: {reason(error)}") from None
    if not size:
        raise FileError(path, "is empty (0 bytes): copy it again")
    _refuse_kind(path, head, kind)
    whole = size_of_root(head)
    if size < whole:
        raise FileError(path, f"truncated: {size:,} of {whole:,} bytes are here; copy it again")
    if not tail.endswith(kind.end):
        raise FileError(path, "truncated: the end of the file is missing; copy it again")


def _refuse_kind(path: str, head: bytes, kind: FileKind) -> None:
    if kind.text:
        packed = path.endswith(".gz")
        if packed and not head.startswith(_GZIP):
            raise FileError(path, f"is not compressed by gzip, as its name says, but {kind_of(head)}")
        if not packed and kind_of(head) not in ("a text file", "of an unknown kind"):
            raise FileError(path, f"is no {kind.name} file but {kind_of(head)}")
    elif len(head) < len(kind.start) and kind.start.startswith(head):
        raise FileError(path, f"truncated: {len(head)} bytes are here; copy it again")
    elif not head.startswith(kind.start):
        raise FileError(path, f"is no {kind.name} file but {kind_of(head)}")


def size_of_root(head: bytes) -> int:
    """Return the size that a ROOT file has by its header; 0 for a file of another kind."""
    if head[:4] != b"root":
        return 0
    large = int.from_bytes(head[4:8], "big") >= 1_000_000  # the version: positions have eight bytes
    return int.from_bytes(head[12 : 20 if large else 16], "big")


def reason(error: BaseException) -> str:
    """Say in one line what an exception of a library means."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    name, first = type(error).__name__, lines[0][:200] if lines else ""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    if name in _COMPRESSION or type(error).__module__ == "zlib":
        return f"compressed data are damaged ({first or name}): copy it again"
    if name in _STRUCTURE:
        return f"its structure is damaged, or of a kind that is not read ({name}: {first})"
    if type(error) is ValueError or name == "ArrowInvalid":
        return first or name
    return f"{name}: {first}" if first else name
