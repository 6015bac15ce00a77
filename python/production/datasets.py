"""Productions that were published: what their NanoAOD tells of the events that were tried."""

from __future__ import annotations

from ..errors import DataError
from ..events.reader import EventFile
from ..simulation.generator.trials import Trials
from .job import LumiRecord
from .plan import RUN
from .weights import sums, weighted_by


def record_of(file: EventFile) -> LumiRecord:
    """Return what became of the lumi section of a file.

    Tried events are those of the generator's filters, where there are any (``GenFilter``); of what these let pass,
    ``Runs`` counts what the acceptance left, and ``Events`` what the skim did.

    Raises
    ------
    DataError
        When it is no file of one section.
    """
    runs, blocks = (sums(file, tree) for tree in ("Runs", "LuminosityBlocks"))
    lumis = sorted(set(blocks.get("luminosityBlock", ())))
    if len(lumis) != 1 or set(blocks["run"]) != {RUN} or "genEventCount" not in runs:
        raise DataError(f"{file.path}: no NanoAOD of one lumi section of run {RUN}: not of this production")
    count, entries = int(runs["genEventCount"].sum()), int(file.entries or 0)
    names = [f"GenFilter_numEvents{name}" for name in ("Total", "Passed")]
    tried, passed = (int(blocks[name].sum()) if name in blocks else 0 for name in names)
    if not tried:  # without a filter
        tried = passed = count
    rejected = {"filters": tried - passed, "acceptance": passed - count}
    trials = Trials(tried, count, {k: n for k, n in rejected.items() if n}, tried, tried, count, count)
    return LumiRecord(int(lumis[0]), weighted_by(trials, file), count - entries, ())
