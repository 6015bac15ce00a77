"""The work of a job: one lumi section after another through the steps of a chain."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..cmssw import chain as script
from ..cmssw import gen
from ..errors import DataError, UserError
from ..provenance.manifest import remove
from ..simulation.generator.trials import Trials
from . import pileup, report, systems
from .chain import SKIM, Chain, StepOfChain, call, configure, last_lines
from .failures import Failure, failure_of, message, of_process

_INPUT_TRIES, _CRASHES = 3, 2
_TAIL = 40


@dataclass(frozen=True)
class StepRecord:
    """What a step did.

    Attributes
    ----------
    name, release, arch, conditions
        The step, and where it ran.
    configuration
        SHA-256 of the common configuration.
    read, written
        Events; of what generates, ``read`` is tried.
    seconds, cpu, memory
        Wall and CPU time in seconds, most resident memory in MB.
    pileup
        Which subset of the premixed files it was given; None where nothing was mixed in.
    """

    name: str
    release: str
    arch: str
    conditions: str
    configuration: str
    read: int
    written: int
    seconds: float
    cpu: float
    memory: float
    pileup: int | None = None


@dataclass(frozen=True)
class LumiRecord:
    """What became of a lumi section: of the events that were tried, and in each step."""

    lumi: int
    trials: Trials
    skimmed: int
    steps: tuple[StepRecord, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "lumi": self.lumi, "trials": self.trials.as_dict(), "skimmed": self.skimmed,
            "steps": [asdict(step) for step in self.steps],
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> LumiRecord:
        """Return what :meth:`as_dict` wrote."""
        steps = tuple(StepRecord(**step) for step in content["steps"])
        return cls(content["lumi"], Trials.from_dict(content["trials"]), content["skimmed"], steps)


@dataclass(frozen=True)
class Job:
    """Runs a chain on this machine.

    Attributes
    ----------
    chain
        The chain, in a folder of this job.
    folder
        Where it works; what is in it is removed.
    areas
        Where releases are set up, once for all sections.
    threads
        Of each step.
    redirectors
        Servers of premixed files.
    """

    chain: Chain
    folder: Path
    areas: Path
    threads: int
    redirectors: Sequence[str]

    def run(self, lumi: int, events: int, tries: int, kept: Mapping[str, Path]) -> LumiRecord:
        """Make one lumi section.

        Parameters
        ----------
        lumi
            Its number.
        events, tries
            Events that are to be accepted, and those that may be tried for them.
        kept
            Where the files of steps go, by step, once they are whole; all others are removed. Where no event is
            accepted, these hold none, but tell of those that were tried.

        Returns
        -------
        LumiRecord
            What became of it.

        Raises
        ------
        UserError
            When a step fails in a way that no other try mends.
        DataError
            When it fails otherwise.
        """
        remove(self.folder)
        self.folder.mkdir(parents=True)
        if (self.chain.folder / SKIM).exists():
            shutil.copyfile(self.chain.folder / SKIM, self.folder / SKIM)
        records: list[StepRecord] = []
        for step in self.chain.steps:
            settings = {"step": step.name, "seed": self.chain.seed, "lumi": lumi, "threads": self.threads,
                        "events": None if records else events, "tries": None if records else tries}  # fmt: skip
            records.append(self._step(step, settings, records[-1] if records else None))
            if len(records) > 1:
                self._done_with(self.chain.steps[len(records) - 2].name, kept)
        made = self._trials(records[0].written)
        skimmed = records[-1].read - records[-1].written if self.chain.skimmed and len(records) > 1 else 0
        self._done_with(records[-1].name, kept)
        for record in records:
            path = kept.get(f"FJR-{record.name}")
            if path is not None:
                shutil.move(self.folder / f"FJR-{record.name}.xml", path)
        remove(self.folder)
        return LumiRecord(lumi, made, skimmed, tuple(records))

    def _done_with(self, step: str, kept: Mapping[str, Path]) -> None:
        """Keep the file of a step, or remove it, when the next one has read it."""
        path = self.folder / f"{step}.root"
        if step in kept:
            shutil.move(path, kept[step])
        else:
            path.unlink()

    # -- a step -------------------------------------------------------------------------------------------------------

    def _step(self, step: StepOfChain, settings: dict[str, Any], before: StepRecord | None) -> StepRecord:
        """Run a step, and again where that may help: with other premixed files, or after a crash."""
        if step.system != systems.system():
            systems.probe(step.system, systems.software())
        log = self.folder / f"{step.name}.log"
        if not self.chain.configuration(step.name).exists():
            with log.open("wb") as file:
                configure(self.chain, step, self.areas, file)
        mixed = self.chain.premixed if step.name == "digi" else []
        subset = crashes = 0
        while True:
            chosen = pileup.share(mixed, settings["seed"], settings["lumi"], subset) if mixed else []
            premixed = pileup.readable(chosen, self.redirectors, subset)
            result, code, text = self._attempt(step, {**settings, "pileup": premixed}, log)
            if code == 0 and result is not None:
                return self._checked(step, result, before, log, subset if mixed else None)
            failure = failure_of(code)
            print(last_lines(log, _TAIL), file=sys.stderr)  # noqa: T201 - the log of the job
            if failure is Failure.INPUT and mixed and subset + 1 < _INPUT_TRIES:
                subset += 1
            elif failure is Failure.CRASH and crashes + 1 < _CRASHES:
                crashes += 1
            else:
                raise self._error(step, settings["lumi"], failure, text)

    def _attempt(
        self, step: StepOfChain, settings: Mapping[str, Any], log: Path
    ) -> tuple[report.Report | None, int, str]:
        """Run cmsRun once; returns its report, its exit code and what to say of it."""
        fjr = self.folder / f"FJR-{step.name}.xml"
        for path in (fjr, self.folder / f"{step.name}.root"):
            path.unlink(missing_ok=True)
        (self.folder / f"{step.name}_job.py").write_text(script.job(step.name, str(self.chain.folder.resolve())))
        (self.folder / f"{step.name}_job.json").write_text(json.dumps(settings))
        with log.open("wb") as file:
            status = call(self.chain, step, "run", self.folder, self.areas, file)
        result = report.read(fjr)
        code = result.code if result is not None and result.code else of_process(status)
        if code == 0 and result is None:
            return None, 1, f"cmsRun ended well, but wrote no {fjr.name}"
        kind, text = ("", last_lines(log, 1)) if result is None else (result.kind, result.text)
        return result, code, message(code, kind, text)

    def _error(self, step: StepOfChain, lumi: int, failure: Failure, text: str) -> Exception:
        subject = f"{self.chain.sample}, lumi section {lumi}, step {step.name}"
        if failure is Failure.CONFIGURATION:
            return UserError(f"{subject}: {failure.value}: {text}")
        if failure is Failure.CRASH:
            return UserError(f"{subject}: crashed twice with the same random numbers, so this section is lost: {text}")
        return DataError(f"{subject}: {'' if failure is Failure.OTHER else f'{failure.value}: '}{text}")

    def _checked(
        self, step: StepOfChain, result: report.Report, before: StepRecord | None, log: Path, subset: int | None
    ) -> StepRecord:
        """Return the record of a step, where its events are those of the step before."""
        subject = f"{self.chain.sample}, step {step.name}"
        written, path = result.written.get(step.module), self.folder / f"{step.name}.root"
        if written is None or not path.exists():
            raise DataError(f"{subject}: cmsRun ended well, but {step.module} wrote no {path.name}")
        read = _tried(report.summary(log), subject) if before is None else result.read
        if before is not None and read != before.written:
            raise DataError(f"{subject}: read {read:,} of {before.written:,} events")
        may_drop = before is None or (step.name == "nano" and self.chain.skimmed)
        if written > read or (written < read and not may_drop):
            raise DataError(f"{subject}: read {read:,} events and wrote {written:,}")
        return StepRecord(
            step.name, step.release, step.arch, step.conditions, self.chain.sha256(step.name), read, written,
            result.seconds, result.cpu, result.memory, subset,
        )  # fmt: skip

    # -- what was tried -----------------------------------------------------------------------------------------------

    def _trials(self, written: int) -> Trials:
        """Count what was generated, and what each filter let pass; all weights are taken for 1.

        Of several threads, some may accept an event more than was asked for, which is not written: it counts for the
        efficiency, but not for what the events that are written stand for.
        """
        counts = report.summary(self.folder / "gensim.log")
        rejected: dict[str, int] = {}
        for name in (gen.GENERATOR, *self.chain.filters):
            passed_of_filter = counts.get(f"generation_step/{name}")
            if passed_of_filter is not None and (
                passed_of_filter.seen > passed_of_filter.passed or name != gen.GENERATOR
            ):
                rejected[name] = passed_of_filter.seen - passed_of_filter.passed
        tried, passed = counts["generation_step"].seen, counts["generation_step"].passed
        if tried - passed != sum(rejected.values()):  # by a module of the release
            rejected["generation_step"] = tried - passed - sum(rejected.values())
        if self.chain.accepted:
            accepted = counts["simulation_step"].passed
            rejected["acceptance"], passed = passed - accepted, accepted
        if passed > written:
            rejected["more than asked for"] = passed - written
        share = written / passed if passed else 1.0
        return Trials(tried, written, rejected, tried * share, tried * share, written, written)


def _tried(counts: Mapping[str, report.Counts], place: str) -> int:
    if "generation_step" not in counts:
        raise DataError(f"{place}: cmsRun did not tell how many events it tried (no TrigReport in its output)")
    return counts["generation_step"].seen
