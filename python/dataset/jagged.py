"""Reading a Parquet dataset for training: jagged columns, padded row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from ..errors import DataError
from ..events.damage import reason
from ..provenance import Manifest
from . import kernels
from .batch import Batch
from .info import NORMALISATION, SPLITS, DatasetInfo
from .resources import Handles
from .slabs import Read, Slab
from .source import OPEN_FILES, StoredData, check_truth
from .statistics import Truth


class ParquetData(StoredData):
    """A finished Parquet dataset; its slabs are row groups."""

    def __init__(self, directory: Path, manifest: Manifest, in_memory: str, workers: int | None) -> None:
        super().__init__(directory, manifest, in_memory, workers)
        tables = [Path(o.path) for o in manifest.outputs if o.path.endswith(".parquet")]
        self._rows = {directory / o.path: o.entries for o in manifest.outputs}
        self._files = [directory / path for path in sorted(tables, key=lambda p: (SPLITS.index(p.parts[0]), p.name))]
        self._statistics = yaml.safe_load((directory / f"{NORMALISATION}.yaml").read_text())

    def normalisation(self, fold: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return (center, scale) per input, each (F,) f4, from the rows that model ``fold`` trains on."""
        result = {}
        for name in self.info.inputs:
            statistics = {key: np.array(values, np.float32) for key, values in self._statistics[name].items()}
            single = self.info.folds == 1
            result[name] = (
                (statistics["center"], statistics["scale"])
                if single
                else (statistics["fold_center"][fold], statistics["fold_scale"][fold])
            )
        return result

    def _slabs(self) -> list[Slab]:
        slabs = []
        for number, path in enumerate(self._files):
            table = self._open(number)
            for group in range(table.num_row_groups):
                counts = np.zeros((len(SPLITS), self.info.folds), np.int64)
                rows = table.read_row_group(group, columns=["fold", "sample"])
                fold, sample = rows["fold"].to_numpy(), int(rows["sample"][0].as_py())
                counts[SPLITS.index(path.parent.name)] = np.bincount(fold, minlength=self.info.folds)
                slabs.append(Slab(sample, number, counts, group))
            table.close()
        return slabs

    def _truth(self) -> Truth:
        info = self.info
        truth = Truth.zero(info.folds, len(info.classes), len(info.regression))
        columns = [*(["label"] if info.classes else []), *info.regression, "weight", "fold"]
        for number, path in enumerate(self._files):
            if path.parent.name == SPLITS[0]:
                for batch in self._open(number).iter_batches(columns=columns):
                    label, targets, weight = _truth(batch, info)
                    check_truth(self.name, info, label, targets)
                    truth.book(label, targets, weight, _flat(batch["fold"]))
        return truth

    @contextmanager
    def _reading(self) -> Iterator[Read]:
        tables: Handles[Any] = Handles(self._open, lambda table: table.close(), OPEN_FILES)

        def read(slab: Slab, chosen: np.ndarray) -> Batch:
            with tables.use(slab.file) as table:
                rows = table.read_row_group(slab.location, use_threads=False)
            folds = chosen[SPLITS.index(self._files[slab.file].parent.name)]
            return self._batch(rows if folds.all() else rows.filter(folds[rows["fold"].to_numpy()]))

        try:
            yield read
        finally:
            tables.close()

    def _open(self, number: int) -> Any:
        import pyarrow.parquet as pq

        path = self._files[number]
        try:
            table = pq.ParquetFile(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read ({reason(error)})") from None
        if table.metadata.num_rows != self._rows[path]:
            raise DataError(f"{path}: does not have the {self._rows[path]} rows that were written")
        return table

    def _batch(self, rows: Any) -> Batch:
        inputs: dict[str, Tensor] = {}
        for name, shape in self.info.inputs.items():
            columns = [rows[f"{name}_{feature}"] for feature in shape.features]
            if shape.length is None:
                inputs[name] = torch.from_numpy(np.stack([_flat(column) for column in columns], axis=1))
            else:
                features, valid = _padded(columns, shape.length)
                inputs |= {name: torch.from_numpy(features), f"{name}_mask": torch.from_numpy(valid)}
        label, targets, weight = (None if v is None else torch.from_numpy(v) for v in _truth(rows, self.info))
        assert weight is not None  # noqa: S101 - every row has one
        columns = [_flat(rows[name]).astype(np.float32) for name in self._loaded_columns]
        kept = torch.from_numpy(np.stack(columns, axis=1)) if columns else None
        return Batch(inputs, label, targets, weight, kept)


def _truth(rows: Any, info: DatasetInfo) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray]:
    """Take labels (N,), targets (N, T) and weights (N,) from a table."""
    label = _flat(rows["label"]) if info.classes else None
    columns = [_flat(rows[name]) for name in info.regression]
    return label, np.stack(columns, axis=1) if columns else None, _flat(rows["weight"])


def _padded(columns: Sequence[Any], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Pad the lists of F columns, all of the same lengths: features (N, L, F) f4 and validity (N, L)."""
    lists = [column.combine_chunks() for column in columns]
    offsets = np.asarray(lists[0].offsets, dtype=np.int64)
    values = np.stack([np.asarray(array.flatten()) for array in lists])
    out = np.empty((len(offsets) - 1, length, len(columns)), np.float32)
    valid = np.empty(out.shape[:2], dtype=bool)
    kernels.pad(values, offsets[:-1] - offsets[0], offsets[1:] - offsets[0], out, valid)
    return out, valid


def _flat(column: Any) -> np.ndarray:
    """Return a column of numbers as an array that may be written to, as torch wants it."""
    return np.require(column.to_numpy(), requirements="W")
