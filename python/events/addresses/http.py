"""``http://`` and ``https://``: files on web servers; whole where a server cannot send parts of them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import FileError
from ..damage import HEAD, ROOT, refuse_damaged
from ..protocol import RemoteFiles, file_system

_MOST = 4 << 30
"""Bytes of a file that is fetched as a whole."""
_BLOCK = 1 << 20


class HttpFiles(RemoteFiles):
    """Files on web servers."""

    schemes = ("http", "https")

    def open(self, path: str, addresses: Sequence[str]) -> Any:
        """Open a file to read bytes."""
        system, name, parts = _asked(addresses[0], {})
        return system.open(name, "rb") if parts else _fetched(name, system)

    def open_root(self, path: str, addresses: Sequence[str]) -> Any:
        """Open a ROOT file by uproot.

        Raises
        ------
        FileError
            When there is none, or one that would have to be fetched whole and is too large for that.
        """
        return open_at(addresses[0], {})


def open_at(address: str, options: dict[str, Any]) -> Any:
    """Open a ROOT file at an ``http://`` or ``https://`` address, with options of fsspec's file system."""
    import uproot

    system, name, parts = _asked(address, options)
    return uproot.open({name: None}, **options) if parts else _open_whole(name, system)


def _asked(address: str, options: dict[str, Any]) -> tuple[Any, str, bool]:
    """Ask for the beginning of a file: returns the file system, the address, and whether the server sends parts."""
    if "::" in address or "#" in address:
        raise FileError(address, "'::' and '#' mean something else in an address: write %3A%3A and %23", mistake=True)
    system, name = file_system(address, address, **options)
    try:
        head = system.cat_file(name, start=0, end=HEAD)
    except FileNotFoundError:
        raise FileError(address, "the server has no such file") from None
    except Exception as error:  # aiohttp has its own exceptions
        raise FileError(address, f"cannot be fetched: {type(error).__name__}: {error}") from error
    return system, name, len(head) <= HEAD


def _fetched(address: str, system: Any) -> Any:
    """Fetch a file into a temporary one, which is gone when it is closed."""
    copy = tempfile.NamedTemporaryFile(suffix=Path(address).suffix)  # noqa: SIM115 - closed by who asks
    try:
        most = min(_MOST, shutil.disk_usage(Path(copy.name).parent).free // 2)
        with system.open(address, "rb", block_size=0) as source:
            while block := source.read(_BLOCK):
                copy.write(block)
                if copy.tell() > most:
                    raise FileError(address, "is large, and its server cannot send parts of a file: copy it first")
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy


def _open_whole(address: str, system: Any) -> Any:
    import uproot

    with _fetched(address, system) as copy:
        try:
            refuse_damaged(copy.name, ROOT)
        except FileError as error:
            raise FileError(address, error.reason) from None
        source = uproot.source.file.MultithreadedFileSource
        return uproot.open({copy.name: None}, handler=source, num_workers=1)
