"""The page, the lines on the screen and the files of a comparison with the training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..distributions.drift import FEW, OK, Drift
from ..distributions.histogram import write_histograms
from ..distributions.variable import SCORE, file_names
from ..evaluation.figure import Plot
from ..evaluation.gallery import save_all
from ..evaluation.report import ReportTable, Section, page
from ..provenance.manifest import write_atomically
from .figures import draw_comparison, draw_trend, histograms
from .results import Monitored

PAGE, NUMBERS, HISTOGRAMS, PLOTS = "report.html", "monitor.json", "histograms.root", "plots"
MOST_FIGURES = 60
"""Scores and the worst of the others have figures; the histograms of all are in the ROOT file."""
_TRENDS = 4
_HEAD = ("", "", "PSI", "KS distance", "\N{GREEK SMALL LETTER CHI}\N{SUPERSCRIPT TWO} / degrees", "p", "p of KS")
_SHARES = ("below", "above", "NaN")
_NOTE = (
    "The size of an effect decides, not its significance: PSI is the population stability index over bins that hold "
    "equally much of the training, KS the largest distance of the cumulative distributions. p is how probable a larger "
    "\N{GREEK SMALL LETTER CHI}\N{SUPERSCRIPT TWO} or distance is without drift, with the errors of both sides. Shares "
    "are of what lies below and above the range of the training, and of NaN."
)


def lines(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each variable of what ``monitor.json`` holds, the worst first."""
    width = max((len(variable["name"]) for variable in content["variables"]), default=0)
    for variable in content["variables"]:
        if variable["psi"] is None:
            numbers = f"{'too few values':22}"
        else:
            numbers = f"PSI {variable['psi']:6.3f}  KS {variable['ks']:6.3f}"
        reasons = "; ".join(variable["shares_to_see"])
        yield f"{variable['state']:7}  {variable['name']:{width}}  {numbers}  {reasons}".rstrip()


def write(folder: Path, results: Monitored, title: str, facts: Mapping[str, str]) -> list[str]:
    """Write page, numbers, figures and histograms, and return their paths relative to the folder."""
    (folder / PLOTS).mkdir(exist_ok=True)
    _write_histograms(folder / HISTOGRAMS, results)
    pictures, paths = save_all(_plots(results), folder / PLOTS)
    sections: list[Section] = [_table(results.worst_first, "Drift", _NOTE)]
    sections += [
        _table(changes, f"Where {text}", "Rows of this region, in both.") for text, changes in results.of_regions
    ]
    if results.test is not None:
        sections.append(_classifier(results))
    sections += [pictures] if pictures else []
    text = page(title, _lead(results), list(_notices(results)), sections, facts)
    write_atomically(folder / PAGE, text)
    write_atomically(folder / NUMBERS, json.dumps(results.content(), indent=1, allow_nan=False) + "\n")
    return [PAGE, NUMBERS, HISTOGRAMS, *(str(path.relative_to(folder)) for path in paths)]


def _write_histograms(path: Path, results: Monitored) -> None:
    """Write a folder for each class of the training, scaled as in the figures, and one for what is compared."""
    names = file_names(change.variable for change in results.drifts)
    by_path = {}
    for change in results.drifts:
        for one in _histograms(results, change):
            folder = "observed" if one.data else f"training/{one.sample}"
            by_path[f"{folder}/{names[change.variable]}"] = one.histogram
    write_histograms(path, by_path)


def _histograms(results: Monitored, change: Drift) -> list:
    counts = results.observed[change.variable].counts
    return histograms(change.variable, results.reference, counts, results.title, scale=results.scale)


def _plots(results: Monitored) -> Iterator[Plot]:
    """Draw scores first, then the worst."""
    if not results.observed.rows:
        return
    names = file_names(change.variable for change in results.drifts)
    ordered = sorted(results.worst_first, key=lambda change: change.variable.kind != SCORE)
    for change in ordered[:MOST_FIGURES]:
        label, name = change.variable.label, names[change.variable]
        figure = draw_comparison(name, _histograms(results, change), data=results.data)
        meaning = f"{results.title} and the training, which has the same area. {_verdict(change)}"
        yield Plot(name, label, meaning, figure)
    if len(results.periods) > 1:
        scores = [change.variable for change in ordered if change.variable.kind == SCORE]
        others = [change.variable for change in ordered if change.variable.kind != SCORE][:_TRENDS]
        for variable in (*scores, *others):
            figure = draw_trend(
                variable, results.reference, results.periods, results.thresholds, data=results.data, by=results.by
            )
            meaning = "Mean and drift in every period; the dashed lines are where a warning and an alarm begin."
            yield Plot(f"{names[variable]}_by_{results.by}", f"{variable.label} by {results.by}", meaning, figure)


def _verdict(change: Drift) -> str:
    if change.state == FEW:
        return "There are too few values to judge."
    return f"{change.state.capitalize()}: {'; '.join(change.reasons) or f'PSI {change.psi:.3f}, KS {change.ks:.3f}'}."


def _lead(results: Monitored) -> str:
    judged = [change for change in results.drifts if change.state not in (OK, FEW)]
    trained = f"{results.reference.distributions.rows:,} training rows"
    verdict = f"{len(judged)} of {len(results.drifts)} variables differ" if judged else "no variable differs"
    return (
        f"{results.title}: {results.observed.rows:,} rows, of weight {results.weight}, against {trained}: {verdict} by "
        f"more than {results.thresholds.warning:g}. State: {results.state}."
    )


def _notices(results: Monitored) -> Iterator[str]:
    for path, reason in results.unreadable.items():
        yield f"{path}: the model cannot read it, so none of its events is here: {reason}"
    few = sum(change.state == FEW for change in results.drifts)
    if few:
        yield f"{few} of {len(results.drifts)} variables have too few values to be judged."
    if results.observed.rows and results.scale != 1:
        yield (
            f"The training, by its cross sections and weights, expects 1 row for {results.scale:.4g} that are here; it "
            "is drawn with the same area."
        )
    if len(results.drifts) > MOST_FIGURES:
        yield f"{MOST_FIGURES} of {len(results.drifts)} variables are drawn: the scores and the worst of the others."


def _table(changes: list[Drift], title: str, note: str) -> ReportTable:
    head = [*_HEAD, *_SHARES, "to be looked at"]
    return ReportTable(title, head, [_line(change) for change in changes], note)


def _line(change: Drift) -> list[str]:
    chi2, ks = change.p_values()
    shares = {share.name: f"{100 * share.observed:.3g} %" for share in change.shares}
    numbers = [
        f"{change.psi:.3f}",
        f"{change.ks:.3f}",
        f"{change.chi2:.0f} / {change.degrees}",
        f"{chi2:.2g}",
        f"{ks:.2g}",
    ]
    if change.psi != change.psi:
        numbers = [""] * 5
    return [
        change.variable.label,
        change.state,
        *numbers,
        *(shares.get(name, "") for name in _SHARES),
        "; ".join(change.share_reasons),
    ]


def _classifier(results: Monitored) -> ReportTable:
    test = results.test
    assert test is not None  # noqa: S101 - it was looked at
    lines = [["AUC", str(test.auc)], *([name, f"{100 * share:.0f} %"] for name, share in test.importance.items())]
    note = (
        f"Trees that tell {test.rows[1]:,} rows from {test.rows[0]:,} of the training, on rows that they did not see: "
        f"0.5 where nothing tells them apart ({test.state}). Below, what the features contribute to it."
    )
    return ReportTable("Classifier of the training against these rows", ["", ""], lines, note)
