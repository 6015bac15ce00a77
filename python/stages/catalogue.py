"""List the samples of an analysis: datasets and folders, with files, events, sizes, sites and weights."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from ..catalogue import das, folders
from ..catalogue.entry import Catalogue, CatalogueEntry, changes, cross_sections, named
from ..config.schema import Analysis
from ..console import out, say, size_text
from ..errors import UserError
from ..events.files import list_line, split_line
from ..provenance.manifest import write_atomically

_HEAD = "# Written by nanoforge catalogue, {date}. In the analysis file: include: {name}\n"
_PIPE_WIDTH = 1000
"""Where no terminal shows a table, names stay whole."""


def catalogue(
    patterns: Sequence[str] | Analysis,
    output: Path,
    *,
    xsec: Path | None = None,
    tree: str = "Events",
    refresh: bool = False,
) -> Catalogue:
    """Look samples up, show them, and write them as a block that an analysis file can include.

    Parameters
    ----------
    patterns
        Names of datasets, which may have ``*``, and folders or patterns of files; or the analysis that has the samples.
    output
        Gets ``samples``, and what is known of them under ``catalogue``; a folder beside it (``samples_files`` of
        ``samples.yaml``) gets a list of the files of each sample, with their checksums.
    xsec
        A table of cross sections in pb, by the names of samples or of primary datasets.
    tree
        The tree whose entries are events.
    refresh
        Say what changed since ``output`` was written; without patterns, look up the same again.

    Raises
    ------
    UserError, DataError
        See :mod:`nanoforge.errors`; ``output`` is as it was then.
    """
    old = _read(output) if refresh or output.exists() else None
    if refresh and old is not None and not patterns:
        patterns = old.patterns
    table = {} if xsec is None else cross_sections(_yaml(xsec), str(xsec))
    if isinstance(patterns, Analysis):
        entries = _of_analysis(patterns)
        asked: tuple[str, ...] = tuple(dict.fromkeys(entry.source for entry in entries.values()))
    else:
        asked = tuple(patterns)
        if not asked:
            raise UserError("which datasets? give patterns such as '/TTto2L2Nu*/Run3Summer22*/NANOAODSIM', or folders")
        entries = named([entry for pattern in asked for entry in _look_up(pattern, tree)])
    date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    found = Catalogue(date, asked, entries)
    _show(found)
    if old is not None:
        lines = changes(old.entries, entries)
        say(f"since {old.date}: " + ("nothing has changed" if not lines else f"{len(lines)} changes"))
        for line in lines:
            say(f"  {line}")
    output.parent.mkdir(parents=True, exist_ok=True)
    _write_lists(_lists(output), entries)
    write_atomically(output, _text(found, table, output.name))
    say(f"{output}: {len(entries)} samples; in the analysis file: include: {output}")
    say(f"{_lists(output)}: their files, with checksums where these are known")
    return found


def _lists(output: Path) -> Path:
    """Return the folder that has a list of files for each sample, which ``files`` of an analysis takes as well."""
    return output.with_name(f"{output.stem}_files")


def _write_lists(folder: Path, entries: Mapping[str, CatalogueEntry]) -> None:
    folder.mkdir(exist_ok=True)
    for name, entry in entries.items():
        lines = (list_line(file, sum_) for file, sum_ in sorted(entry.adler32.items()))
        write_atomically(folder / f"{name}.txt", "".join(f"{line}\n" for line in lines))


def _with_checksums(entries: Mapping[str, CatalogueEntry], folder: Path) -> dict[str, CatalogueEntry]:
    """Return entries with the checksums of their lists of files, where these are still there."""
    result = {}
    for name, entry in entries.items():
        path = folder / f"{name}.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        result[name] = replace(entry, adler32=dict(map(split_line, lines)))
    return result


def _look_up(pattern: str, tree: str) -> list[CatalogueEntry]:
    is_dataset = pattern.startswith("/") and pattern.count("/") == 3 and not Path(pattern).exists()
    return (
        das.entries(pattern) if is_dataset and pattern.rpartition("/")[2].isupper() else [folders.entry(pattern, tree)]
    )


def _of_analysis(analysis: Analysis) -> dict[str, CatalogueEntry]:
    """Look up the samples of an analysis, with their labels as categories."""
    result: dict[str, CatalogueEntry] = {}
    for name, sample in analysis.samples.items():
        sources = [sample.dataset] if sample.dataset is not None else sample.files or []
        for number, source in enumerate(sources):
            for entry in _look_up(source, analysis.tree):
                key = name if number == 0 and name not in result else f"{name}_{len(result)}"
                result[key] = CatalogueEntry(**{**vars(entry), "category": sample.label or name})
    return result


def _read(path: Path) -> Catalogue:
    content = _yaml(path)
    try:
        block = content["catalogue"]
        entries = {name: CatalogueEntry.from_dict(entry) for name, entry in block["entries"].items()}
        return Catalogue(block["date"], tuple(block["patterns"]), _with_checksums(entries, _lists(path)))
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: is no catalogue: 'nanoforge catalogue' makes one; give another -o") from None


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None


def _text(found: Catalogue, table: Mapping[str, float], name: str) -> str:
    samples: dict[str, Any] = {}
    for sample, entry in found.entries.items():
        samples[sample] = {"dataset" if entry.is_dataset else "files": entry.source}
        primary = entry.source.split("/")[1] if entry.is_dataset else sample
        value = table.get(sample, table.get(primary))
        if value is not None:
            samples[sample]["xsec"] = value
            if entry.sumw is not None:
                samples[sample]["sumw"] = entry.sumw
    entries = {sample: entry.as_dict() for sample, entry in found.entries.items()}
    block = {"date": found.date, "patterns": list(found.patterns), "entries": entries}
    body = yaml.safe_dump({"samples": samples, "catalogue": block}, sort_keys=False, width=1000)
    return _HEAD.format(date=found.date, name=name) + body


def _show(found: Catalogue) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("sample", overflow="fold")
    for column in ("files", "events", "size", "sum of weights"):
        table.add_column(column, justify="right")
    for column in ("status", "on disk at"):
        table.add_column(column)
    for category in dict.fromkeys(entry.category for entry in found.entries.values()):
        own = {name: entry for name, entry in found.entries.items() if entry.category == category}
        for name, entry in own.items():
            table.add_row(name, *_numbers(entry.files, entry.events, entry.size), _weight(entry), entry.status,
                          ", ".join(entry.sites[:3]) + (", ..." if len(entry.sites) > 3 else ""))  # fmt: skip
        sums = [_sum(getattr(entry, key) for entry in own.values()) for key in ("files", "events", "size")]
        table.add_row(f"= {category}", *_numbers(*sums), "", "", "", style="bold", end_section=True)
    console = out if out.is_terminal else Console(file=out.file, width=_PIPE_WIDTH, highlight=False)
    console.print(table)


def _sum(values: Any) -> int | None:
    numbers = list(values)
    return None if None in numbers else sum(numbers)


def _numbers(files: int | None, events: int | None, size: int | None) -> list[str]:
    counts = ["?" if number is None else f"{number:,}" for number in (files, events)]
    return [*counts, "?" if size is None else size_text(size)]


def _weight(entry: CatalogueEntry) -> str:
    return "" if entry.sumw is None else f"{entry.sumw:.6g}"
