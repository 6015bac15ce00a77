"""Produce samples by CMSSW, from their ``generator`` to NanoAOD: chains of cmsRun, a lumi section at a time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ..config.schema import Analysis
from ..console import progress, say
from ..errors import DataError, UserError
from ..events.files import split_line
from ..events.open import reading
from ..pipeline.outcome import Outcome, Request
from ..pipeline.parts import Gathered, Part, gather
from ..production import lists
from ..production.chain import Chain, make_all
from ..production.datasets import record_of
from ..production.job import Job, LumiRecord
from ..production.lumis import with_lumis
from ..production.plan import RUN, Production, plan
from ..production.weights import weighted
from ..provenance import Accounting, FileRecord, Ledger, Lost, Manifest, Piece, fingerprint, make_room
from ..provenance.manifest import remove
from ..simulation.generator.trials import Trials

STAGE = "produce"
_RECORDS, _WORK = ".records", ".work"


@dataclass(frozen=True)
class _Section:
    """A lumi section to make: the unit of a sample, and where its files go."""

    production: Production
    unit: int

    @property
    def lumi(self) -> int:
        return self.production.lumi(self.unit)

    def file(self, step: str) -> str:
        return self.production.file(step, self.unit)

    def key(self) -> str:
        return fingerprint([self.production.sample, self.unit, self.production.made_from()])


def produce(
    analysis: Analysis,
    output: str | Path,
    *,
    jobs: int = 1,
    threads: int = 1,
    force: bool = False,
    skip_bad_files: bool = False,
    part: str | None = None,
    parts: Path | None = None,
    parts_at: str | None = None,
    chain: Path | None = None,
    published: Path | None = None,
) -> Manifest:
    """Produce the samples that ``cmssw.produce`` names.

    Parameters
    ----------
    analysis
        The analysis file.
    output
        Gets ``<sample>/<step>-<lumi>.root`` and the job reports of all steps, ``files/<sample>.txt`` with the names of
        the files, and ``samples.yaml`` with what an analysis needs to know of them. Lumi sections that an interrupted
        run finished are not made again.
    jobs, threads
        Lumi sections at a time, and threads of each.
    force
        Replace a finished result of something else.
    skip_bad_files
        With ``parts``: go on without those that are missing; they are named, and on no side of any sum.
    part
        Only these lumi sections, as ``sample:first-last``, counted from 0.
    parts
        A folder of parts, which stay where they are: the result lists their files.
    parts_at
        Where these parts lie, if the folder holds just their manifests.
    chain
        The chains that were made at submission.
    published
        A file with the files of each sample and step that CRAB has published: the result lists them.

    Returns
    -------
    Manifest
        Of the finished result.

    Raises
    ------
    UserError, DataError
        See :mod:`nanoforge.errors`; nothing that was there before is changed then.
    """
    output = Path(output)
    analysis = with_lumis(analysis, output)
    productions = plan(analysis)
    whole = {name: production.made_from() for name, production in productions.items()}
    units: dict[str | None, int] = {name: len(production.sizes) for name, production in productions.items()}
    share = None if part is None else Part.parse(part, units)
    request = Request(STAGE, output, whole, {"samples": whole}, part=share, force=force)
    finished = request.finished()
    if finished is not None:
        return finished

    def work(folder: Path) -> Outcome:
        if published is not None:
            return _published(analysis, productions, whole, published, folder, output)
        if parts is not None:
            finished_parts = gather(
                parts, None, STAGE, whole, units, incomplete=skip_bad_files, jobs=jobs, verify=parts_at is None
            )
            return _listed(analysis, productions, whole, finished_parts, folder, output, parts_at)
        sections = list(_sections(productions, share))
        maker = _Maker(analysis, folder, threads, chain)
        records, entries, checksums = maker.make(sections, jobs)
        details: dict[str, Any] = {"lumis": {n: [r.as_dict() for r in of] for n, of in records.items()}}
        if share is None:
            files = {name: f"../{name}" for name in entries}
            entries |= lists.write(analysis, productions, records, entries, files, checksums, folder, output)
        seed = min(production.generator.seed for production in productions.values())
        return Outcome({"samples": whole}, [], entries, _accounting(records), details, checksums, seed)

    manifest = request.make(work)
    if share is None:
        lists.tell(output)
    return manifest


def _sections(productions: Mapping[str, Production], share: Part | None) -> Iterator[_Section]:
    if share is not None:
        production = productions[str(share.sample)]
        yield from (_Section(production, unit) for unit in range(share.first, share.last + 1))
        return
    for production in productions.values():
        yield from (_Section(production, unit) for unit in range(len(production.sizes)))


# -- making sections --------------------------------------------------------------------------------------------------


class _Maker:
    """Makes lumi sections in a folder, several at a time, each with releases of its own."""

    def __init__(self, analysis: Analysis, folder: Path, threads: int, chain: Path | None) -> None:
        self._analysis, self._folder, self._threads = analysis, folder, threads
        self._chains = chain
        self._free: SimpleQueue[Path] = SimpleQueue()

    def make(
        self, sections: Sequence[_Section], jobs: int
    ) -> tuple[dict[str, list[LumiRecord]], dict[str, int | None], dict[str, str]]:
        """Make all sections but those that an interrupted run finished.

        Returns their records by sample, and the events and checksums of the files.
        """
        remove(self._folder / _WORK)
        for slot in range(min(jobs, len(sections))):
            (self._folder / _WORK / str(slot)).mkdir(parents=True)
            self._free.put(self._folder / _WORK / str(slot))
        if self._chains is None:
            self._chains = self._folder / _WORK / "chain"
            make_all({s.production.sample: s.production for s in sections}.values(), self._chains)
        with progress("lumi sections", len(sections)) as bar, ThreadPoolExecutor(jobs) as pool:
            try:
                futures = [pool.submit(self._section, section) for section in sections]
                pieces = []
                for future in futures:
                    pieces.append(future.result())
                    bar.advance(1)
            finally:
                pool.shutdown(cancel_futures=True)
        records: dict[str, list[LumiRecord]] = {}
        entries: dict[str, int | None] = {}
        checksums: dict[str, str] = {}
        for section, piece in zip(sections, pieces):
            records.setdefault(section.production.sample, []).append(LumiRecord.from_dict(piece.payload))
            written = {section.file(step["name"]): step["written"] for step in piece.payload["steps"]}
            for record in piece.outputs:
                name = record.path.removeprefix("../")
                entries[name], checksums[name] = written.get(name), str(record.adler32)
        for scrap in (_RECORDS, _WORK):
            remove(self._folder / scrap)
        return records, entries, checksums

    def _section(self, section: _Section) -> Piece:
        record = self._folder / _RECORDS / f"{section.production.sample}-{section.lumi}.json"
        done = Piece.read(record, section.key())
        if done is not None:
            return done
        slot = self._free.get()
        try:
            return self._run(section, record, slot)
        finally:
            self._free.put(slot)

    def _run(self, section: _Section, record: Path, slot: Path) -> Piece:
        production = section.production
        chain = slot / "chain" / production.sample
        if not chain.exists():
            shutil.copytree(self._chains / production.sample, chain)  # type: ignore[operator]
        kept = {step: self._folder / section.file(step) for step in production.kept}
        kept |= {f"FJR-{step}": self._folder / section.file(f"FJR-{step}") for step in production.steps}
        make_room(record, *kept.values())
        job = Job(Chain.read(chain), slot / "job", slot, self._threads, self._analysis.redirectors)
        size = production.sizes[section.unit]
        made = job.run(section.lumi, size, production.tries(size), kept)
        nano = kept.get("nano")
        if nano is not None and nano.exists():
            made = LumiRecord(made.lumi, weighted(made.trials, nano), made.skimmed, made.steps)
        outputs = [path for path in kept.values() if path.exists()]
        return Piece.write(record, section.key(), outputs, made.as_dict())


# -- the whole --------------------------------------------------------------------------------------------------------


def _listed(
    analysis: Analysis,
    productions: Mapping[str, Production],
    whole: dict[str, Any],
    finished_parts: Gathered,
    folder: Path,
    output: Path,
    parts_at: str | None,
) -> Outcome:
    """List the files of all parts."""
    records: dict[str, list[LumiRecord]] = {}
    addresses: dict[str, str] = {}
    for part, path, manifest in finished_parts.parts:
        of_part = manifest.details["lumis"][str(part.sample)]
        records.setdefault(str(part.sample), []).extend(map(LumiRecord.from_dict, of_part))
        base = str(path.resolve()) if parts_at is None else f"{parts_at.rstrip('/')}/{path.name}"
        addresses |= {record.path: f"{base}/{record.path}" for record in manifest.outputs}
    if not records:
        raise UserError("no part has a lumi section: there is nothing to list")
    _compare_configurations(records)
    made = lists.write(
        analysis, productions, records, finished_parts.entries, addresses, finished_parts.checksums, folder, output
    )
    sections: dict[str | None, list[str]] = {
        name: [f"{name}: run {RUN}, lumi section {production.lumi(unit)}" for unit in range(len(production.sizes))]
        for name, production in productions.items()
    }
    details = {"samples": lists.summaries(productions, records)}
    return Outcome({"samples": whole}, [], made, finished_parts.accounting(sections), details)


def _published(
    analysis: Analysis,
    productions: Mapping[str, Production],
    whole: dict[str, Any],
    published: Path,
    folder: Path,
    output: Path,
) -> Outcome:
    """List the files that were published; what became of the events is in the NanoAOD."""
    records: dict[str, list[LumiRecord]] = {}
    inputs: list[FileRecord] = []
    addresses: dict[str, str] = {}
    for name, of_steps in json.loads(published.read_text()).items():
        for step, listed in of_steps.items():
            files = {f"{name}/{step}-{i:05d}.root": line for i, line in enumerate(listed)}
            addresses |= files
            if step == "nano":
                made = {key: _read(analysis, split_line(line)[0], name) for key, line in files.items()}
                inputs += [source for source, _ in made.values()]
                records[name] = _distinct([record for _, record in made.values()], listed)
    accounting = _accounting(records)
    for name, of_sample in records.items():
        lumis = range(1, len(productions[name].sizes) + 1)
        for lumi in sorted({*lumis} - {record.lumi for record in of_sample}):
            lost = Lost(f"{name}: run {RUN}, lumi section {lumi}", "is in no file that was published")
            say(f"{lost.file} {lost.reason}: lost")
            accounting.lose(lost)
    places, sums = ({key: split_line(line)[part] for key, line in addresses.items()} for part in (0, 1))
    made_files = lists.write(analysis, productions, records, dict.fromkeys(addresses), places, sums, folder, output)
    details = {"samples": lists.summaries(productions, records)}
    return Outcome({"samples": whole}, inputs, made_files, accounting, details)


def _read(analysis: Analysis, path: str, sample: str) -> tuple[FileRecord, LumiRecord]:
    with reading(analysis, path, sample) as (file, source):
        return source, record_of(file)


def _distinct(records: list[LumiRecord], files: Sequence[str]) -> list[LumiRecord]:
    """Return the records of files, of which each has a lumi section of its own."""
    seen: dict[int, str] = {}
    for record, file in zip(records, files):
        if record.lumi in seen:
            raise DataError(
                f"{seen[record.lumi]} and {file} both have lumi section {record.lumi}: its events would count twice"
            )
        seen[record.lumi] = file
    return records


def _accounting(records: Mapping[str, Iterable[LumiRecord]]) -> Accounting:
    """Account for all events that were tried: accepted, or rejected by a filter, the acceptance or the skim."""
    accounting = Accounting()
    for name, of_sample in records.items():
        trials, skimmed = Trials(), 0
        for record in of_sample:
            trials.add(record.trials)
            skimmed += record.skimmed
        rejected = {f"{name}.{cut}": count for cut, count in trials.rejected.items()}
        rejected |= {f"{name}.skim": skimmed} if skimmed else {}
        accounting.events.add(Ledger("events", trials.tried, trials.passed - skimmed, rejected))
    return accounting


def _compare_configurations(records: Mapping[str, Iterable[LumiRecord]]) -> None:
    """Say where jobs made different configurations of a step: their releases were not set up alike."""
    for name, of_sample in records.items():
        different: dict[str, set[str]] = {}
        for record in of_sample:
            for step in record.steps:
                different.setdefault(step.name, set()).add(step.configuration)
        for step_name, sums in different.items():
            if len(sums) > 1:
                say(f"note: samples.{name}: {len(sums)} configurations of step {step_name} differ between jobs")
