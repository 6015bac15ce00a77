"""Join shards into a dataset: normalised weights, normalisation of the inputs, and what the format makes of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..config.schema import Analysis
from . import statistics
from .format import DatasetFormat
from .info import SPLITS, DatasetInfo
from .shards import SHARDS, WrittenShard, rows_of


def assemble(
    directory: Path,
    analysis: Analysis,
    info: DatasetInfo,
    shards: Sequence[WrittenShard],
    factors: Sequence[float],
    layout: DatasetFormat,
) -> tuple[dict[str, int | None], dict[str, Any]]:
    """Make the files of a finished dataset from its shards.

    Returns
    -------
    tuple
        Every file of the dataset, relative to ``directory``, with its number of rows where it is a table; and for the
        manifest's details the rows of the splits, of the samples and of the HDF5 shards in them, in order.
    """
    records = [record for shard in shards for record in shard.index.records if record.rows]
    normalisation = statistics.normalisation(info.inputs, [record.moments for record in records])
    scale = np.array(factors, np.float32)
    details: dict[str, Any] = {
        "rows": {split: sum(shard.index.rows(split) for shard in shards) for split in SPLITS},
        "samples": {name: rows_of(r for r in records if r.source.sample == name) for name in analysis.samples},
    }
    files, more = layout.assemble(directory, shards, scale, normalisation)
    details |= more
    remove_scraps(directory, files)
    return files, details


def remove_scraps(directory: Path, files: Collection[str]) -> None:
    """Remove what belongs to the work on the shards, or to an earlier, other division into shards."""
    for path in directory.glob(f"{SHARDS}/*"):
        if f"{SHARDS}/{path.name}" not in files:
            path.unlink()
