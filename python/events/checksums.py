"""Compare files with the checksum that somebody else has of them, once per file and process.

ROOT's zstd frames and uncompressed baskets have no sums of their own, so that flipped bits would be decoded without an
error. A checksum of the whole file is known where a list of files or DAS gives it, and of our own outputs, whose
manifest stands beside them.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path

from ..config.schema import REDIRECTORS
from ..console import say
from ..errors import FileError
from ..provenance.manifest import NAME, adler32, make_again
from .files import ListedFile, addresses, is_remote
from .remote import remote_files

_LIST = "the list of files says"
_verified: set[tuple[str, int, int, str]] = set()
"""Path, size, time of change and checksum of the files that were right."""
_without: set[str] = set()
"""Servers that tell no checksums."""


def verify(path: str, redirectors: Sequence[str] = REDIRECTORS) -> None:
    """Raise a :class:`FileError` where a file does not have the checksum that is known of it.

    Parameters
    ----------
    path
        The file. A local one is read as a whole; of a remote one the server is asked.
    redirectors
        Where files with logical names are.
    """
    if is_remote(path):
        if isinstance(path, ListedFile):
            _ask_server(path, addresses(path, redirectors)[0])
        return
    expected, source, remedy = _expected(path)
    if expected is None:
        return
    status = os.stat(path)  # noqa: PTH116 - of what is read, through links
    key = (path, status.st_size, status.st_mtime_ns, expected)
    if key not in _verified:
        _compare(path, adler32(Path(path)), expected, source, remedy)
        _verified.add(key)


def _expected(path: str) -> tuple[str | None, str, str]:
    """Return the checksum that a local file should have, who says so, and what helps where it has another one."""
    if isinstance(path, ListedFile):
        return path.adler32, _LIST, "copy it again"
    file = Path(path)
    for folder in (file.parent, file.parent.parent):
        manifest = folder / NAME
        try:
            status = manifest.stat()
        except OSError:
            continue
        stage, outputs = _outputs(manifest, status.st_mtime_ns, status.st_size)
        checksum = outputs.get(file.relative_to(folder).as_posix())
        if checksum is not None:
            return checksum, f"'nanoforge {stage}' wrote, by {manifest},", make_again(path, stage)
    return None, "", ""


@functools.lru_cache(maxsize=8)
def _outputs(manifest: Path, modified: int, size: int) -> tuple[str, dict[str, str]]:
    """Return the stage and the checksums of the outputs of a manifest; nothing where it is none of ours."""
    try:
        content = json.loads(manifest.read_text())
        outputs = {record["path"]: str(record["adler32"]) for record in content["outputs"] if record["adler32"]}
        return str(content["stage"]), outputs
    except (OSError, ValueError, KeyError, TypeError):
        return "", {}


def _ask_server(path: ListedFile, address: str) -> None:
    server = "/".join(address.split("/")[:3])
    if server in _without:
        return
    checksum = remote_files(address).checksum(address)
    if checksum is None:
        _without.add(server)
        say(f"note: {server} tells no adler32 checksums: files from there are not compared with those of the list")
    else:
        _compare(path, checksum, path.adler32, _LIST, "copy it again")


def _compare(path: str, checksum: str, expected: str, source: str, remedy: str) -> None:
    if checksum != expected:
        raise FileError(path, f"its checksum (adler32) is {checksum}, but {source} {expected}: {remedy}")
