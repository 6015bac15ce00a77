"""``nanoforge plot``: histograms of expressions, filled in one pass over the files, as figures and in a ROOT file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import hist
import numpy as np

from ..config.schema import Analysis
from ..console import say
from ..dataset.totals import check_weights, scales
from ..distributions.axis import automatic_range
from ..distributions.histogram import write_histograms
from ..errors import DataError
from ..evaluation.style import save
from ..events.files import expand, sample_files
from ..histograms.drawing import Looks, SampleHistogram, figures
from ..histograms.fill import Drawn, Filled, FillJob, fill_file, first_values
from ..histograms.request import PlotRequest, parse_requests
from ..parallel import run_jobs
from ..pipeline.outcome import Outcome, Request
from ..provenance import Accounting, Manifest
from ..provenance.manifest import refuse_copies

STAGE = "plot"
HISTOGRAMS = "histograms.root"
FILES_SAMPLE = "events"
"""The one sample that files without an analysis are."""
_LITTLE = 0.005


def analysis_of_files(files: Sequence[str], tree: str) -> Analysis:
    """Make an analysis of plain files, which has inputs, since every one needs some, but is not converted."""
    return Analysis.model_validate(
        {
            "name": STAGE,
            "tree": tree,
            "samples": {FILES_SAMPLE: {"files": expand(list(files), "FILES")}},
            "inputs": {"none": {"features": ["1"]}},
        }
    )


def plot(
    analysis: Analysis,
    texts: Sequence[str],
    output: str | Path,
    *,
    cuts: Sequence[str] = (),
    weight: str = "1",
    looks: Looks = Looks(),  # noqa: B008 - it is frozen
    jobs: int = 1,
    skip_bad_files: bool = False,
    force: bool = False,
) -> Manifest:
    """Draw histograms of the samples of an analysis.

    Parameters
    ----------
    analysis
        Its definitions, cuts (those of the conversion), weights and cross sections count.
    texts
        What to draw: ``x`` or ``y:x``, with bins ``x>>(50,0,200)`` or ``y:x>>name(50,0,200,10,-5,5)``.
    output
        Gets a PDF and a PNG for every figure, and ``histograms.root``, with a folder for every sample.
    cuts
        Further ones, on events, or on the objects that are drawn.
    weight
        A further factor of the weight.
    looks
        Where all simulated samples have cross sections and there are data, the simulation is stacked, with a ratio.
    jobs
        Number of processes.
    skip_bad_files
        Count files that cannot be used as lost, with the reason, instead of stopping at the first.
    force
        Replace figures of something else.

    Returns
    -------
    Manifest
        Of the figures.

    Raises
    ------
    UserError, DataError
        See :mod:`nanoforge.errors`; nothing that was there before is changed then.
    """
    requests = parse_requests(texts)
    key = {
        "analysis": analysis.dataset_part(),
        "requests": [asdict(request) for request in requests],
        "cuts": list(cuts),
        "weight": weight,
        "looks": asdict(looks),
    }
    files = {name: sample_files(analysis, name) for name in analysis.samples}
    paths = [path for of_sample in files.values() for path in of_sample]
    request = Request(STAGE, Path(output), key, key, paths, force=force, accept_lost=skip_bad_files)
    finished = request.finished()
    if finished is not None:
        return finished
    check_weights(analysis)

    def work(folder: Path) -> Outcome:
        drawn = _with_ranges(analysis, files, Drawn(tuple(requests), tuple(cuts), weight), skip_bad_files)
        plan = [FillJob(analysis, name, path, drawn, skip_bad_files) for name in files for path in files[name]]
        filled = run_jobs(fill_file, plan, jobs, "filling histograms")
        return _drawn(analysis, drawn.requests, filled, looks, folder)

    manifest = request.make(work)
    say(f"wrote {len(manifest.outputs) // 2} figures and {Path(output) / HISTOGRAMS}")
    return manifest


def _with_ranges(analysis: Analysis, files: dict[str, list[str]], drawn: Drawn, skip_bad_files: bool) -> Drawn:
    """Choose the bins that are not given, by the first events of every sample."""
    if all(r is not None for request in drawn.requests for r in request.ranges):
        return drawn
    first = [_first_values(analysis, name, paths, drawn, skip_bad_files) for name, paths in files.items()]
    requests = []
    for number, request in enumerate(drawn.requests):
        ranges = [
            r or automatic_range(np.concatenate([values[number][axis] for values in first if values]))
            for axis, r in enumerate(request.ranges)
        ]
        requests.append(replace(request, ranges=tuple(ranges)))
    return replace(drawn, requests=tuple(requests))


def _first_values(
    analysis: Analysis, sample: str, paths: Sequence[str], drawn: Drawn, skip_bad_files: bool
) -> list[list[np.ndarray]]:
    """Return values of the first file that can be read; empty without any."""
    for path in paths:
        try:
            return first_values(FillJob(analysis, sample, path, drawn, skip_bad_files))
        except DataError:
            if not skip_bad_files:
                raise
    return []


def _drawn(
    analysis: Analysis, requests: Sequence[PlotRequest], filled: Sequence[Filled], looks: Looks, folder: Path
) -> Outcome:
    """Sum up, normalise, write and draw the histograms of all files."""
    records = [one.record for one in filled]
    refuse_copies(record.source for record in records)
    accounting = Accounting.total(record.accounting for record in records)
    factors = dict(zip((str(record.source.sample) for record in records), scales(analysis, records)))
    normalised = any(sample.xsec is not None for sample in analysis.samples.values())
    data = {name for name, sample in analysis.samples.items() if sample.data}
    stack = normalised and not looks.shapes and bool(data)
    looks = replace(looks, stack=stack, ratio=looks.ratio or stack)
    outputs: dict[str, int | None] = {HISTOGRAMS: None}
    by_path: dict[str, hist.Hist] = {}
    for number, request in enumerate(requests):
        samples = [
            SampleHistogram(name, factors[name] * total, name in data)
            for name in analysis.samples
            if (total := _total(name, number, filled)) is not None
        ]
        if not samples:
            raise DataError("no file could be read: nothing is drawn")
        _say_what_is_not_seen(request, number, samples, filled)
        for one in samples:
            by_path[f"{one.sample}/{request.name}"] = one.histogram
        for name, figure in figures(request.name, samples, looks):
            outputs |= dict.fromkeys(path.name for path in save(figure, folder / name))
    write_histograms(folder / HISTOGRAMS, by_path)
    config: dict[str, Any] = analysis.model_dump(mode="json")
    return Outcome(config, [record.source for record in records], outputs, accounting)


def _total(sample: str, number: int, filled: Sequence[Filled]) -> hist.Hist | None:
    """Sum up a request's histograms of a sample; None where all of its files are lost."""
    parts = [one.histograms[number] for one in filled if one.record.source.sample == sample and one.histograms]
    return reduce(add, parts) if parts else None


def _say_what_is_not_seen(
    request: PlotRequest, number: int, samples: Sequence[SampleHistogram], filled: Sequence[Filled]
) -> None:
    """Name values that are no numbers, and those beyond the axes."""
    lost = sum(one.not_finite[number] for one in filled if one.histograms)
    if lost:
        say(f"note: {request.text}: {lost:,} values are NaN or infinite, and are not drawn")
    every = sum(float(np.abs(one.histogram.values(flow=True)).sum()) for one in samples)
    inside = sum(float(np.abs(one.values).sum()) for one in samples)
    if every and 1 - inside / every > _LITTLE:
        spans = " x ".join(f"{r.low:g} to {r.high:g}" for r in request.ranges if r is not None)
        say(f"note: {request.text}: {100 * (1 - inside / every):.2g} % lie beyond {spans}")
