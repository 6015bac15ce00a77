"""What is known of one dataset or folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..errors import UserError
from ..provenance.manifest import fingerprint

_FIRST = re.compile(r"_(Tune|13TeV|13p6TeV|14TeV)")


@dataclass(frozen=True)
class CatalogueEntry:
    """One dataset of DAS, or a folder.

    Attributes
    ----------
    source
        Its name, or the pattern of its files.
    category
        What it was found by.
    files, events, size
        How many, and bytes; None where that is not known.
    sites
        Where it is on disk as a whole.
    status
        As DBS says: VALID, PRODUCTION and so on.
    parents
        Datasets that it was made of.
    sumw
        Sum of generator weights, where the files can be read.
    checksums
        Changes with the checksum of any file.
    adler32
        Those of the files, by their names; empty where it is not known.
    """

    source: str
    category: str
    files: int | None = None
    events: int | None = None
    size: int | None = None
    sites: tuple[str, ...] = ()
    status: str = ""
    parents: tuple[str, ...] = ()
    sumw: float | None = None
    checksums: str = ""
    adler32: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_dataset(self) -> bool:
        """Whether it is a dataset of DAS."""
        return self.source.startswith("/") and self.source.count("/") == 3 and self.source.rpartition("/")[2].isupper()

    def as_dict(self) -> dict[str, Any]:
        """Return plain types, without what is not known."""
        content = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}
        del content["adler32"]  # it has a file of its own
        return {name: value for name, value in content.items() if value not in (None, "", [])}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> CatalogueEntry:
        """Return what :meth:`as_dict` wrote."""
        lists = {name: tuple(content[name]) for name in ("sites", "parents") if name in content}
        return cls(**{**content, **lists})


@dataclass(frozen=True)
class Catalogue:
    """Entries by the names of samples, and when they were looked up."""

    date: str
    patterns: tuple[str, ...]
    entries: Mapping[str, CatalogueEntry] = field(default_factory=dict)


def named(entries: Sequence[CatalogueEntry]) -> dict[str, CatalogueEntry]:
    """Name samples: by the process in the name of a dataset, by the folder; what is alike is numbered."""
    names: dict[str, CatalogueEntry] = {}
    for entry in sorted(entries, key=lambda e: e.source):
        first = entry.source.split("/")[1] if entry.is_dataset else _folder(entry.source)
        name = re.sub(r"\W", "_", _FIRST.split(first)[0])
        name = name if re.match("[A-Za-z]", name) else f"s_{name}"
        extension = re.search(r"_(ext\d+)-", entry.source)
        name += f"_{extension[1]}" if extension else ""
        number = 2
        while (chosen := name if number == 2 and name not in names else f"{name}_{number}") in names:
            number += 1
        names[chosen] = entry
    return names


def digest(adler32: Mapping[str, str]) -> str:
    """Return what changes with the checksum of any file; nothing where none is known."""
    return fingerprint(dict(adler32))[:16] if any(adler32.values()) else ""


def _folder(pattern: str) -> str:
    parts = [part for part in pattern.split("://")[-1].split("/") if part and "*" not in part]
    return parts[-1].removesuffix(".root") if parts else "sample"


def changes(old: Mapping[str, CatalogueEntry], new: Mapping[str, CatalogueEntry]) -> list[str]:
    """Say what changed between two catalogues."""
    before, now = ({e.source: e for e in entries.values()} for entries in (old, new))
    lines = [f"{source} is new" for source in now if source not in before]
    lines += [f"{source} is gone" for source in before if source not in now]
    for source in now:
        if source in before and replace(before[source], category=now[source].category) != now[source]:
            one, other = before[source].as_dict(), now[source].as_dict()
            keys = [
                key for key in dict.fromkeys([*one, *other]) if one.get(key) != other.get(key) and key != "category"
            ]
            differences = [f"{key} {_shown(one, key)} -> {_shown(other, key)}" for key in keys]
            differences += _changed_files(before[source].adler32, now[source].adler32)
            lines.append(f"{source}: {', '.join(differences)}")
    return lines


def _changed_files(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Name the first files of a sample that have come, gone or changed."""
    if not old or not new:
        return []
    kinds = {
        "new files": new.keys() - old.keys(),
        "files that are gone": old.keys() - new.keys(),
        "files with other contents": {name for name in old.keys() & new.keys() if old[name] != new[name]},
    }
    return [
        f"{kind}: {' '.join(sorted(names)[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        for kind, names in kinds.items()
        if names
    ]


def _shown(content: Mapping[str, Any], key: str) -> str:
    value = content.get(key, "none")
    return ", ".join(value) if isinstance(value, list) else f"{value:,}" if isinstance(value, int) else str(value)


def cross_sections(content: Any, key: str) -> dict[str, float]:
    """Read a table of cross sections (pb), by the names of samples or of primary datasets."""
    if not isinstance(content, dict) or not all(isinstance(x, (int, float)) and x > 0 for x in content.values()):
        raise UserError(f"{key}: should be lines 'name: cross section in pb'")
    return {str(name): float(value) for name, value in content.items()}
