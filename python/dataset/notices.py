"""What a user must know of the data before trusting what is learnt from them."""

from __future__ import annotations

from collections.abc import Sequence

from ..config.schema import IDENTITY, Analysis
from ..console import say
from ..errors import UserError
from .shards import ShardRecord


def check_identity(analysis: Analysis, records: Sequence[ShardRecord]) -> None:
    """Refuse files of which some have the columns that identify an event, and others do not.

    Raises
    ------
    UserError
        With the file and the column that it lacks.
    """
    read = [record for record in records if record.rows and record.accounting.events.read]
    without = next((record for record in read if record.lacks), None)
    having = next((record for record in read if not record.lacks), None)
    if without is None or having is None:
        return
    common = [name for name in analysis.identity_columns if name not in without.lacks]
    remedy = f"[{', '.join(common)}]" if IDENTITY[-1] in common else "[<columns>]"
    raise UserError(
        f"{without.source.path}: has no column {without.lacks[0]!r} with one integer per event, which is part of what "
        f"identifies an event, and {having.source.path} has it: name columns that all files have, "
        f"'identity: {remedy}', or leave the file out"
    )


def find_notices(analysis: Analysis, records: Sequence[ShardRecord]) -> list[str]:
    """Say in one line each what is remarkable about the rows of these input files, and print it."""
    read = [record for record in records if record.rows]
    found = [*_identity(read)]
    for notice in found:
        say(f"note: {notice}")
    return found


def _identity(records: Sequence[ShardRecord]) -> list[str]:
    """Say that copies of an event are not recognised."""
    without = next((record for record in records if record.lacks), None)
    if without is None:
        return []
    likely = without.likely if all(record.likely == without.likely for record in records) else []
    columns = ", ".join(likely) or "<columns>"
    return [
        f"the files have no {', '.join(without.lacks)}, so an event is identified by its file and entry: copies of it "
        "in other files are not recognised, and can be on both sides of the split; if columns identify it, name them, "
        f"'identity: [{columns}]'"
    ]
