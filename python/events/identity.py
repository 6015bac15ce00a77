"""Which columns identify an event: those that the analysis names, or those that look as if they did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..config.schema import IDENTITY
from .columns import Branch

_NUMBERS = ("", "number", "num", "nr", "no", "id")
_RUN = frozenset(f"run{end}" for end in _NUMBERS)
_SECTION = frozenset(
    ["ls", *(f"{start}{end}" for start in ("lumi", "lumisec", "lumisection", "lumiblock") for end in _NUMBERS)]
    + [f"luminosity{end}" for end in ("", "block", "section", "blocknumber")]
)
_EVENT = frozenset(f"{start}{end}" for start in ("event", "evt") for end in _NUMBERS)
"""Usual names of the columns that identify an event, as :func:`_plain` writes them."""


def _plain(name: str) -> str:
    """Write a name in small letters without underscores: ``EventNumber`` and ``event_number`` are one."""
    return name.replace("_", "").lower()


def is_identifier(name: str) -> bool:
    """Whether a column of this name usually is part of what identifies an event."""
    return _plain(name) in _RUN | _SECTION | _EVENT


def integer_columns(branches: Mapping[str, Branch]) -> list[str]:
    """List the columns with one integer per event."""
    return [name for name, branch in branches.items() if _is_integer(branch)]


def lacking(columns: Iterable[str], branches: Mapping[str, Branch]) -> list[str]:
    """List those of the columns that a file does not have, as one integer per event."""
    return [name for name in columns if name not in branches or not _is_integer(branches[name])]


def _is_integer(branch: Branch) -> bool:
    return not branch.jagged and branch.dtype is not None and branch.dtype.kind in "iu"


def likely_identity(branches: Mapping[str, Branch]) -> list[str]:
    """Find the columns that identify an event by their names: run, lumi section and event, as far as they are there.

    Empty where there is no event number.
    """
    if not lacking(IDENTITY, branches):
        return [*IDENTITY]
    names = integer_columns(branches)
    columns = [next((n for n in names if _plain(n) in usual), None) for usual in (_RUN, _SECTION, _EVENT)]
    return [name for name in columns if name is not None] if columns[-1] is not None else []


def lumi_columns(identity: Sequence[str]) -> tuple[str, str]:
    """Return the columns that a lumi mask needs, run and lumi section, by the names that the identity has."""
    run, section = (
        next((n for n in identity if _plain(n) in usual), default) for usual, default in zip((_RUN, _SECTION), IDENTITY)
    )
    return run, section
