"""What stands above an evaluation, what it was made of: samples, model, training, and the cut flow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from ..config.evaluation import Evaluation
from ..dataset.cut_flow import SampleFlow
from ..provenance import Ledger
from .comparison import duration, number_range
from .report import Overview, ReportTable, sum_text
from .style import Wording

_MOST_NAMES = 6
_STEPS = (
    "In order; what a step leaves. Sums of weights are normalised to cross section and luminosity where there are "
    "cross sections. Training, validation and test are below."
)
_UNWEIGHTED = " Sums of weights are missing where a dataset was made by an earlier version."


def overview(config: Mapping[str, Any], details: Mapping[str, Any], flows: Mapping[str, SampleFlow]) -> Overview:
    """Return what the header of a report says.

    Parameters
    ----------
    config
        The resolved analysis of the run.
    details
        Those of the manifest of its training.
    flows
        What became of the events of each sample.
    """
    return Overview(dict(_facts(config, details)), [*_samples(config, flows), *_cut_flow(flows)])


def _facts(config: Mapping[str, Any], details: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    samples = config["samples"]
    names = [_sample(name, block) for name, block in samples.items()]
    more = f" and {len(names) - _MOST_NAMES} others" if len(names) > _MOST_NAMES else ""
    yield "samples", ", ".join(names[:_MOST_NAMES]) + more
    if any(block["xsec"] is not None for block in samples.values()):
        yield "luminosity", luminosity(config["lumi"], "\N{SUPERSCRIPT MINUS}\N{SUPERSCRIPT ONE}")
    cost = details.get("cost")
    if cost:
        parameters = number_range([fold["parameters"] for fold in cost])
        yield "model", f"{config['model']['type']}, {parameters} parameters"
        best = number_range([fold["epoch"] for fold in details["best"]])
        epochs = number_range([fold["epochs"] for fold in cost])
        seconds = duration(sum(fold["seconds"] for fold in cost))
        yield "training", f"{seconds}, {epochs} epochs or trees, the best is number {best}"


def wording_of(evaluation: Evaluation, config: Mapping[str, Any]) -> Wording:
    """Return what figures say of an analysis: the events are CMS's unless all were generated here."""
    samples, label = config["samples"].values(), evaluation.label
    generators = [block["generator"] for block in samples]
    experiment = label.experiment
    if experiment is None:
        experiment = "" if all(generator is not None for generator in generators) else "CMS"
    energies = {generator.get("energy") for generator in generators if generator is not None}
    energy = label.energy
    if energy is None and len(energies) == 1 and all(generator is not None for generator in generators):
        (of_generators,) = energies
        energy = None if of_generators is None else of_generators / 1000
    normalised = any(block["xsec"] is not None for block in samples)
    right = [luminosity(config["lumi"], "$^{-1}$")] if normalised else []
    right += [] if energy is None else [f"({energy:g} TeV)"]
    return Wording(experiment, label.status, " ".join(right), evaluation.titles)


def luminosity(lumi: float, inverse: str) -> str:
    """Write an integrated luminosity, given in 1/pb; ``inverse`` is the power -1."""
    value, unit = (lumi / 1000, "fb") if lumi >= 1000 else (lumi, "pb")
    return f"{value:.4g} {unit}{inverse}"


def _sample(name: str, block: Mapping[str, Any]) -> str:
    if block["data"]:
        return f"{name} (data)"
    return name if block["xsec"] is None else f"{name} ({block['xsec']:g} pb)"


def _samples(config: Mapping[str, Any], flows: Mapping[str, SampleFlow]) -> Iterator[ReportTable]:
    blocks = config["samples"]
    lines = []
    for name, flow in flows.items():
        xsec = blocks[name]["xsec"] if name in blocks else None
        lost = f" ({flow.lost} lost)" if flow.lost else ""
        lines.append(
            [
                name,
                "" if xsec is None else f"{xsec:g}",
                f"{flow.files:,}{lost}",
                f"{flow.events.read:,}",
                "" if flow.generated is None else sum_text(flow.generated),
                f"{flow.factor:.4g}",
            ]
        )
    head = ["", "cross section (pb)", "files", "events", "\N{GREEK CAPITAL LETTER SIGMA}w generated", "factor on w"]
    if lines:
        note = "The factor is cross section times luminosity over the sum of generator weights, or 1."
        yield ReportTable("Samples", head, lines, note)


def _cut_flow(flows: Mapping[str, SampleFlow]) -> Iterator[ReportTable]:
    lines: list[Sequence[str]] = []
    weighted = True
    for name, flow in flows.items():
        first = name
        for ledger in filter(None, (flow.events, flow.rows)):
            weighted &= ledger.weights is not None
            for line in ledger_lines(ledger, flow.factor):
                lines.append([first, *line])
                first = ""
    head = ["", "step", "number", "of all", "\N{GREEK CAPITAL LETTER SIGMA}w", "of all"]
    if lines:
        yield ReportTable("Cut flow", head, lines, _STEPS + ("" if weighted else _UNWEIGHTED))


def ledger_lines(ledger: Ledger, factor: float) -> Iterator[list[str]]:
    """Yield step, number, its share of what was read, sum of weights times a factor, and its share, for each step."""
    left, weight = ledger.read, None if ledger.weights is None else ledger.weights.read
    yield _line(f"{ledger.unit} read", ledger, left, weight, factor)
    for cut, rejected in ledger.rejected.items():
        left -= rejected
        weight = None if weight is None or ledger.weights is None else weight - ledger.weights.rejected.get(cut, 0.0)
        yield _line(f"after {cut}", ledger, left, weight, factor)


def _line(step: str, ledger: Ledger, left: int, weight: Optional[float], factor: float) -> list[str]:
    share = f"{left / ledger.read:.2%}" if ledger.read else ""
    if weight is None or ledger.weights is None:
        return [step, f"{left:,}", share, "", ""]
    of_all = f"{weight / ledger.weights.read:.2%}" if ledger.weights.read else ""
    return [step, f"{left:,}", share, sum_text(factor * weight), of_all]
