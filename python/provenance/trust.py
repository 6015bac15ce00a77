"""Whose code is run: Python that a run names is imported unasked only where this user trained it, or said so.

A run directory may come from somebody else, and nothing in it can vouch for it. So what this user trained or trusts is
kept in a file of this user's, ``~/.local/state/nanoforge/trusted`` (or under ``XDG_STATE_HOME``): one line each.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from ..errors import UserError
from .manifest import fingerprint

_in_this_process: set[str] = set()


class Made(Protocol):
    """A training or a submission: what trust is given to."""

    def identity(self) -> str:
        """Hash of what it is."""


def remember(made: Made, modules: Iterable[str]) -> None:
    """Note that this user trained or trusts a run with the code that it names."""
    names = sorted(set(modules))
    if not names or _token(made, names) in _trusted():
        return
    _in_this_process.add(_token(made, names))
    with contextlib.suppress(OSError):  # a home that cannot be written
        _file().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _file().open("a") as file:
            file.write(f"{_token(made, names)}\n")


def require(folder: Path, made: Made, modules: Iterable[str], *, trust: bool, how: str = "trained") -> None:
    """Raise a :class:`UserError` where a run names Python code that this user neither trained with nor trusts.

    Parameters
    ----------
    folder, made
        The run and its manifest, whose outputs have been verified; or the job directory and its plan.
    modules
        What would be imported: files, or names of modules.
    trust
        Whether the user says that it may be; then it is remembered.
    how
        It was made, for the message.
    """
    names = sorted(set(modules))
    if not names or (not trust and _token(made, names) in _trusted()):
        return
    if not trust:
        raise UserError(
            f"{folder}: was not {how} by you, and its Python code would be run: {', '.join(map(_located, names))}: "
            "read it, then give --trust (once)"
        )
    remember(made, names)


def _token(made: Made, names: list[str]) -> str:
    code = sorted((Path(name).name, str(_digest(name))) for name in names)  # the same where a project has moved to
    return fingerprint({"run": made.identity(), "code": code})


def _trusted() -> set[str]:
    try:
        noted = _file().read_text().split() if _file().stat().st_uid == os.getuid() else []
    except (OSError, ValueError):
        noted = []
    return _in_this_process.union(noted)


def _file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Path(state) / "nanoforge" / "trusted"


def _located(name: str) -> str:
    origin = _origin(name)
    return name if origin is None or str(origin) == name else f"{name} ({origin})"


def _digest(name: str) -> str | None:
    origin = _origin(name)
    try:
        return None if origin is None else hashlib.sha256(origin.read_bytes()).hexdigest()
    except OSError:
        return None


def _origin(name: str) -> Path | None:
    """Return the file of a module, found without importing anything: of ``a.b`` that of ``a``."""
    if name.endswith(".py") and Path(name).is_file():
        return Path(name)
    try:
        spec = importlib.util.find_spec(Path(name).stem if name.endswith(".py") else name.partition(".")[0])
    except (ImportError, ValueError):
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin)
