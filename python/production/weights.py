"""Sums of weights of a lumi section, from its NanoAOD."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..events.open import open_events
from ..events.reader import EventFile
from ..simulation.generator.trials import Trials

_COLUMNS = (
    "run", "luminosityBlock", "GenFilter_numEventsTotal", "GenFilter_numEventsPassed", "GenFilter_filterEfficiency",
    "genEventCount", "genEventSumw", "genEventSumw2",
)  # fmt: skip


def weighted(trials: Trials, nano: Path) -> Trials:
    """Return the counts of a lumi section with the weights of its events, as ``Runs`` and ``LuminosityBlocks`` say.

    The efficiency of the generator's filters is that of the weights, where NanoAOD tells it (``GenFilter``); a filter
    on simulated events is taken to pass all weights alike. Of a section without events, nothing tells the weights of
    those that were tried: see :func:`.lists.total`.

    Raises
    ------
    DataError
        When NanoAOD counts other events than the steps before.
    """
    with open_events(str(nano), "Events", checksum=False) as file:
        return weighted_by(trials, file)


def weighted_by(trials: Trials, file: EventFile) -> Trials:
    """Do as :func:`weighted` for an open file."""
    runs, blocks = (sums(file, tree) for tree in ("Runs", "LuminosityBlocks"))
    if "genEventCount" not in runs:
        return trials
    count = int(runs["genEventCount"].sum())
    if count != trials.passed:
        raise DataError(f"{file.path}: counts {count:,} generated events, the steps before it {trials.passed:,}")
    if not count:
        return replace(trials, sumw=0.0, sumw2=0.0)
    sumw, sumw2 = (float(runs[name].sum()) for name in ("genEventSumw", "genEventSumw2"))
    share = trials.passed / trials.sumw * _filtered(blocks)
    return replace(trials, sumw=sumw / share, sumw2=sumw2 / share, passed_sumw=sumw, passed_sumw2=sumw2)


def sums(file: EventFile, tree: str) -> dict[str, np.ndarray]:
    """Return what ``Runs`` or ``LuminosityBlocks`` tell of what was tried, by column; some may be missing."""
    sibling = file.sibling(tree)
    names = [] if sibling is None else [name for name in _COLUMNS if name in sibling.branches]
    chunks = [] if sibling is None or not names else list(sibling.chunks(names))
    return {name: np.concatenate([chunk.columns[name].content for chunk in chunks]) for name in names if chunks}


def _filtered(blocks: dict[str, np.ndarray]) -> float:
    """Return by how much the filter's efficiency for weights differs from that for events."""
    try:
        total, passed = (float(blocks[f"GenFilter_numEvents{name}"].sum()) for name in ("Total", "Passed"))
        ratio = float(blocks["GenFilter_filterEfficiency"][0]) * total / passed
    except (KeyError, IndexError, ZeroDivisionError):
        return 1.0
    return ratio if math.isfinite(ratio) and ratio > 0 else 1.0
