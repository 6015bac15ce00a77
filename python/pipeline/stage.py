"""What a stage is: a step from some kind of data to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..config.schema import Analysis


@dataclass(frozen=True)
class Stage:
    """A step of the pipeline.

    Attributes
    ----------
    name
        Of the stage and its command.
    makes
        The kind of its result: "files" of events, a "dataset", a "run", ...
    folder
        Where ``nanoforge NAME`` puts it, and ``nanoforge run`` in its own folder.
    reads
        The kinds of results that it needs.
    may_read
        Those that it takes in place of what a run names.
    in_parts
        Whether each batch job can do a part of it.
    may_lose
        Whether the whole can do without parts that no job finished: their files are counted as lost.
    in_place
        Whether its parts stay where the jobs put them: the whole lists their files.
    on_grid
        Whether jobs of the grid can do it, which are without GPUs and the packages of a training.
    needed
        Whether an analysis needs it on the way from its samples to predictions.
    cores, flavour
        What a batch job asks for by default; the flavour is HTCondor's at CERN, and stands for a time.
    """

    name: str
    makes: str
    folder: str
    reads: tuple[str, ...] = ("files",)
    may_read: tuple[str, ...] = ()
    in_parts: bool = False
    may_lose: bool = False
    in_place: bool = False
    on_grid: bool = False
    needed: Callable[[Analysis], bool] = lambda _: False
    cores: int = 1
    flavour: str = "longlunch"

    def output(self, folder: Path) -> Path:
        """Return where its result lies in the folder of a whole pipeline."""
        return folder / self.folder
