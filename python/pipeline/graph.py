"""The stages and their order: what runs them here, in batch jobs or as a DAG asks this module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import UserError
from .stage import Stage

if TYPE_CHECKING:
    from ..config.schema import Analysis


def to_produce(analysis: Analysis) -> dict[str, Any]:
    """Return the samples that are nowhere yet, and that CMSSW is to produce."""
    produce = None if analysis.cmssw is None else analysis.cmssw.produce
    return {} if produce is None else {n: s for n, s in _nowhere(analysis).items() if n in (produce.samples or (n,))}


def to_generate(analysis: Analysis) -> dict[str, Any]:
    """Return the samples that are nowhere yet, have a ``generator``, and are left to the embedded one."""
    produced = to_produce(analysis)
    return {name: sample for name, sample in _nowhere(analysis).items() if name not in produced}


def _nowhere(analysis: Analysis) -> dict[str, Any]:
    return {name: s for name, s in analysis.samples.items() if s.generator is not None and s.files is None}


def _always(_: Analysis) -> bool:
    return True


GENERATE = Stage(
    "generate", "files", "generated", reads=(), in_parts=True, on_grid=True, flavour="workday",
    needed=lambda analysis: bool(to_generate(analysis)),
)  # fmt: skip
PRODUCE = Stage(
    "produce", "files", "produced", reads=(), in_parts=True, may_lose=True, in_place=True, on_grid=True,
    needed=lambda analysis: bool(to_produce(analysis)), cores=2, flavour="tomorrow",
)  # fmt: skip
SKIM = Stage(
    "skim", "files", "skimmed", in_parts=True, may_lose=True, on_grid=True,
    needed=lambda analysis: "skim" in analysis.model_fields_set,
)  # fmt: skip
CONVERT = Stage("convert", "dataset", "dataset", in_parts=True, may_lose=True, on_grid=True, needed=_always)
TRAIN = Stage("train", "run", "run", reads=("dataset",), needed=_always, cores=4, flavour="tomorrow")
TUNE = Stage("tune", "search", "search", reads=("dataset",), cores=4, flavour="tomorrow")
EVALUATE = Stage("evaluate", "evaluation", "run/evaluation", reads=("run",), may_read=("dataset",), needed=_always)
PREDICT = Stage("predict", "friends", "friends", reads=("run", "files"), in_parts=True, may_lose=True, needed=_always)

STAGES = {stage.name: stage for stage in (GENERATE, PRODUCE, SKIM, CONVERT, TRAIN, TUNE, EVALUATE, PREDICT)}
"""All that batch jobs can do, in order."""


class Runner(Protocol):
    """Does stages in some way, or plans to."""

    def run(self, stage: Stage, analysis: Analysis, results: Mapping[str, Any]) -> Any:
        """Do a stage.

        Parameters
        ----------
        stage
            The stage.
        analysis
            The analysis, of what makes samples with just these; others name the files that the stages before make.
        results
            The results that the stage reads, by kind, but for files.

        Returns
        -------
        Any
            Of a stage that makes files, their paths by sample; else its result, as later stages get it.
        """

    def sums(self) -> Path:
        """Return the file that has the sums of weights of what CMSSW produces."""


def walk(analysis: Analysis, runner: Runner) -> None:
    """Let a runner do all stages that an analysis needs, in order, each with the results of those before it."""
    from ..events.files import with_files

    check_chain(analysis)
    results: dict[str, Any] = {}
    for stage in needed(analysis):
        result = runner.run(
            stage, _given(stage, analysis), {kind: results[kind] for kind in stage.reads if kind in results}
        )
        if stage.makes == "files":
            analysis = with_files(analysis, result)
            if stage is PRODUCE:
                analysis = normalised(analysis, result, runner.sums())
        else:
            results[stage.makes] = result


def normalised(analysis: Analysis, produced: Iterable[str], sums: Path) -> Analysis:
    """Let the sums of weights of samples that CMSSW produces be those of all events that it tries, as a file has them.

    The ``Runs`` trees have them behind the filters of the generator only.
    """
    samples = dict(analysis.samples)
    for name in produced:
        if samples[name].xsec is not None and samples[name].sumw is None:
            samples[name] = samples[name].model_copy(update={"sumw": str(sums.resolve())})
    return analysis.model_copy(update={"samples": samples})


def _given(stage: Stage, analysis: Analysis) -> Analysis:
    """Return the analysis for a stage: of what makes samples, with just these."""
    if stage is GENERATE:
        return analysis.model_copy(update={"samples": to_generate(analysis)})
    if stage is PRODUCE and analysis.cmssw is not None and analysis.cmssw.produce is not None:
        produce = analysis.cmssw.produce.model_copy(update={"samples": None})
        cmssw = analysis.cmssw.model_copy(update={"produce": produce})
        return analysis.model_copy(update={"samples": to_produce(analysis), "cmssw": cmssw})
    return analysis


def needed(analysis: Analysis) -> Sequence[Stage]:
    """List the stages from the samples of an analysis to predictions, in order."""
    return [stage for stage in STAGES.values() if stage.needed(analysis)]


def check_chain(analysis: Analysis) -> None:
    """Refuse a production whose last step makes no NanoAOD, which the stages behind it read.

    Raises
    ------
    UserError
        With the step.
    """
    cmssw = analysis.cmssw
    if to_produce(analysis) and cmssw is not None and cmssw.produce is not None and cmssw.produce.chain != "nano":
        raise UserError(
            f"cmssw.produce.chain: '{cmssw.produce.chain}' makes no NanoAOD, which later stages read: set it to nano"
        )


def check_sums(analysis: Analysis) -> None:
    """Refuse to normalise to the events that a skim leaves when all that were read are meant.

    Raises
    ------
    UserError
        With the sample.
    """
    wrong = next((name for name, sample in analysis.samples.items() if sample.sumw == "events"), None)
    if wrong is not None and SKIM.needed(analysis):
        raise UserError(
            f"samples.{wrong}.sumw: 'events' would sum over what the skim keeps: give the number, or take out 'skim'"
        )


def readers(kind: str, stages: Sequence[Stage]) -> Iterator[Stage]:
    """Yield those of the stages that read results of a kind."""
    return (stage for stage in stages if kind in stage.reads)
