"""What a production leaves for the analysis: lists of its files, and what normalises them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from ..config.schema import Analysis
from ..console import say
from ..simulation.generator.trials import Trials
from .job import LumiRecord
from .plan import Production

FOLDER, BLOCK = "files", "samples.yaml"
_HEAD = """\
# Samples that 'nanoforge produce' made, {time}. In the analysis file: include: {path}
# 'sumw' is the sum of weights of all events that were tried, so 'xsec' stays that of the process, before any filter.
"""


def write(
    analysis: Analysis,
    productions: Mapping[str, Production],
    records: Mapping[str, Iterable[LumiRecord]],
    entries: Mapping[str, int | None],
    places: Mapping[str, str],
    checksums: Mapping[str, str],
    folder: Path,
    output: Path,
) -> dict[str, int | None]:
    """Write ``files/<sample>.txt`` and ``samples.yaml``.

    Parameters
    ----------
    analysis, productions, records
        The analysis, and what was made of what in it.
    entries, places, checksums
        Of the files, by their names in the parts: events, where they lie (an address, or a path that may be relative to
        the list), Adler-32 ("": not known).
    folder, output
        Where to write, and where that will be in the end.

    Returns
    -------
    dict
        The names of the files that were written, as :class:`~..pipeline.outcome.Outcome` wants them.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    samples: dict[str, Any] = {}
    written: list[str] = []
    for name, production in productions.items():
        for step in production.kept:
            lines = [
                places[path] + (f"  ad:{checksums[path]}\n" if checksums[path] else "\n")
                for path in sorted(entries)
                if path.startswith(f"{name}/{step}-")
            ]
            suffix = "" if step == production.produce.chain else f"_{step}"
            written.append(f"{FOLDER}/{name}{suffix}.txt")
            (folder / written[-1]).write_text("".join(lines))
        if production.produce.chain == "nano":
            samples[name] = {"files": str(output.resolve() / FOLDER / f"{name}.txt")}
            if analysis.samples[name].xsec is not None:
                samples[name]["sumw"] = total(records.get(name, ())).sumw
    head = _HEAD.format(time=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), path=output.resolve() / BLOCK)
    text = yaml.safe_dump({"samples": samples}, sort_keys=False) if samples else ""
    notes = "".join(f"# {line}\n" for line in _lines(summaries(productions, records)))
    (folder / BLOCK).write_text(head + text + notes)
    return dict.fromkeys([*written, BLOCK])


def total(records: Iterable[LumiRecord]) -> Trials:
    """Return the counts and sums of several lumi sections.

    Events that were tried in sections of which none is left are taken to weigh as much as those of the others.
    """
    trials, unweighted = Trials(), 0
    for record in records:
        trials.add(record.trials)
        unweighted += record.trials.tried if record.trials.sumw == 0 else 0
    weighted = trials.tried - unweighted
    factor = trials.tried / weighted if weighted else 1.0
    return replace(trials, sumw=trials.sumw * factor, sumw2=trials.sumw2 * factor)


def summaries(
    productions: Mapping[str, Production], records: Mapping[str, Iterable[LumiRecord]]
) -> dict[str, dict[str, Any]]:
    """Return what is to be known of every sample, as plain JSON types."""
    return {name: _summary(production, list(records.get(name, ()))) for name, production in productions.items()}


def _summary(production: Production, records: list[LumiRecord]) -> dict[str, Any]:
    trials = total(records)
    efficiency, error = trials.efficiency
    steps = [
        {
            "name": name,
            "events": sum(step.written for record in records for step in record.steps if step.name == name),
            "cpu": sum(max(step.cpu, step.seconds) for record in records for step in record.steps if step.name == name),
            "seconds": sum(step.seconds for record in records for step in record.steps if step.name == name),
            "memory": max((s.memory for record in records for s in record.steps if s.name == name), default=0.0),
        }
        for name in production.steps
    ]
    cpu = sum(float(str(step["cpu"])) for step in steps)  # a lone thread waits, several work at a time
    return {
        "events": trials.passed - sum(record.skimmed for record in records),
        "lumi_sections": len(records),
        "pileup": "premixed" if production.produce.pileup.mix else "none",
        "efficiency": efficiency,
        "efficiency_error": error,
        "seconds_per_event": cpu / trials.passed if trials.passed else None,
        "steps": steps,
        "trials": trials.as_dict(),
    }


def _lines(summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for name, summary in summaries.items():
        line = f"samples.{name}: {summary['events']:,} events in {summary['lumi_sections']:,} lumi sections"
        line += f", efficiency {summary['efficiency']:.4g} +- {summary['efficiency_error']:.2g}"
        if summary["seconds_per_event"]:
            line += f", {summary['seconds_per_event']:.3g} s per event and core (seconds_per_event)"
        lines.append(line + (", without pile-up: a test" if summary["pileup"] == "none" else ""))
    return lines


def tell(output: Path) -> None:
    """Say what was made, and what the analysis file needs."""
    text = (output / BLOCK).read_text()
    for line in text.splitlines():
        if line.startswith("# samples."):
            say(line[2:])
    say(f"{output / FOLDER} has lists of the files, {output / BLOCK} what the analysis file needs to know of them")
