"""Who handles an address: what is special to its protocol, or fsspec."""

from __future__ import annotations

import functools

from ..registry import Registry
from .protocol import RemoteFiles

PROTOCOLS = Registry("protocol", RemoteFiles, f"{__package__}.addresses")


def remote_files(address: str) -> RemoteFiles:
    """Return who handles an address, ``protocol://...``."""
    return _of_scheme(address.partition("://")[0])


@functools.cache
def _of_scheme(scheme: str) -> RemoteFiles:
    special = (kind for _, kind in PROTOCOLS.all() if scheme in kind.schemes)
    return next(special, RemoteFiles)()
