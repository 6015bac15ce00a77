"""What only all files together tell: whether there is something to train on, and how the weights are normalised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..config.schema import Analysis
from ..console import say
from ..errors import DataError, UserError
from ..events.expressions import parse
from ..provenance import Accounting
from ..provenance.manifest import refuse_copies
from .info import DatasetInfo
from .shards import ShardRecord


def scales(analysis: Analysis, records: Sequence[ShardRecord]) -> list[float]:
    """Return for every file the factor xsec * lumi / (sum of weights) on its weights; 1 without a cross section.

    Raises
    ------
    UserError, DataError
        Where the sum of generator weights is not known, or not positive.
    """
    factors: dict[str, float] = {}
    for name, sample in analysis.samples.items():
        factors[name] = 1.0
        if sample.xsec is not None:
            own = [r for r in records if r.source.sample == name and r.rows]
            factors[name] = sample.xsec * analysis.lumi / _sum_of_weights(analysis, name, own)
    return [factors[str(r.source.sample)] for r in records]


def check_weights(analysis: Analysis) -> None:
    """Refuse weights that do not go with the sum of generator weights that they are divided by.

    Raises
    ------
    UserError
        With the remedy.
    """
    for name, sample in analysis.samples.items():
        if sample.xsec is not None and sample.sumw is None and not _has_generator_weight(analysis, name):
            raise UserError(
                f"samples.{name}: 'xsec' is divided by the sum of genWeight, which the weight does not contain: set "
                f"'weight: genWeight', or give the sum that belongs to your weight, samples.{name}.sumw"
            )


def _has_generator_weight(analysis: Analysis, name: str) -> bool:
    """Whether the weight of a sample is made from the generator's, also through defined columns."""
    texts = [analysis.samples[name].weight or analysis.weight]
    seen: set[str] = set()
    while texts:
        for column in parse(texts.pop()).names - seen:
            seen.add(column)
            texts += [analysis.define[column]] if column in analysis.define else []
    return any(column.lower() in ("genweight", "generator_weight") for column in seen)


def _sum_of_weights(analysis: Analysis, name: str, records: Sequence[ShardRecord]) -> float:
    given = analysis.samples[name].sumw
    if isinstance(given, float):
        total = given
    elif given == "events":
        total = sum(r.sum_of_weights for r in records)
    else:
        without = next((r.source.path for r in records if r.gen_sum_of_weights is None), None)
        if without is not None:
            raise UserError(
                f"samples.{name}: {without} has no Runs tree with genEventSumw to normalise to 'xsec': give the sum of "
                f"generator weights, samples.{name}.sumw, or 'sumw: events' if nobody skimmed the files"
            )
        total = sum(r.gen_sum_of_weights or 0.0 for r in records)
    if not total > 0:
        raise DataError(f"samples.{name}: the sum of generator weights is {total:g}: the sample cannot be normalised")
    return total


def check(analysis: Analysis, info: DatasetInfo, records: Sequence[ShardRecord], books: Accounting) -> None:
    """Refuse results that no training should silently start from.

    Raises
    ------
    UserError
        Where a sample has one file twice, or a class has no training rows.
    DataError
        Where nothing of a sample can be used, or the cuts leave nothing.
    """
    refuse_copies([r.source for r in records])
    for record in records:
        if record.rows and not record.accounting.events.read:
            say(f"note: {record.source.path} holds no events")
    for name in analysis.samples:
        own = [r for r in records if r.source.sample == name]
        if all(r.accounting.lost for r in own):
            reason = own[0].accounting.lost[0]
            raise DataError(
                f"samples.{name}: none of its {len(own)} file(s) can be used: {reason.file}: {reason.reason}"
            )
        if not any(r.accounting.events.read for r in own):
            raise DataError(f"samples.{name}: its {len(own)} file(s) hold no events")
    ledger = books.rows or books.events
    if not ledger.used:
        worst = max(ledger.rejected, key=lambda cut: ledger.rejected[cut], default=None)
        hint = f"; select.{worst} rejects most of them" if worst else ""
        raise DataError(f"none of the {ledger.read} {ledger.unit} passes the cuts{hint}")
    totals = np.sum([r.class_rows for r in records if r.rows], axis=0)
    empty = [name for name, total in zip(info.classes, totals) if not total]
    if empty:
        raise UserError(
            f"target.classes.{empty[0]}: no training row is in this class: correct its condition "
            f"{analysis.classes[empty[0]]!r}, the cuts, or the samples"
        )
