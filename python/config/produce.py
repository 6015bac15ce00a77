"""How CMSSW produces samples, from their ``generator`` to NanoAOD: how much, in which steps, with which pile-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import BeforeValidator, Field, model_validator

from .base import FileName, Positive, Strict, of_form

ChainStep = Literal["gensim", "digi", "hlt", "reco", "mini", "nano"]
STEPS: tuple[ChainStep, ...] = ("gensim", "digi", "hlt", "reco", "mini", "nano")
"""The steps of a chain, in order; eras whose trigger runs with the digitisation have no step ``hlt``."""
_Lumi = Annotated[int, Field(gt=0, lt=2**31)]


class PileupFiles(Strict):
    """Premixed events: those of the era, of another ``dataset`` of DAS, or of a list of ``files``; or none."""

    dataset: Optional[Annotated[str, of_form("/[^/]+/[^/]+/[^/]+", "a dataset of DAS, /primary/processed/TIER")]] = None
    """A dataset of premixed events."""
    files: Optional[str] = None
    """A list of files (``.txt``), one a line."""
    mix: bool = True
    """False, for tests: nothing is mixed in. ``pileup: none`` says the same."""

    @model_validator(mode="after")
    def _one(self) -> PileupFiles:
        if self.dataset is not None and self.files is not None:
            raise ValueError("give 'dataset' or 'files', not both")
        if not self.mix and (self.dataset or self.files):
            raise ValueError("'mix: false' mixes nothing in: leave the others out")
        return self


_PILEUP: dict[Any, dict[str, Any]] = {"premix": {}, "none": {"mix": False}}


def _by_word(value: Any) -> Any:
    """Accept ``pileup: none`` and ``pileup: premix``."""
    return _PILEUP.get(value, value) if isinstance(value, str) else value


class Produce(Strict):
    """The production of samples by chains of ``cmsRun``: a lumi section of ``events_per_job`` events at a time.

    ``nanoforge submit TARGET analysis.yaml --stage produce`` makes the samples that stand here in place of the embedded
    generator. The ``acceptance`` and the ``skim`` of this block apply on the way.
    """

    samples: Optional[Annotated[list[FileName], Field(min_length=1)]] = None
    """Samples to produce; by default all with a ``generator`` and without ``files``."""
    events: Optional[int] = Field(default=None, gt=0)
    """Accepted events of each sample; by default those of its generator."""
    events_per_job: int = Field(default=500, gt=0)
    """Accepted events of a lumi section."""
    tries_per_job: Optional[int] = Field(default=None, gt=0)
    """Events tried at most for these; by default 1,000 times as many where there are filters, else as many."""
    seconds_per_event: Positive = 30.0
    """How long an accepted event takes on one core, from the first step to the last; ``collect`` tells what it was."""
    chain: ChainStep = "nano"
    """The last step."""
    keep: list[ChainStep] = []
    """Steps whose files come back, beside those of the last one."""
    pileup: Annotated[
        PileupFiles,
        BeforeValidator(_by_word, json_schema_input_type=Union[Literal["premix", "none"], PileupFiles]),
    ] = PileupFiles()
    """``premix``: premixed events of the era; ``none``, for tests: no pile-up at all; or a dataset or list of files."""
    publish: bool = False
    """With CRAB: a task for each step, whose files are put into DBS (``phys03``), where the next step finds them."""
    first_lumi: Union[_Lumi, dict[FileName, _Lumi], None] = None
    """Number of the first lumi section; by default the next that ``journal`` has free."""
    journal: str = "lumis.jsonl"
    """Where it is written down which lumi sections of which sample were given to whom, so that none is made twice."""

    @model_validator(mode="after")
    def _possible(self) -> Produce:
        behind = next((step for step in self.keep if STEPS.index(step) > STEPS.index(self.chain)), None)
        if behind is not None:
            raise ValueError(f"keep: the chain ends with '{self.chain}', before '{behind}'")
        if self.tries_per_job is not None and self.tries_per_job < self.events_per_job:
            raise ValueError("tries_per_job: fewer tries than events")
        return self

    def anchored(self, anchor: Callable[[str], str]) -> Produce:
        """Return the same with the names of files changed by ``anchor``."""
        changed: dict[str, Any] = {"journal": anchor(self.journal)}
        if self.pileup.files is not None:
            changed["pileup"] = self.pileup.model_copy(update={"files": anchor(self.pileup.files)})
        return self.model_copy(update=changed)
