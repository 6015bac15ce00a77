"""The report: one HTML page that holds everything, figures included, and needs no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Union

from .metric import words
from .results import Results

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; color: #1d2329; background: #fff;
  font: 16px/1.5 system-ui, "Helvetica Neue", Arial, sans-serif; }
h1 { margin: 0 0 1rem; font-size: 1.7rem; }
h2 { margin: 2.2rem 0 .6rem; padding-bottom: .2rem; border-bottom: 2px solid #5790fc; font-size: 1.2rem; }
p { max-width: 48rem; margin: .4rem 0; }
.notice { padding: .6rem .9rem; border-left: 4px solid #f89c20; background: #fff6e8; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .25rem .9rem; text-align: right; border-bottom: 1px solid #e3e6ea; white-space: nowrap; }
th:first-child, td:first-child { padding-left: 0; text-align: left; }
th { color: #56606b; font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 0; font-size: .93rem; }
dt { color: #56606b; }
dd { margin: 0; overflow-wrap: anywhere; }
.gallery { display: grid; grid-template-columns: 1fr 1fr; gap: 2rem; }
figure { margin: 0; }
img { display: block; width: 100%; }
figcaption { font-size: .9rem; color: #3b444d; }
@media (max-width: 50rem) { .gallery { grid-template-columns: 1fr; } }
@media print { figure, tr { break-inside: avoid; } }
</style>
</head>
<body>
<h1>$title</h1>
$body
</body>
</html>
""")


@dataclass(frozen=True)
class ReportTable:
    """A table of plain text: the first column names the lines."""

    title: str
    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG image with its caption."""

    title: str
    meaning: str
    png: bytes


Section = Union[ReportTable, Sequence[Picture]]


def render(title: str, results: Results, pictures: Sequence[Picture], facts: Mapping[str, str]) -> str:
    """Return the report of an evaluation as HTML; every text is escaped in this module and nowhere else.

    Parameters
    ----------
    title
        Heading of the page.
    results
        What the tables are made of.
    pictures
        The figures, in order.
    facts
        What the result was made from, as name and text.
    """
    tables = [_overtraining(results)] if results.task == "classification" else _bins(results)
    sections: list[Section] = [_merits(results), *tables, pictures, _parts(results)]
    return page(title, _lead(results), results.notices, sections, facts)


def page(
    title: str,
    lead: str,
    notices: Sequence[str],
    sections: Sequence[Section],
    facts: Mapping[str, str],
) -> str:
    """Return a page of tables and galleries as HTML; see :func:`render`."""
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    parts = [
        f"<p>{escape(lead)}</p>",
        *(f'<p class="notice">{escape(notice)}</p>' for notice in notices),
        *(_table(section) if isinstance(section, ReportTable) else _gallery(section) for section in sections),
        f"<h2>Made from</h2>\n<dl>{lines}</dl>",
    ]
    return _PAGE.substitute(title=escape(title), body="\n".join(parts))


def _lead(results: Results) -> str:
    models = len(results.folds)
    by = "one model" if models == 1 else f"{models} models, each tested on the fold that it did not see"
    return f"{results.task.capitalize()} of {', '.join(results.outputs)} by {by}: {len(results.test):,} test rows."


def _merits(results: Results) -> ReportTable:
    spread = results.spread
    head = ["", "test", "training", *(["folds: mean \N{PLUS-MINUS SIGN} standard deviation"] if spread else [])]
    lines = [
        [words(name), str(value), str(results.train_summary[name]), *([str(spread[name])] if spread else [])]
        for name, value in results.test_summary.items()
    ]
    return ReportTable("Figures of merit", head, lines, _NOTES[results.task])


def _overtraining(results: Results) -> ReportTable:
    lines = [
        [f"score of {score}, true {name}", f"{test.statistic:.4f}", str(test)]
        for (score, name), test in results.tests.items()
    ]
    return ReportTable(
        "Training against test (Kolmogorov-Smirnov)", ["", "distance", "probability"], lines, _NOTES["tests"]
    )


def _bins(results: Results) -> list[ReportTable]:
    head = ["true value", "rows", "bias", "resolution"]
    tables = []
    for name, bins in results.bins.items():
        ranges = [f"{low:.4g} to {high:.4g}" for low, high in zip(bins.edges[:-1], bins.edges[1:])]
        columns = zip(ranges, bins.rows, bins.bias, bins.resolution)
        lines = [[interval, f"{rows:,}", str(bias), str(width)] for interval, rows, bias, width in columns]
        tables.append(ReportTable(f"Bins of {name}", head, lines, "Test rows, in the unit of the target."))
    return tables


def _parts(results: Results) -> ReportTable:
    lines = []
    for part in (part for fold in results.folds for part in fold.parts):
        model = f"fold {part.fold}, " if len(results.folds) > 1 else ""
        cells = [text for rows, weight in zip(part.rows, part.weight) for text in (f"{rows:,}", f"{weight:,.6g}")]
        lines.append([f"{model}{part.name}", *cells, f"{part.negative.sum():,}"])
    columns = [
        f"{line}: {quantity}" for line in results.lines for quantity in ("rows", "\N{GREEK CAPITAL LETTER SIGMA}w")
    ]
    return ReportTable("Rows", ["", *columns, "negative weight"], lines, _NOTES["parts"])


_NOTES = {
    "classification": (
        "AUC, background rejection and average precision use the physics weights; accuracy, log-loss, Brier score and "
        "calibration use the class balance of the training, to which the scores refer as probabilities. Errors are "
        "statistical. Of two classes, the first is the signal; more are taken one against the rest."
    ),
    "regression": (
        "In the unit of the target, with the physics weights; errors are statistical. Pulls, prediction minus truth in "
        "units of the predicted sigma, have the mean 0 and the width 1 where sigma is right; as much of the truth as "
        "its level says should lie below a predicted quantile."
    ),
    "tests": (
        "Largest distance between the weighted cumulative distributions of training and test scores, and how probable "
        "a larger one is without overtraining; with folds the largest of them, with Bonferroni's p value."
    ),
    "parts": "What the dataset holds, as the model of each fold sees it: rows, sums of weights, negative weights.",
}


def _table(table: ReportTable) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    lines = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in table.lines)
    return (
        f"<h2>{escape(table.title)}</h2>\n<p>{escape(table.note)}</p>\n"
        f'<div class="wide"><table>\n<tr>{head}</tr>\n{lines}\n</table></div>'
    )


def _gallery(pictures: Sequence[Picture]) -> str:
    return "\n".join(["<h2>Figures</h2>", '<div class="gallery">', *map(_picture, pictures), "</div>"])


def _picture(picture: Picture) -> str:
    image = base64.b64encode(picture.png).decode()
    return (
        f'<figure><img alt="{escape(picture.title)}" src="data:image/png;base64,{image}">'
        f"<figcaption><b>{escape(picture.title)}.</b> {escape(picture.meaning)}</figcaption></figure>"
    )
