"""Datasets as batches of tensors, as numpy, and as awkward arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from ..config.schema import Analysis
from ..dataset.batch import Batch
from ..dataset.info import DatasetInfo
from ..dataset.open import open_dataset as open_rows


class Dataset:
    """The rows that ``nanoforge convert`` made, or would make of the samples of an analysis.

    Parameters
    ----------
    source
        A finished dataset, or an analysis, whose files are then read directly.
    in_memory
        "always", "never", or "auto": keep a part in memory if it needs less than 40 % of what is available.
    workers
        Threads that read ahead; None for one per two cores, at most 4.
    scratch
        With an analysis, the folder that keeps what is found in its files: they are read once before the first batch.

    Raises
    ------
    UserError, DataError
        When it is unfinished, of another layout, damaged, or a file cannot be used.
    """

    def __init__(
        self,
        source: str | Path | Analysis,
        *,
        in_memory: str = "auto",
        workers: int | None = None,
        scratch: str | Path = ".",
    ) -> None:
        where = source if isinstance(source, Analysis) else Path(source)
        self._rows = open_rows(where, in_memory=in_memory, workers=workers)
        self._rows.prepare(Path(scratch))

    @property
    def info(self) -> DatasetInfo:
        """The inputs with their features and lengths, the classes or targets, and the number of folds."""
        return self._rows.info

    def rows(self, part: str, *, fold: int = 0) -> int:
        """Count the rows of a part: "train", "val" or "test" of the model of a fold."""
        return self._rows.rows(part, fold)

    def batches(
        self, part: str, batch_size: int, *, fold: int = 0, shuffle: bool = False, seed: int = 0, epoch: int = 0
    ) -> Iterator[Batch]:
        """Pass once over a part in batches of tensors; only the last one may be short.

        Parameters
        ----------
        part
            "train", "val" or "test".
        batch_size
            Rows in a batch.
        fold
            Number of the model.
        shuffle
            In random order, which ``seed`` and ``epoch`` fix; otherwise as the rows are stored.
        """
        return self._rows.batches(part, fold, batch_size, shuffle=shuffle, seed=seed, epoch=epoch)

    def numpy(self, part: str, *, fold: int = 0) -> dict[str, np.ndarray]:
        """Read a part into memory whole.

        Returns
        -------
        dict
            Per input its features, (N, F) or (N, L, F) f4, and ``<input>_mask``, (N, L) bool; ``label`` (N,) i8 or
            ``targets`` (N, T) f4; ``weight`` (N,) f4.
        """
        batch = self._rows.arrays(part, fold)
        columns = {"label": batch.label, "targets": batch.targets, "weight": batch.weight}
        tensors = {**batch.inputs, **{name: tensor for name, tensor in columns.items() if tensor is not None}}
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    def awkward(self, part: str, *, fold: int = 0) -> ak.Array:
        """Read a part into memory whole, without padding.

        Returns
        -------
        awkward.Array
            N records: per input a record of its features, or a list of such records; ``label`` or a record
            ``targets``; ``weight``.
        """
        arrays = self.numpy(part, fold=fold)
        columns: dict[str, Any] = {name: arrays[name] for name in ("label", "weight") if name in arrays}
        if "targets" in arrays:
            columns["targets"] = ak.zip(dict(zip(self.info.regression, arrays["targets"].T)))
        for name, shape in self.info.inputs.items():
            values = arrays[name]
            if shape.length is None:
                columns[name] = ak.zip(dict(zip(shape.features, values.T)))
            else:
                mask = arrays[f"{name}_mask"]
                counts = mask.sum(axis=1)
                flat = values[mask]
                columns[name] = ak.zip({f: ak.unflatten(flat[:, i], counts) for i, f in enumerate(shape.features)})
        return ak.zip(columns, depth_limit=1)
