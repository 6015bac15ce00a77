"""``davs://`` and ``dav://``: WebDAV, as grid storages offer it; read by HTTPS, listed by the package webdav4."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..protocol import RemoteFiles, file_system, require_protocol
from .http import open_at

_AUTHORITIES = "/etc/grid-security/certificates"


class WebDavFiles(RemoteFiles):
    """Files on WebDAV servers.

    Who asks is told by a token (``BEARER_TOKEN`` or ``BEARER_TOKEN_FILE``), or else a certificate
    (``X509_USER_PROXY``); whose certificates are right by ``X509_CERT_DIR``.
    """

    schemes = ("dav", "davs")

    def matches(self, pattern: str) -> list[str]:
        """Return the addresses that fit one with wildcards, sorted."""
        import fsspec

        scheme, _, location = pattern.partition("://")
        server, _, path = location.partition("/")
        base = f"{_http(f'{scheme}://{server}')}/"
        require_protocol("webdav", pattern)
        system = fsspec.filesystem("webdav", base_url=base, **_for_listing())
        return [f"{scheme}://{server}/{match.lstrip('/')}" for match in sorted(system.glob(path.lstrip("/")))]

    def size(self, path: str, addresses: Sequence[str]) -> int:
        """Return the size of a file in bytes."""
        system, name = file_system(_http(addresses[0]), path, **_credentials(addresses[0]))
        return int(system.size(name) or 0)

    def open(self, path: str, addresses: Sequence[str]) -> Any:
        """Open a file to read bytes."""
        system, name = file_system(_http(addresses[0]), path, **_credentials(addresses[0]))
        return system.open(name, "rb")

    def open_root(self, path: str, addresses: Sequence[str]) -> Any:
        """Open a ROOT file by uproot."""
        return open_at(_http(addresses[0]), _credentials(addresses[0]))


def _http(address: str) -> str:
    """Return the address of the same file by HTTP(S)."""
    scheme, _, rest = address.partition("://")
    return f"{scheme.replace('dav', 'http')}://{rest}"


def _token() -> str:
    file = os.environ.get("BEARER_TOKEN_FILE", "")
    return os.environ.get("BEARER_TOKEN", "") or (Path(file).read_text().strip() if file else "")


def _credentials(address: str) -> dict[str, Any]:
    """Return what fsspec takes to tell who asks."""
    options: dict[str, Any] = {}
    if _token():
        options["headers"] = {"Authorization": f"Bearer {_token()}"}
    if address.startswith("davs://"):
        options["ssl"] = _security()
    return options


def _for_listing() -> dict[str, Any]:
    """Return the same for webdav4."""
    headers = {"Authorization": f"Bearer {_token()}"} if _token() else {}
    return {"headers": headers, "verify": _security()}


def _security() -> ssl.SSLContext:
    """Return the authorities that are believed, and the user's certificate where there is no token."""
    folder = os.environ.get("X509_CERT_DIR", _AUTHORITIES)
    security = ssl.create_default_context()
    if Path(folder).is_dir():
        security.load_verify_locations(capath=folder)
    proxy = os.environ.get("X509_USER_PROXY", "")
    if proxy and not _token():
        security.load_cert_chain(proxy)
    return security
