"""Files at addresses, through fsspec: the base of what handles a protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..errors import FileError, UserError


class RemoteFiles:
    """Files at the addresses of some protocols; this class serves all that fsspec knows.

    A protocol that needs more is a file in ``events/addresses`` with a class derived from this one. Where several
    addresses are given they are of the same file, in the order of trying.

    Attributes
    ----------
    schemes
        What stands before ``://``.
    """

    schemes: ClassVar[tuple[str, ...]] = ()

    def matches(self, pattern: str) -> list[str]:
        """Return the addresses that fit one with wildcards, sorted; raises what says why there is no answer."""
        system, path = file_system(pattern, pattern)
        system.ls(path.partition("*")[0].rpartition("/")[0])  # says why it fails; glob finds nothing then
        matches = sorted(system.glob(path))
        if pattern.endswith(path):  # without the server, in some protocols
            return [pattern.removesuffix(path) + match for match in matches]
        return [system.unstrip_protocol(match) for match in matches]

    def size(self, path: str, addresses: Sequence[str]) -> int:
        """Return the size of a file in bytes; raises whatever the protocol does where it cannot be told."""
        system, name = file_system(addresses[0], path)
        return int(system.size(name) or 0)

    def checksum(self, address: str) -> str | None:
        """Return the adler32 of a file as its server says it, in eight digits; None where it says none."""
        return None

    def open(self, path: str, addresses: Sequence[str]) -> Any:
        """Open a file to read bytes."""
        system, name = file_system(addresses[0], path)
        return system.open(name, "rb")

    def open_root(self, path: str, addresses: Sequence[str]) -> Any:
        """Open a ROOT file by uproot."""
        import uproot

        file_system(addresses[0], path)
        return uproot.open({addresses[0]: None})


def file_system(address: str, path: str, **options: Any) -> tuple[Any, str]:
    """Return fsspec's file system of an address, and how it calls the file.

    Parameters
    ----------
    address
        ``protocol://...``.
    path
        How messages call the file.
    options
        For the file system.

    Raises
    ------
    UserError
        When the protocol is not known, or its package is not installed.
    """
    import fsspec

    if "::" in address:
        raise FileError(path, "'::' means something else in an address: write %3A%3A", mistake=True)
    require_protocol(address.partition("://")[0], path)
    system, name = fsspec.core.url_to_fs(address, **options)
    return system, str(name)


def require_protocol(scheme: str, path: str) -> None:
    """Raise a :class:`UserError` where fsspec has no file system of a protocol, with what to install."""
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError):
        raise UserError(f"{path}: {_remedy(scheme)}") from None


def _remedy(scheme: str) -> str:
    """Say what to install for a protocol."""
    from fsspec.registry import known_implementations

    if scheme not in known_implementations:
        return f"{scheme}:// is no protocol that is known here; copy the file, or name it by root:// or https://"
    package = known_implementations[scheme]["class"].partition(".")[0]
    if package == "fsspec":
        return f"{scheme}:// needs what is not installed: {known_implementations[scheme].get('err', '')}"
    return f"{scheme}:// needs a package that is not installed: pip install {package}"
