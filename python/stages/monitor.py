"""``nanoforge monitor``: files, or the requests of a server, against what the model was trained on."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..console import out, say
from ..distributions.drift import Thresholds
from ..distributions.reference import FILE, Distributions, Reference
from ..errors import DataError, UserError
from ..events.files import expand, from_root
from ..monitoring.classifier import ROWS, TwoSampleTest, two_sample_test
from ..monitoring.filling import MonitoredFile, MonitorJob, Region, RowSample, check_by, monitor_file
from ..monitoring.periods import Periods
from ..monitoring.report import NUMBERS, PAGE, lines, write
from ..monitoring.results import Monitored, RegionResult
from ..monitoring.training_part import training_part
from ..parallel import stream_jobs
from ..pipeline.outcome import Outcome, Request
from ..provenance import Accounting, FileRecord, Manifest
from ..serving.client import Connection
from ..serving.repository import FEATURES_SUFFIX
from ..serving.security import read_tokens
from ..training.trained import TrainedModel, open_run

STAGE = "monitor"


@dataclass(frozen=True)
class MonitorOptions:
    """What is asked of a comparison beside its files.

    Attributes
    ----------
    weight
        An expression; None for the weight of the analysis where a file has its columns, and 1 for data.
    by
        What periods are: "run", "lumi", "era" or "file".
    thresholds
        From which size on an effect is a warning, or an alarm.
    regions
        Conditions on scores and features; the rows that fulfil them are compared, too.
    classifier
        Train trees to tell the rows apart.
    """

    weight: str | None = None
    by: str = "run"
    thresholds: Thresholds = field(default_factory=Thresholds)
    regions: tuple[str, ...] = ()
    classifier: bool = False


def monitor(
    run: str | Path,
    files: Sequence[str],
    output: str | Path,
    *,
    options: MonitorOptions = MonitorOptions(),
    jobs: int = 1,
    skip_bad_files: bool = False,
    force: bool = False,
    trust: bool = False,
) -> dict[str, Any]:
    """Compare files with the training of a run.

    Parameters
    ----------
    run
        What ``nanoforge train`` made.
    files
        The files, as a user writes them.
    output
        Gets ``report.html``, ``monitor.json``, ``histograms.root`` and ``plots/``.
    options
        What is asked for.
    jobs, skip_bad_files, force, trust
        As for ``predict``.

    Returns
    -------
    dict
        What ``monitor.json`` holds.

    Raises
    ------
    UserError
        When the run or an option is not what it ought to be, or files of data and simulation are mixed.
    DataError
        When a file is broken, or none could be read.
    """
    run, output = Path(run), Path(output)
    check_by(options.by)
    if not files:
        raise UserError("monitor: name FILES, or a server with --url")
    model, trained = open_run(run, 0 if jobs == 1 else 1, trust=trust)
    paths = list(map(from_root, expand(files, "FILES", model.analysis.redirectors)))
    key = {"run": trained.identity(), "files": paths, "options": repr(options)}
    request = Request(STAGE, output, key, trained.config, paths, force=force, accept_lost=skip_bad_files)
    if request.finished() is not None:
        return _read(output)
    reference = read_reference(run, model.folds)
    for text in options.regions:
        Region(text, model.analysis, reference.distributions.outputs)

    def work(folder: Path) -> Outcome:
        filled = _Filled(reference, model, options)
        job = MonitorJob(
            trained.identity(),
            model,
            reference.distributions.empty(),
            "",
            options.by,
            options.weight,
            options.regions,
            ROWS if options.classifier else 0,
            skip_bad_files,
        )
        plan = [replace(job, path=path) for path in paths]
        for result in stream_jobs(monitor_file, plan, jobs, "filling distributions"):
            filled.add(result)
        results = filled.results(trained)
        facts = _facts(run, trained, f"{len(paths)} files, the first {paths[0]}" if len(paths) > 1 else paths[0])
        names = write(folder, results, _title(trained), facts)
        return Outcome(trained.config, filled.sources, dict.fromkeys(names), filled.accounting)

    request.make(work)
    return _read(output)


def monitor_server(
    run: str | Path,
    url: str,
    output: str | Path,
    *,
    thresholds: Thresholds = Thresholds(),  # noqa: B008 - it is frozen
    token_file: Path | None = None,
) -> dict[str, Any]:
    """Compare the rows that a server has scored since it started with the training of a run, as :func:`monitor` does.

    Raises
    ------
    UserError
        When the server has no such model, or it is of another training.
    DataError
        When it does not answer.
    """
    run, output = Path(run), Path(output)
    model, trained = open_run(run, 1, trust=True)  # no code of the run is used
    reference = read_reference(run, model.folds)
    token = None if token_file is None else next(iter(read_tokens(token_file)))
    name = model.analysis.name + FEATURES_SUFFIX
    content, _ = Connection(url, token).ask("GET", f"/v2/models/{quote(name)}/drift")
    answer = json.loads(content)
    observed = Distributions.from_dict(answer["filled"])
    if not reference.distributions.same_bins(observed):
        raise UserError(f"{url}: version {answer['version']} of {name} is of another training than {run}")
    results = Monitored(reference, observed, thresholds, "Requests")

    def work(folder: Path) -> Outcome:
        names = write(folder, results, _title(trained), _facts(run, trained, f"{name} {answer['version']} on {url}"))
        return Outcome(trained.config, [], dict.fromkeys(names))

    key = {"run": trained.identity(), "url": url, "time": time.time()}
    Request(STAGE, output, key, trained.config, force=True).make(work)
    return _read(output)


def read_reference(run: Path, folds: int) -> Reference:
    """Read what the training of all folds looked like."""
    return Reference.of_folds([Reference.read(run / f"fold{fold}" / FILE) for fold in range(folds)])


class _Filled:
    """Sums up what the files hold."""

    def __init__(self, reference: Reference, model: TrainedModel, options: MonitorOptions) -> None:
        self._reference, self._model, self._options = reference, model, options
        empty = reference.distributions.empty()
        self._periods = Periods(empty)
        self._regions = [empty.empty() for _ in options.regions]
        self._sample = RowSample(ROWS)
        self._first: MonitoredFile | None = None
        self._unreadable: dict[str, str] = {}
        self.sources: list[FileRecord] = []
        self.accounting = Accounting()

    def add(self, file: MonitoredFile) -> None:
        """Add a file."""
        self.sources.append(file.source)
        self.accounting.add(file.accounting)
        if file.missing is not None:
            self._unreadable[file.source.path] = file.missing
            return
        if not len(file.periods):
            return
        first = self._first = self._first or file
        if file.weight != first.weight:
            raise UserError(
                f"{file.source.path}: its events weigh {file.weight}, and those of {first.source.path} {first.weight}: "
                "look at data and simulation apart, or say --weight"
            )
        self._periods.merge(file.periods)
        for region, more in zip(self._regions, file.regions):
            region.merge(more)
        self._sample.merge(file.sample)

    def results(self, trained: Manifest) -> Monitored:
        """Compare the sums with the training."""
        if self._first is None and not self._unreadable:
            raise DataError("no event of the files passes the selection: there is nothing to compare")
        first, options, reference = self._first, self._options, self._reference
        references = [reference.distributions.empty() for _ in options.regions]
        test = None
        if options.regions or options.classifier:
            test = self._look_at_training(trained, references)
        pairs = zip(options.regions, references, self._regions)
        return Monitored(
            reference,
            self._periods.total,
            options.thresholds,
            "Data" if first is None or first.data else "Files",
            weight="1" if first is None else first.weight,
            data=first is None or first.data,
            by=options.by,
            periods=list(self._periods),
            regions=[RegionResult(*pair) for pair in pairs],
            test=test,
            unreadable=self._unreadable,
        )

    def _look_at_training(self, trained: Manifest, references: Sequence[Any]) -> TwoSampleTest | None:
        """Fill the regions from training rows, and keep some for the classifier."""
        options, inputs = self._options, self._reference.distributions.inputs
        regions = [
            Region(text, self._model.analysis, self._reference.distributions.outputs) for text in options.regions
        ]
        sample = RowSample(ROWS if options.classifier else 0)
        for rows in training_part(self._model, trained, "--classifier" if options.classifier else "--regions"):
            for region, reference in zip(regions, references):
                reference.add(rows.select(region.passed(rows)))
            sample.add(rows)
        if not options.classifier:
            return None
        seen, others = sample.rows, self._sample.rows
        if seen is None or others is None:
            raise UserError("--classifier: there are no rows to tell apart")
        return two_sample_test(seen, others, inputs)


def _read(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / NUMBERS).read_text())
    return content


def show(output: Path, content: dict[str, Any]) -> None:
    """Print a line for each variable, the worst first, and what else was noticed."""
    for line in lines(content):
        out.print(line, markup=False, highlight=False)
    for finding in content["other_findings"]:
        say(finding)
    say(f"{content['state']}: {output / PAGE}")


def _title(trained: Manifest) -> str:
    return f"Monitoring of {trained.config['name']}"


def _facts(run: Path, trained: Manifest, source: str) -> dict[str, str]:
    return {
        "run": str(run.absolute()),
        "trained": trained.created,
        "compared": source,
        "configuration SHA-256": trained.config_sha256,
        "monitored": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
