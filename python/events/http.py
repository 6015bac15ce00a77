"""Files on web servers; whole where a server cannot send parts of them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import uproot

from ..errors import FileError
from .damage import HEAD, refuse_damaged

_MOST = 4 << 30
"""Bytes of a file that is fetched as a whole."""
_BLOCK = 1 << 20


def open_http(address: str) -> Any:
    """Open a ROOT file at an ``http://`` or ``https://`` address.

    Raises
    ------
    FileError
        When there is none, or one that would have to be fetched whole and is too large for that.
    """
    import fsspec

    if "::" in address or "#" in address:
        raise FileError(address, "'::' and '#' mean something else in an address: write %3A%3A and %23", mistake=True)
    system = fsspec.filesystem(address.partition(":")[0])
    try:
        head = system.cat_file(address, start=0, end=HEAD)
    except FileNotFoundError:
        raise FileError(address, "the server has no such file") from None
    except Exception as error:  # aiohttp has its own exceptions
        raise FileError(address, f"cannot be fetched: {type(error).__name__}: {error}") from error
    if len(head) <= HEAD:
        return uproot.open({address: None})
    return _open_whole(address, system)


def _open_whole(address: str, system: Any) -> Any:
    """Fetch a file into a temporary one, which is gone when it is closed."""
    with tempfile.NamedTemporaryFile(suffix=".root") as copy:
        most = min(_MOST, shutil.disk_usage(Path(copy.name).parent).free // 2)
        with system.open(address, "rb", block_size=0) as source:
            while block := source.read(_BLOCK):
                copy.write(block)
                if copy.tell() > most:
                    raise FileError(address, "is large, and its server cannot send parts of a file: copy it first")
        copy.flush()
        try:
            refuse_damaged(copy.name)
        except FileError as error:
            raise FileError(address, error.reason) from None
        source = uproot.source.file.MultithreadedFileSource
        return uproot.open({copy.name: None}, handler=source, num_workers=1)
