"""Open rows for training, whatever they come from."""

from __future__ import annotations

from pathlib import Path

from ..config.schema import Analysis
from ..errors import UserError
from ..provenance import Manifest
from .formats import kind_of
from .source import TrainingData


def open_dataset(
    source: Path | Analysis, *, in_memory: str = "auto", workers: int | None = None, skip_bad_files: bool = False
) -> TrainingData:
    """Open the rows of a dataset, or of the samples of an analysis.

    Parameters
    ----------
    source
        The output of ``nanoforge convert``, or an analysis, whose files are then read directly.
    in_memory, workers
        See :class:`.source.TrainingData`.
    skip_bad_files
        Of an analysis: count unusable files as lost, instead of stopping at the first.

    Raises
    ------
    UserError
        When a dataset is unfinished, or laid out for another program, or an analysis has nothing to teach.
    DataError
        When a file is missing, changed or broken.
    """
    if isinstance(source, Analysis):
        from .streaming import StreamedData

        return StreamedData(source, in_memory, workers, skip_bad_files)
    manifest = Manifest.read(source, "convert")
    kind = kind_of(manifest.config["dataset"])
    if "samples" not in manifest.details:
        raise UserError(f"{source}: made by an earlier version of NanoForge: run 'nanoforge convert' again (--force)")
    manifest.verify(source)
    return kind.open(source, manifest, in_memory, workers)
