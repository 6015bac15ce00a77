"""Who was given which lumi sections of a sample: a journal beside the analysis file, so that none is made twice."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config.schema import Analysis
from ..errors import DataError, UserError
from ..provenance.journal import append_lines, whole_lines
from .plan import Production, plan


def with_lumis(analysis: Analysis, folder: Path, *, write: bool = True) -> Analysis:
    """Return the analysis with the numbers of the first lumi sections of all that it produces.

    What the same folder was given before, for as many sections, it gets again as long as it is there, finished or
    not. A folder that is there no more leaves its numbers unused for ever: what was made by them may be in use.

    Parameters
    ----------
    analysis
        The analysis.
    folder
        Where the result, or the jobs, will be.
    write
        Note it down; otherwise this is what would be given.

    Raises
    ------
    UserError
        When sections are asked for that others have, or the journal cannot be written.
    DataError
        When it is damaged.
    """
    requested = plan(analysis)
    produce = analysis.cmssw.produce if analysis.cmssw is not None else None
    if analysis.cmssw is None or produce is None or isinstance(produce.first_lumi, dict):
        return analysis  # frozen: they were given when the jobs were submitted
    reserved = _reserve(Path(produce.journal), requested, folder.resolve(), write)
    produce = produce.model_copy(update={"first_lumi": reserved})
    return analysis.model_copy(update={"cmssw": analysis.cmssw.model_copy(update={"produce": produce})})


def _reserve(journal: Path, requested: Mapping[str, Production], folder: Path, write: bool) -> dict[str, int]:
    try:
        descriptor = os.open(journal, os.O_RDWR | os.O_CREAT if write else os.O_RDONLY, 0o644)
    except FileNotFoundError:
        if write:
            raise UserError(f"cmssw.produce.journal: {journal}: there is no such folder") from None
        return {name: _first([], production) for name, production in requested.items()}
    except OSError as error:
        raise UserError(f"cmssw.produce.journal: {journal}: {error.strerror}: name a file that you can write") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if write else fcntl.LOCK_SH)
        text = whole_lines(descriptor)
        entries, reserved, lines = _entries(journal, text), {}, b""
        for name, production in requested.items():
            reserved[name], line = _give(entries, production, folder)
            lines += line
        if write and lines:
            append_lines(descriptor, text, lines)
        return reserved
    finally:
        os.close(descriptor)


def _give(entries: list[dict[str, Any]], production: Production, folder: Path) -> tuple[int, bytes]:
    """Return the first section of a production, and the line of the journal that says so, where one is needed."""
    of_sample = [entry for entry in entries if entry["sample"] == production.sample]
    count = len(production.sizes)
    exists = folder.exists() or folder.with_name(f".{folder.name}.unfinished").exists()
    same = [entry for entry in of_sample if entry["folder"] == str(folder)] if exists else []
    if (
        same
        and same[-1]["last"] - same[-1]["first"] + 1 == count
        and production.first_lumi in (same[-1]["first"], None)
    ):
        return int(same[-1]["first"]), b""
    first = _first(of_sample, production)
    entry = {"sample": production.sample, "first": first, "last": first + count - 1, "folder": str(folder)}
    return first, (json.dumps({**entry, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}) + "\n").encode()


def _first(entries: list[dict[str, Any]], production: Production) -> int:
    free = 1 + max((entry["last"] for entry in entries), default=0)
    first, count = production.first_lumi, len(production.sizes)
    if first is None:
        return free
    taken = next((e for e in entries if first <= e["last"] and e["first"] < first + count), None)
    if taken is not None:
        raise UserError(
            f"cmssw.produce.first_lumi: lumi sections {taken['first']} to {taken['last']} of {production.sample} were "
            f"given to {taken['folder']}: take {free}, or leave it out"
        )
    return first


def _entries(journal: Path, text: bytes) -> list[dict[str, Any]]:
    try:
        entries = [json.loads(line) for line in text.splitlines()]
        if not all({"sample", "first", "last", "folder"} <= set(entry) for entry in entries):
            raise ValueError("a line lacks a key")
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{journal}: is damaged ({error}): mend it, or name another journal and a first_lumi that is free"
        ) from None
    return entries
