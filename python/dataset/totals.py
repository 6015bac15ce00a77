"""What only all files together tell: whether there is something to train on, and how the weights are normalised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..config.include import samples_in
from ..config.schema import Analysis
from ..console import say
from ..errors import DataError, UserError
from ..events.expressions import parse
from ..provenance import Accounting
from ..provenance.manifest import refuse_copies
from .info import DatasetInfo
from .notices import check_identity
from .shards import ShardRecord

FEWEST = 0.1
"""A fold has at least this share of what folds have on average. Chance alone does not leave one so few rows."""


def scales(analysis: Analysis, records: Sequence[ShardRecord]) -> list[float]:
    """Return for every file the factor xsec * lumi / (sum of weights) on its weights; 1 without a cross section.

    Raises
    ------
    UserError, DataError
        Where the sum of generator weights is not known, or not finite and positive, and where the weights do not fit
        into the 32 bits that they have.
    """
    factors: dict[str, float] = {}
    for name, sample in analysis.samples.items():
        factors[name] = 1.0
        if sample.xsec is not None:
            of_sample = [r for r in records if r.source.sample == name and not r.accounting.lost]
            factors[name] = sample.xsec * analysis.lumi / _sum_of_weights(analysis, name, of_sample)
    for record in records:
        _check_range(record, factors[str(record.source.sample)])
    return [factors[str(r.source.sample)] for r in records]


def _check_range(record: ShardRecord, factor: float) -> None:
    """Refuse weights of a file that overflow or vanish altogether."""
    low, high = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
    largest = record.largest_weight
    if largest and not all(low <= value <= high for value in (largest, factor, largest * factor)):
        raise DataError(
            f"samples.{record.source.sample}: the weights of {record.source.path} (up to {largest:g}) "
            f"times xsec * lumi / (sum of weights), {factor:g}, do not fit into 32 bits ({low:.0e} to {high:.0e})"
            ": correct xsec, lumi or weight"
        )


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
    sumw = analysis.samples[name].sumw
    if isinstance(sumw, float):
        total = sumw
    elif sumw == "events":
        total = sum(r.sum_of_weights for r in records)
    elif sumw is not None:
        total = _listed_sum(Path(sumw), name)
    else:
        without = next((r.source.path for r in records if r.gen_sum_of_weights is None), None)
        if without is not None:
            raise UserError(
                f"samples.{name}: {without} has no Runs tree with genEventSumw to normalise to 'xsec': give the sum of "
                f"generator weights, samples.{name}.sumw, or 'sumw: events' if nobody skimmed the files"
            )
        total = sum(r.gen_sum_of_weights or 0.0 for r in records)
        wrong = next((r.source.path for r in records if not math.isfinite(r.gen_sum_of_weights or 0.0)), None)
        if wrong is not None:
            raise DataError(
                f"samples.{name}: the sum of generator weights is {total:g}, from the Runs tree of {wrong}: "
                f"replace the file, or give the sum of all of them, samples.{name}.sumw"
            )
    if not 0 < total < math.inf:
        raise DataError(f"samples.{name}: the sum of generator weights is {total:g}: the sample cannot be normalised")
    return total


def _listed_sum(path: Path, name: str) -> float:
    """Return the sum that a file of samples has."""
    where = f"samples.{name}.sumw"
    total = samples_in(path, where).get(name, {}).get("sumw")
    if not isinstance(total, (int, float)):
        raise UserError(f"{where}: {path}: has no number samples.{name}.sumw")
    return float(total)


def check(analysis: Analysis, info: DatasetInfo, records: Sequence[ShardRecord], accounting: Accounting) -> None:
    """Refuse results that no training should silently start from.

    Raises
    ------
    UserError
        Where a sample has one file twice, some files lack what identifies events in others, or a class, a target or a
        fold has too few rows.
    DataError
        Where nothing of a sample can be used, or the cuts leave nothing.
    """
    refuse_copies([r.source for r in records])
    check_identity(analysis, records)
    for record in records:
        if not record.accounting.lost and not record.accounting.events.read:
            say(f"note: {record.source.path} holds no events")
    for name in analysis.samples:
        of_sample = [r for r in records if r.source.sample == name]
        if all(r.accounting.lost for r in of_sample):
            reason = of_sample[0].accounting.lost[0]
            raise DataError(
                f"samples.{name}: none of its {len(of_sample)} file(s) can be used: {reason.file}: {reason.reason}"
            )
        if not any(r.accounting.events.read for r in of_sample):
            raise DataError(f"samples.{name}: its {len(of_sample)} file(s) hold no events")
    ledger = accounting.rows or accounting.events
    if not ledger.used:
        worst = max(ledger.rejected, key=lambda cut: ledger.rejected[cut], default=None)
        hint = f"; select.{worst} rejects most of them" if worst else ""
        raise DataError(f"none of the {ledger.read} {ledger.unit} passes the cuts{hint}")
    _check_truth(analysis, info, records)
    if info.folds > 1:
        _check_folds(analysis, info, records)


def unknown_targets(info: DatasetInfo, records: Sequence[ShardRecord]) -> dict[str, int]:
    """Return for each regression target the number of rows in which it is not known."""
    rows = sum(sum(r.rows.values()) for r in records)
    counts = _sum(records, "known").sum(axis=(0, 1))
    return {name: rows - int(count) for name, count in zip(info.regression, counts)}


def _check_truth(analysis: Analysis, info: DatasetInfo, records: Sequence[ShardRecord]) -> None:
    """Refuse a class without training rows and a target that none of them knows; say how many rows do not."""
    rows = sum(sum(r.rows.values()) for r in records)
    for name, unknown in unknown_targets(info, records).items():
        if unknown:
            say(f"note: target {name}: {unknown:,} of {rows:,} rows unknown")
    if not analysis.split.train:
        say("note: split.train is 0: the dataset serves to evaluate models of others (nanoforge evaluate --data)")
        return
    for name, count in zip(info.regression, _sum(records, "known")[0].sum(axis=0)):
        if not count:
            raise UserError(f"target.regression.{name}: is NaN in all training rows: correct its expression")
    for name, count in zip(info.classes, _sum(records, "population")[0].sum(axis=0)):
        if not count:
            raise UserError(
                f"target.classes.{name}: no training row is in this class: correct its condition "
                f"{analysis.classes[name]!r}, the cuts, or the samples"
            )


def _check_folds(analysis: Analysis, info: DatasetInfo, records: Sequence[ShardRecord]) -> None:
    """Refuse folds whose model has nothing to learn a class or target from, or (almost) no rows to be tested on."""
    counts = np.concatenate([_sum(records, "population"), _sum(records, "known")], axis=2)
    identity = " and ".join(analysis.identity_columns)
    kinds = [f"of class {name!r}" for name in info.classes] or ["of any kind"]
    kinds += [f"with a known {name!r}" for name in info.regression]
    for kind, (trained, *others) in zip(kinds, np.moveaxis(counts, 2, 0)):
        tested = trained + others[0]
        fold, fewest = int(trained.argmax()), int(tested.argmin())
        if trained[fold] == trained.sum():
            few = f"fold {fold} has all {trained.sum():,} training rows {kind}, so that its model would see none"
        elif tested[fewest] < FEWEST * tested.mean():
            few = f"fold {fewest} has {tested[fewest]:,} of all {tested.sum():,} rows {kind} to test its model on"
        else:
            continue
        raise UserError(
            f"split.folds: {few}: use fewer folds, add events, and see that {identity}, by which folds are chosen, "
            "differ from event to event"
        )


def _sum(records: Sequence[ShardRecord], counts: str) -> np.ndarray:
    """Add up counts of the files that were read."""
    total: np.ndarray = np.sum([getattr(r, counts) for r in records if r.rows], axis=0)
    return total
