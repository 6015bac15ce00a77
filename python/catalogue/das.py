"""Datasets of CMS, by ``dasgoclient``; where they lie by Rucio, if its client is at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..errors import DataError, UserError
from ..events.files import ask_das, das_checksum
from .entry import CatalogueEntry, digest
from .rucio import NOT_DISK, sites_on_disk

_SHARES = ("dataset_fraction", "block_fraction", "block_completion", "replica_fraction")


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
    files = {str(r["name"]): das_checksum(r) for r in _records(f"file dataset={name}", "file")}
    return CatalogueEntry(
        source=name,
        category=pattern,
        files=_number(summary, "nfiles", "num_file"),
        events=_number(summary, "nevents", "num_event"),
        size=_number(summary, "file_size"),
        sites=sites,
        status=status,
        parents=tuple(sorted(parents)),
        checksums=digest(files),
        adler32=files,
    )


def _on_disk(record: dict[str, Any]) -> bool:
    """Whether a whole dataset is on disk at a site; tapes say so by their names or their kind.

    All blocks have to be there, and all of their files: ``dataset_fraction`` and ``block_fraction`` compare Rucio with
    DBS, and are the same for all sites (``Site4DatasetPct`` of DAS).
    """
    name, kind = str(record.get("name", "")), str(record.get("kind", "DISK")).upper()
    whole = all(str(record.get(share, "100")).strip().startswith("100") for share in _SHARES)
    return bool(name) and kind == "DISK" and not name.endswith(NOT_DISK) and whole


def _number(record: dict[str, Any], *names: str) -> int | None:
    return next((int(record[name]) for name in names if record.get(name) is not None), None)


def _records(query: str, key: str) -> Iterator[dict[str, Any]]:
    """Ask DAS; yields what stands under a key of each record."""
    answer = ask_das(query, query)
    try:
        records = [record for line in json.loads(answer or "[]") for record in line.get(key) or [] if record]
        errors = [str(record["error"]) for record in records if record.get("error")]
    except (ValueError, TypeError, AttributeError):
        raise DataError(f"{query}: dasgoclient answers in no known form: {answer[:100]!r}") from None
    if errors:
        raise DataError(f"{query}: DAS answers with an error: {' '.join(errors[0].split())[:200]}")
    yield from records
