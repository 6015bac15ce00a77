"""Datasets of CMS, by ``dasgoclient``; where they lie by Rucio, if its client is at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..errors import DataError, UserError
from ..events.files import ask_das
from ..provenance.manifest import fingerprint
from .entry import CatalogueEntry
from .rucio import sites_on_disk


def entries(pattern: str) -> list[CatalogueEntry]:
    """Look up the datasets that a pattern of names fits.

    Raises
    ------
    UserError
        When there is none, or ``dasgoclient`` is not here.
    DataError
        When it fails, or answers in no known form.
    """
    names = sorted({str(record["name"]) for record in _records(f"dataset={pattern}", "dataset")})
    if not names:
        raise UserError(f"{pattern}: DAS knows no valid dataset of this name")
    return [_entry(name, pattern) for name in names]


def _entry(name: str, pattern: str) -> CatalogueEntry:
    summary = next(_records(f"summary dataset={name}", "summary"), {})
    status = next((str(r["status"]) for r in _records(f"dataset dataset={name}", "dataset") if r.get("status")), "")
    sites = sites_on_disk(name)
    if sites is None:
        sites = tuple(sorted({str(r["name"]) for r in _records(f"site dataset={name}", "site") if _on_disk(r)}))
    parents = {str(r["name"]) for r in _records(f"parent dataset={name}", "parent") if r.get("name")}
    files = {str(r["name"]): str(r.get("adler32", "")) for r in _records(f"file dataset={name}", "file")}
    return CatalogueEntry(
        source=name,
        category=pattern,
        files=_number(summary, "nfiles", "num_file"),
        events=_number(summary, "nevents", "num_event"),
        size=_number(summary, "file_size"),
        sites=sites,
        status=status,
        parents=tuple(sorted(parents)),
        checksums=fingerprint(files)[:16] if files else "",
    )


def _on_disk(record: dict[str, Any]) -> bool:
    """Whether a whole dataset is on disk at a site; tapes say so by their names or their kind."""
    name, kind = str(record.get("name", "")), str(record.get("kind", "DISK")).upper()
    whole = str(record.get("dataset_fraction", record.get("replica_fraction", "100%")))
    return bool(name) and kind == "DISK" and not name.endswith(("_Tape", "_MSS", "_Buffer")) and whole.startswith("100")


def _number(record: dict[str, Any], *names: str) -> int | None:
    return next((int(record[name]) for name in names if record.get(name) is not None), None)


def _records(query: str, key: str) -> Iterator[dict[str, Any]]:
    """Ask DAS; yields what stands under a key of each record."""
    answer = ask_das(query, query)
    try:
        records = json.loads(answer or "[]")
        yield from [record for line in records for record in line.get(key, [])]
    except (ValueError, TypeError, AttributeError):
        raise DataError(f"{query}: dasgoclient answers in no known form: {answer[:100]!r}") from None
