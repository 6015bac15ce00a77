"""How the stages run as batch jobs: site, software, resources, and how the work is divided."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .base import Strict, of_form
from .crab import Crab
from .dask import Dask
from .environments import JobEnvironment

FLAVOURS = {
    "espresso": 1200,
    "microcentury": 3600,
    "longlunch": 7200,
    "workday": 28_800,
    "tomorrow": 86_400,
    "testmatch": 259_200,
    "nextweek": 604_800,
}
"""Job flavours of the CERN batch service, and their longest running times in seconds."""
_TIME = {"min": 60, "h": 3600, "d": 86_400}
_SIZE = {"MB": 1, "GB": 1000}
_NOT_IN_PATHS = re.compile(r"[\s,;\"'$]")


_AboveZero = Annotated[int, Field(gt=0)]


def _quantity(units: dict[str, int]) -> BeforeValidator:
    """Accept ``8 h`` or ``2 GB``, and plain numbers of the smallest thing that is counted."""

    def parse(value: Any) -> Any:
        match = re.fullmatch(rf"([0-9.]+) ?({'|'.join(units)})", value) if isinstance(value, str) else None
        if match is None:
            if isinstance(value, str):
                raise ValueError(f"write a number with one of {', '.join(units)}, e.g. '4 {list(units)[-1]}'")
            return value
        return round(float(match[1]) * units[match[2]])

    form = rf"^[0-9.]+ ?({'|'.join(units)})$"
    return BeforeValidator(parse, json_schema_input_type=Union[_AboveZero, Annotated[str, Field(pattern=form)]])


def _plain(path: str) -> str:
    if _NOT_IN_PATHS.search(path):
        raise ValueError("blanks, commas, quotes and '$' have a meaning of their own in a submit file: rename it")
    return path


PlainPath = Annotated[str, Field(min_length=1), AfterValidator(_plain)]
Word = Annotated[str, of_form(r"[\w.-]+", "one word of letters, digits, '_', '.' and '-'")]
Megabytes = Annotated[int, Field(gt=0), _quantity(_SIZE)]
Seconds = Annotated[int, Field(gt=0), _quantity(_TIME)]


class GPU(Strict):
    """What a job needs of GPUs: how many, with how much memory each, of which models."""

    count: int = Field(default=1, gt=0, le=16)
    """How many."""
    memory: Optional[Megabytes] = None
    """Memory of each (``16 GB``)."""
    devices: Optional[
        Annotated[list[Annotated[str, of_form(r"[\w .-]+", "the name of a GPU, such as A100")]], Field(min_length=1)]
    ] = None
    """Models that will do: ``[A100, H100]``."""


class Division(Strict):
    """How many units a job gets: input files, or ``events`` in whole files (for generate: in blocks of 250)."""

    files: Optional[int] = Field(default=None, gt=0)
    """So many input files for each job."""
    events: Optional[int] = Field(default=None, gt=0)
    """So many events for each job, in whole files; for generate in blocks of 250."""

    @model_validator(mode="after")
    def _one(self) -> Division:
        if (self.files is None) == (self.events is None):
            raise ValueError("give exactly one of 'files' and 'events'")
        return self


def _number_as(key: str, written: Any) -> BeforeValidator:
    """Accept ``gpu: 1`` for ``gpu: {count: 1}``, and the like."""
    return BeforeValidator(lambda v: {key: v} if isinstance(v, int) else v, json_schema_input_type=written)


class Needs(Strict):
    """What the jobs of a stage ask for; what is not said here has a default for each stage.

    ``runtime`` ("8 h") stands in the place of ``flavour``. ``checkpoint`` is the time between two checkpoints of a
    training that go back to the submitting machine.
    """

    flavour: Optional[
        Literal["espresso", "microcentury", "longlunch", "workday", "tomorrow", "testmatch", "nextweek"]
    ] = None
    """The job flavour of the CERN batch service, from 20 minutes to a week."""
    runtime: Optional[Seconds] = None
    """The longest running time (``3 h``), in place of a flavour."""
    cores: Optional[int] = Field(default=None, gt=0, le=64)
    """Cores of each job."""
    memory: Optional[Megabytes] = None
    """Memory of each job (``2 GB``)."""
    disk: Optional[Megabytes] = None
    """Scratch disk of each job (``10 GB``)."""
    gpu: Optional[Annotated[GPU, _number_as("count", Union[int, GPU])]] = None
    """GPUs of each job: how many, or which. Only for train and tune, unless a stage says it itself."""
    retries: Optional[int] = Field(default=None, ge=0, le=20)
    """How often a failed job is tried again."""
    split: Optional[Annotated[Division, _number_as("files", Union[int, Division])]] = None
    """How the work is divided: input files for each job, or ``{events: 500000}``."""
    checkpoint: Optional[Seconds] = None
    """Time between two checkpoints that go back to the submitting machine (``1 h``)."""

    @model_validator(mode="after")
    def _one_time(self) -> Needs:
        if self.flavour is not None and self.runtime is not None:
            raise ValueError("give 'flavour' or 'runtime', not both")
        return self


class BatchBlock(Needs):
    """Batch jobs. What stands here holds for all stages, but for what a stage's own block says.

    ``shared`` are the folders that a job sees under the same names (by default those of the site); ``output`` is where
    the results go (a training's stay in the job directory): a folder, or an address such as
    ``root://eosuser.cern.ch//eos/user/j/jdoe/ttbar``. ``proxy``: a grid proxy goes along if files of the grid are read;
    true, false or its path say otherwise. ``workers`` share one search. ``crab`` is where jobs of the grid put their
    results, ``dask`` who runs jobs as tasks of Dask.
    """

    site: Literal["lxplus", "lpc", "generic"] = "lxplus"
    """Whose rules hold: the CERN batch service, the LPC at Fermilab, or none."""
    mode: Literal["afs", "spool", "eossubmit"] = "afs"
    """How HTCondor gets and returns files: by a shared file system, by its spool, or by EOS."""
    environment: JobEnvironment = Field(default="local", validate_default=True)
    """Where the Python of the jobs comes from; ``local``: the one that submits."""
    output: Optional[PlainPath] = None
    """Where results go: a folder, or an address such as ``root://eosuser.cern.ch//eos/user/j/jdoe/ttbar``."""
    shared: Optional[list[PlainPath]] = None
    """Folders that jobs see under the same names; by default those of the site."""
    accounting_group: Optional[Word] = None
    """Whose share of the batch system it is."""
    proxy: Union[bool, PlainPath, None] = None
    """Whether a grid proxy goes along, or its file; by default where files of the grid are read."""
    workers: int = Field(default=4, gt=0, le=1000)
    """Jobs that share one search."""
    crab: Optional[Crab] = None
    """What jobs on the grid need."""
    dask: Dask = Dask()
    """Who runs jobs as tasks of Dask."""
    generate: Needs = Needs()
    """What jobs of generate need, where it differs."""
    produce: Needs = Needs()
    """What jobs of produce need, where it differs."""
    skim: Needs = Needs()
    """What jobs of skim need, where it differs."""
    convert: Needs = Needs()
    """What jobs of convert need, where it differs."""
    train: Needs = Needs()
    """What jobs of train need, where it differs."""
    tune: Needs = Needs()
    """What jobs of tune need, where it differs."""
    evaluate: Needs = Needs()
    """What jobs of evaluate need, where it differs."""
    predict: Needs = Needs()
    """What jobs of predict need, where it differs."""

    @model_validator(mode="after")
    def _eos(self) -> BatchBlock:
        if self.mode == "eossubmit" and self.site != "lxplus":
            raise ValueError("'mode: eossubmit' is a service of CERN: set site to lxplus, or mode to afs or spool")
        return self

    def needs(self, stage: str) -> Needs:
        """Return what the jobs of a stage ask for: its own block, then the common one."""
        of_stage = _said(getattr(self, stage))
        common = _said(self)
        if stage not in ("train", "tune"):
            common.pop("gpu", None)
        if {"flavour", "runtime"} & set(of_stage):
            common = {name: value for name, value in common.items() if name not in ("flavour", "runtime")}
        return Needs.model_construct(**{**common, **of_stage})


def _said(needs: Needs) -> dict[str, Any]:
    values = {name: getattr(needs, name) for name in Needs.model_fields}
    return {name: value for name, value in values.items() if value is not None}
