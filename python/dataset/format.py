"""The base of the formats of datasets; each is a file in ``dataset/formats``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config.schema import Analysis
from ..provenance import Manifest, make_room
from .event_block import EventBlock
from .info import DatasetInfo
from .shards import ShardWriter, SplitRows, WrittenShard, temporary_path

if TYPE_CHECKING:
    from .source import TrainingData

Normalisation = Mapping[str, Mapping[str, np.ndarray]]


class StoredRows(ABC):
    """The rows of a shard, to be copied."""

    @abstractmethod
    def read(self, split: str, start: int, stop: int) -> Any:
        """Read rows of a split, as a writer of the format takes them."""

    @abstractmethod
    def close(self) -> None:
        """Close the files."""


class DatasetFormat(ABC):
    """How a dataset lies on disk: what writes, joins and reads it.

    Parameters
    ----------
    analysis
        The analysis file.
    info
        Of its dataset.
    """

    def __init__(self, analysis: Analysis, info: DatasetInfo) -> None:
        self._analysis = analysis
        self._info = info

    @property
    def layout(self) -> str:
        """Tell rows that lie otherwise than earlier versions laid them, whose shards are then made again."""
        return ""

    def start(self, stem: Path) -> ShardWriter:
        """Start a shard, in place of whatever is there."""
        for path in self.files(stem):
            make_room(path, temporary_path(path))
        return self._writer(stem)

    @abstractmethod
    def lay_out(self, block: EventBlock) -> SplitRows:
        """Give the rows of every split the shape that they have on disk."""

    @abstractmethod
    def files(self, stem: Path) -> list[Path]:
        """List the files of a shard, whose names begin with ``stem``."""

    @abstractmethod
    def _writer(self, stem: Path) -> ShardWriter: ...

    @abstractmethod
    def stored(self, stem: Path) -> StoredRows:
        """Open a shard to copy its rows into another one, which has to become what it would have been at once."""

    @abstractmethod
    def assemble(
        self, directory: Path, shards: Sequence[WrittenShard], scale: np.ndarray, normalisation: Normalisation
    ) -> tuple[dict[str, int | None], dict[str, Any]]:
        """Make a dataset of its shards.

        Parameters
        ----------
        directory
            Of the dataset.
        shards
            Those with rows, in order.
        scale
            (S,) f4: what the weights of the rows of every sample are multiplied by.
        normalisation
            Per input ``center`` and ``scale``, and with folds ``fold_center`` and ``fold_scale``.

        Returns
        -------
        tuple
            Every file of the dataset, relative to ``directory``, with its number of rows where it is a table; and what
            reading needs to know, for the manifest's details.
        """

    @classmethod
    @abstractmethod
    def open(cls, directory: Path, manifest: Manifest, in_memory: str, workers: int | None) -> TrainingData:
        """Open a finished dataset for training; the parameters are those of :class:`.source.TrainingData`.

        Raises
        ------
        UserError
            When datasets of this format are for other programs.
        """
