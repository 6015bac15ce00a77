"""Sums of weights of a lumi section, from its NanoAOD."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..simulation.generator.trials import Trials


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
    import uproot

    with nano.open("rb") as stream, uproot.open(stream) as file:
        runs, blocks = (_columns(file, tree) for tree in ("Runs", "LuminosityBlocks"))
    if "genEventCount" not in runs:
        return trials
    count = int(runs["genEventCount"].sum())
    if count != trials.passed:
        raise DataError(f"{nano.name}: counts {count:,} generated events, the steps before it {trials.passed:,}")
    if not count:
        return replace(trials, sumw=0.0, sumw2=0.0)
    sumw, sumw2 = (float(runs[name].sum()) for name in ("genEventSumw", "genEventSumw2"))
    share = trials.passed / trials.sumw * _filtered(blocks)
    return replace(trials, sumw=sumw / share, sumw2=sumw2 / share, passed_sumw=sumw, passed_sumw2=sumw2)


def _columns(file: Any, tree: str) -> dict[str, Any]:
    names = [f"GenFilter_{name}" for name in ("numEventsTotal", "numEventsPassed", "filterEfficiency")]
    names += ["genEventCount", "genEventSumw", "genEventSumw2"]
    return {name: file[tree][name].array(library="np") for name in names if name in file[tree]} if tree in file else {}


def _filtered(blocks: dict[str, Any]) -> float:
    """Return by how much the filter's efficiency for weights differs from that for events."""
    try:
        total, passed = (float(blocks[f"GenFilter_numEvents{name}"].sum()) for name in ("Total", "Passed"))
        ratio = float(blocks["GenFilter_filterEfficiency"][0]) * total / passed
    except (KeyError, IndexError, ZeroDivisionError):
        return 1.0
    return ratio if math.isfinite(ratio) and ratio > 0 else 1.0
