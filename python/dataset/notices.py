"""What a user must know of the data before trusting what is learnt from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..config.inputs import Input
from ..config.schema import IDENTITY, Analysis
from ..console import say
from ..errors import UserError
from ..provenance import Accounting
from .extremes import merge as merge_extremes
from .extremes import sentinels
from .images import check_drawn
from .repeats import Repeats
from .shards import ShardRecord
from .statistics import merge as merge_moments

_POSITION = 2  # the first features of hits say where they are
MOST_UNLISTED = 0.01
"""A larger share of values that are in no category is said."""
MOST_LINES = 20
"""So many notices on features are printed; all are in the manifest and in the report."""


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


def find_notices(analysis: Analysis, records: Sequence[ShardRecord], repeats: Repeats) -> list[str]:
    """Say in one line each what is remarkable about the rows of these input files, and print it."""
    read = [record for record in records if record.rows]
    notices = [*_identity(read), *_numbers(analysis, repeats), *_attachment(analysis), *_images(records)]
    for notice in notices:
        say(f"note: {notice}")
    copies = [*_copies(analysis, repeats)]
    for notice in copies:
        say(f"warning: {notice}")
    features = [notice for name, block in analysis.inputs.items() for notice in _features(name, block, read)]
    features += [notice for name, block in analysis.inputs.items() for notice in _categories(name, block, read)]
    for notice in features[:MOST_LINES]:
        say(f"warning: {notice}")
    if len(features) > MOST_LINES:
        say(f"warning: the like of {len(features) - MOST_LINES} more features: see 'notices' in manifest.json")
    return notices + copies + features


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


def _numbers(analysis: Analysis, repeats: Repeats) -> Iterator[str]:
    """Say how many events share an identity and are no copies."""
    others = repeats.identities - repeats.copies
    if others:
        yield (
            f"{others:,} of {repeats.events:,} events have the {', '.join(analysis.identity_columns)} of another one, "
            "and other features: rows of one event, or samples of simulation that are numbered alike; they are on the "
            "same side of the split"
        )


def _copies(analysis: Analysis, repeats: Repeats) -> Iterator[str]:
    """Say how many events are there more than once, and where."""
    if repeats.copies:
        sources = " and ".join(dict.fromkeys(repeats.sources))
        samples = f", {repeats.between:,} of them in two samples" if repeats.between else ""
        yield (
            f"{repeats.copies:,} of {repeats.events:,} events are copies of another one, with the same "
            f"{', '.join(analysis.identity_columns)} and features{samples}, most in {sources}: they count more than "
            "once; leave out what is there twice"
        )


def _attachment(analysis: Analysis) -> Iterator[str]:
    """Say where every row has all constituents of its event, and nobody said that this is meant."""
    for name, block in analysis.inputs.items():
        attached = block.index or block.match or block.all
        whole = block.image is not None and block.image.range is not None  # the same detector for every row
        if analysis.row != "event" and block.collection is not None and not attached and not whole:
            yield (
                f"inputs.{name}: every {analysis.row} has all {block.collection} of its event: attach them by 'index' "
                "or 'match', or confirm it by 'all: true'"
            )


def _images(records: Sequence[ShardRecord]) -> Iterator[str]:
    """Say how many rows have no hit on their image, and where ``length`` leaves out hits of more than 1 % of them."""
    for name, ledger in Accounting.total(record.accounting for record in records).hits.items():
        check_drawn(name, ledger)
        if ledger.empty:
            yield f"inputs.{name}: {ledger.empty:,} of {ledger.rows:,} rows have no hit on their image, which is empty"
        if ledger.overfull > 0.01 * ledger.rows:
            left_out = ledger.rejected["length"] / (ledger.used + ledger.rejected["length"])
            yield (
                f"inputs.{name}.length: {_percent(ledger.overfull / ledger.rows)} of the rows have more hits, and "
                f"{_percent(left_out)} of all hits are left out: raise it, or leave out small ones by 'where'"
            )


def _features(name: str, block: Input, records: Sequence[ShardRecord]) -> Iterator[str]:
    """Say which features have one value in all training rows, and which a value that may mean "not there"."""
    parts = [record for record in records if name in record.moments]
    if not parts:
        return
    count, mean, squares = merge_moments([m for record in parts for m in record.moments[name]])
    values = sentinels(merge_extremes([record.extremes[name] for record in parts]))
    of = "rows" if block.collection is None else f"{block.collection} entries"
    fill = "" if block.nan != "error" else " and 'nan: {fill: 0}'"
    for i, feature in enumerate(block.feature_names):
        if block.image is not None and i < _POSITION:
            continue
        if count[i] > 1 and squares[i] == 0:
            yield f"inputs.{name}: {feature} is {_number(mean[i])} in all training {of}: it teaches nothing"
            continue
        for value, share in values[i]:
            number = _number(value)
            yield (
                f"inputs.{name}: {feature} is {number} in {_percent(share)} of the {of}: say 'missing: {number}'{fill} "
                "if that means 'not there'"
            )


def _categories(name: str, block: Input, records: Sequence[ShardRecord]) -> Iterator[str]:
    """Say of which features much is in none of their categories."""
    parts = [record.unlisted[name] for record in records if name in record.unlisted]
    if not parts:
        return
    of = "rows" if block.collection is None else f"{block.collection} entries"
    for (feature, options), (number, unlisted) in zip(block.feature_options.items(), np.sum(parts, axis=0).T):
        if options.categories and unlisted > MOST_UNLISTED * number:
            yield (
                f"inputs.{name}: {feature} is none of its {len(options.categories)} categories in "
                f"{_percent(unlisted / number)} of the {of}, which the model cannot tell apart: list what is meant"
            )


def _number(value: float) -> str:
    """Write a float32 so that YAML reads the same one."""
    return str(np.float32(value)).removesuffix(".0")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1g} %"
