"""The report: one HTML page that holds everything, figures included, and needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Union

import numpy as np

from .figure import DATA, INPUTS, PERFORMANCE, SCORES, TRAINING
from .metric import words
from .results import Results
from .working_points import definition

_PAGE = Path(__file__).with_name("page.html")
_MANY = 6
"""More figures than these are drawn smaller."""


@dataclass(frozen=True)
class ReportTable:
    """A table of plain text: the first column names the lines."""

    title: str
    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG image with its caption.

    Attributes
    ----------
    title, meaning
        What stands below it.
    png
        The image.
    section
        The part of the report that it belongs to.
    pdf
        The same as PDF, as seen from the page; empty where there is none.
    curves
        What can be read off, in plain JSON types; see :func:`.gallery.save_all`.
    """

    title: str
    meaning: str
    png: bytes
    section: str = ""
    pdf: str = ""
    curves: Sequence[Mapping[str, Any]] = ()


Part = Union[ReportTable, Sequence[Picture]]


@dataclass(frozen=True)
class Chapter:
    """Tables and galleries with a common title."""

    title: str
    parts: Sequence[Part]


Section = Union[ReportTable, Sequence[Picture], Chapter]


@dataclass(frozen=True)
class Overview:
    """What stands above all: what was evaluated, and what the dataset was made of.

    Attributes
    ----------
    facts
        Name and text of what is to be known of data, model and training.
    tables
        The accounting of the data.
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    tables: Sequence[ReportTable] = ()


def render(
    title: str,
    results: Results,
    pictures: Sequence[Picture],
    facts: Mapping[str, str],
    overview: Overview = Overview(),
) -> str:
    """Return the report of an evaluation as HTML; every text is escaped in this module and nowhere else.

    Parameters
    ----------
    title
        Heading of the page.
    results
        What the tables are made of.
    pictures
        The figures, in order; each says to which section it belongs.
    facts
        What the result was made from, as name and text.
    overview
        What the header says of data and training, and the accounting.
    """
    tables: dict[str, list[ReportTable]] = {
        PERFORMANCE: [_merits(results), *_bins(results)],
        SCORES: [_working_points(results), _overtraining(results)] if results.task == "classification" else [],
        INPUTS: [],
        TRAINING: [],
        DATA: [*overview.tables, _parts(results)],
    }
    by_section: dict[str, list[Picture]] = {}
    for picture in pictures:
        by_section.setdefault(picture.section or PERFORMANCE, []).append(picture)
    chapters = [
        Chapter(name, [*tables.get(name, ()), *([by_section[name]] if name in by_section else [])])
        for name in dict.fromkeys([*tables, *by_section])
    ]
    lead = [_lead(results), *_header(overview.facts), _verdict(results)]
    return _whole(title, "\n".join(lead), results.notices, [c for c in chapters if c.parts], facts)


def page(
    title: str,
    lead: str,
    notices: Sequence[str],
    sections: Sequence[Section],
    facts: Mapping[str, str],
) -> str:
    """Return a page of tables, galleries and chapters of both as HTML; see :func:`render`."""
    return _whole(title, f"<p>{escape(lead)}</p>", notices, sections, facts)


def _whole(title: str, lead: str, notices: Sequence[str], sections: Sequence[Section], facts: Mapping[str, str]) -> str:
    chapters = [_as_chapter(section) for section in sections]
    anchors = _anchors([*(chapter.title for chapter in chapters), _MADE_FROM])
    body = [_chapter(chapter, anchor) for chapter, anchor in zip(chapters, anchors)]
    body.append(f'<h2 id="{anchors[-1]}">{_MADE_FROM}</h2>\n{_list(facts)}')
    template, policy = _template()
    return template.substitute(
        title=escape(title),
        policy=policy,
        lead="\n".join([lead, *(f'<p class="notice">{escape(notice)}</p>' for notice in notices)]),
        contents=_contents(chapters, anchors),
        body="\n".join(body),
    )


@lru_cache(maxsize=1)
def _template() -> tuple[Template, str]:
    """Read the page, and the policy by which a browser loads nothing and runs no other script than its own."""
    text = _PAGE.read_text(encoding="utf-8")
    hashes = []
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        hashes.append(f"{tag}-src 'sha256-{digest}'")
    return Template(text), f"default-src 'none'; img-src data:; {'; '.join(hashes)}"


_MADE_FROM = "Made from"


def _as_chapter(section: Section) -> Chapter:
    if isinstance(section, Chapter):
        return section
    if isinstance(section, ReportTable):
        return Chapter(section.title, [replace(section, title="")])
    return Chapter("Figures", [section])


def _anchors(titles: Iterable[str]) -> list[str]:
    """Make a name of every title, none twice."""
    anchors: list[str] = []
    for title in titles:
        plain = re.sub(r"\W+", "-", title.lower()).strip("-") or "section"
        anchors.append(plain if plain not in anchors else f"{plain}-{len(anchors)}")
    return anchors


def _contents(chapters: Sequence[Chapter], anchors: Sequence[str]) -> str:
    links = []
    for title, anchor in zip([*(chapter.title for chapter in chapters), _MADE_FROM], anchors):
        links.append(f'<a href="#{anchor}">{escape(title)}</a>')
    return f'<nav aria-label="Contents">{" ".join(links)}</nav>'


def _chapter(chapter: Chapter, anchor: str) -> str:
    parts = [_table(part) if isinstance(part, ReportTable) else _gallery(part) for part in chapter.parts]
    return "\n".join([f'<section>\n<h2 id="{anchor}">{escape(chapter.title)}</h2>', *parts, "</section>"])


def _list(facts: Mapping[str, str]) -> str:
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    return f"<dl>{lines}</dl>"


def _header(facts: Mapping[str, str]) -> list[str]:
    return [_list(facts)] if facts else []


def _lead(results: Results) -> str:
    models = len(results.folds)
    by = "one model" if models == 1 else f"{models} models, each tested on the fold that it did not see"
    text = f"{results.task.capitalize()} of {', '.join(results.outputs)} by {by}: {len(results.test):,} test rows."
    return f"<p>{escape(text)}</p>"


def _verdict(results: Results) -> str:
    verdict = results.overtraining
    kind = "notice" if verdict.seen else "notice good"
    return f'<p class="{kind}"><b>{escape(verdict.title)}</b> {escape(verdict.reason)}</p>'


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


def _working_points(results: Results) -> ReportTable:
    lines = []
    for cut in results.cuts:
        threshold = f"{cut.threshold:.6g}" if np.isfinite(cut.threshold) else "undefined"
        shares = [str(cut.efficiencies[name]) for name in results.outputs]
        lines.append([f"{cut.signal}, {cut.name}: {definition(cut)}", threshold, *shares])
    head = ["", "score at least", *(f"efficiency of {name}" for name in results.outputs)]
    return ReportTable("Working points", head, lines, _NOTES["working_points"])


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
        of_part = zip(results.lines, part.rows, part.weight, part.negative)
        for number, (line, rows, weight, negative) in enumerate(of_part):
            first = "" if number else f"{model}{part.name}"
            lines.append([first, line, f"{rows:,}", sum_text(weight), f"{negative:,}"])
    kind = "class" if results.task == "classification" else "of"
    head = ["", kind, "rows", "\N{GREEK CAPITAL LETTER SIGMA}w", "rows of negative weight"]
    return ReportTable("Rows", head, lines, _NOTES["parts"])


def sum_text(weight: float) -> str:
    """Write a sum of weights, in full where it is large."""
    return f"{weight:,.0f}" if _LARGE <= abs(weight) < _HUGE else f"{weight:,.6g}"


_LARGE, _HUGE = 1e5, 1e12
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
    "working_points": (
        "Cuts on the score that keep at most so much background, or at least so much signal, and the fraction of each "
        "class that passes, with its interval of 68 % for this cut. All digits are in working_points.json; a cut is "
        "undefined where not even one row may pass."
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
    title = f"<h3>{escape(table.title)}</h3>\n" if table.title else ""
    return (
        f"{title}<p>{escape(table.note)}</p>\n"
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>'
    )


def _gallery(pictures: Sequence[Picture]) -> str:
    kind = "gallery small" if len(pictures) > _MANY and all(p.section == INPUTS for p in pictures) else "gallery"
    return "\n".join([f'<div class="{kind}">', *map(_picture, pictures), "</div>"])


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    title = escape(picture.title)
    curves = f' data-curves="{escape(json.dumps(picture.curves))}"' if picture.curves else ""
    link = f' <a class="links" href="{escape(picture.pdf)}">PDF</a>' if picture.pdf else ""
    image = f'<img alt="{title}" src="data:image/png;base64,{data}">'
    button = f'<div class="frame" tabindex="0" role="button" aria-label="Enlarge {title}">'
    return (
        f'<figure{curves}>{button}<div class="sheet">{image}</div></div>'
        f"<figcaption><b>{title}.</b> {escape(picture.meaning)}{link}</figcaption></figure>"
    )
