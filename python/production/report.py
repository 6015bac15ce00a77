"""What cmsRun tells of a job: its FrameworkJobReport, and the summary of paths and filters in its output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from ..errors import DataError

_SECTION = re.compile(r"^TrigReport -+ (?:Path   Summary|Modules in Path: (?P<path>\w+) (?:Summary )?)")
_ROW = re.compile(r"^TrigReport +\d+ +\d+ +(?P<seen>\d+) +(?P<passed>\d+) +(?P<failed>\d+) +\d+ (?P<name>[\w@]+) *$")


@dataclass(frozen=True)
class Report:
    """A FrameworkJobReport.

    Attributes
    ----------
    code, kind, text
        Of the error that ended the job: its exit code, its category and the first line; 0 where there was none.
    read
        Events read from files.
    written
        Events written, by label of the output module.
    seconds, cpu
        Wall and CPU time; 0.0 where it does not say.
    memory
        Most resident memory in MB; 0.0 where it does not say.
    """

    code: int = 0
    kind: str = ""
    text: str = ""
    read: int = 0
    written: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    cpu: float = 0.0
    memory: float = 0.0


def read(path: Path) -> Report | None:
    """Read a report; None where the job was killed before it had written a whole one."""
    try:
        root = ElementTree.parse(path).getroot()  # noqa: S314 - cmsRun wrote it, in this job
        return _report(root)
    except (OSError, ElementTree.ParseError):
        return None
    except ValueError as error:
        raise DataError(f"{path}: no job report of cmsRun ({error})") from None


def _report(root: ElementTree.Element) -> Report:
    error = root.find("FrameworkError")
    metrics = {
        (str(summary.get("Metric")), str(metric.get("Name"))): str(metric.get("Value"))
        for summary in root.iter("PerformanceSummary")
        for metric in summary.iter("Metric")
    }

    def number(summary: str, name: str) -> float:
        return float(metrics.get((summary, name), 0) or 0)

    lines = [] if error is None else (error.text or "").strip().splitlines()
    return Report(
        code=0 if error is None else int(error.get("ExitStatus", 1)),
        kind="" if error is None else error.get("Type", ""),
        text=" ".join(line.strip() for line in lines[:3]),
        read=sum(int(file.findtext("EventsRead") or 0) for file in root.iter("InputFile")
                 if (file.findtext("InputType") or "primaryFiles") == "primaryFiles"),
        written={(file.findtext("ModuleLabel") or "").strip(): int(file.findtext("TotalEvents") or 0)
                 for file in root.iter("File")},
        seconds=number("Timing", "TotalJobTime"),
        cpu=number("Timing", "TotalJobCPU"),
        memory=number("ApplicationMemory", "PeakValueRss"),
    )  # fmt: skip


@dataclass(frozen=True)
class Counts:
    """Events that were seen and passed: by path, and within a path by filter."""

    seen: int
    passed: int


def summary(log: Path) -> dict[str, Counts]:
    """Read the summary that cmsRun prints with ``wantSummary``, for each path, and each module as ``path/module``."""
    counts: dict[str, Counts] = {}
    prefix: str | None = None
    with log.open(errors="replace") as lines:
        for line in lines:
            if not line.startswith("TrigReport"):
                continue
            section, row = _SECTION.match(line), _ROW.match(line)
            if section is not None:
                prefix = f"{section['path']}/" if section["path"] else ""
            elif line.startswith("TrigReport ---"):
                prefix = None
            elif row is not None and prefix is not None:
                counts[prefix + row["name"]] = Counts(int(row["seen"]), int(row["passed"]))
    return counts
