"""HDF5 as SALT reads it, https://ftag-salt.docs.cern.ch: structured arrays, and dictionaries beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import yaml

from ...errors import UserError
from ...provenance import Manifest
from ..event_block import Arrays, EventBlock
from ..format import Normalisation
from ..info import DatasetInfo
from ..shards import ShardRecord, WrittenShard
from .hdf5 import Hdf5Format, Sparse

if TYPE_CHECKING:
    from ..source import TrainingData


class SaltFormat(Hdf5Format):
    """One structured array for the row, with labels, and one per constituent input.

    Row features, labels, weight, identity and kept columns are the fields of the global object (N,); constituents are
    (N, L) with one field per feature and ``valid``.
    """

    def _arrays(self, block: EventBlock) -> Arrays:
        fields: Arrays = {}
        arrays: Arrays = {}
        for name, described in self._info.inputs.items():
            if described.length is None:
                fields.update(zip(described.features, block.inputs[name].T))
            else:
                features, valid = block.inputs[name]
                columns = dict(zip(described.features, np.moveaxis(features, 2, 0)))
                arrays[name] = _structured({**columns, "valid": valid})
        arrays[self._row()] = _structured({**block.columns(), **fields})
        return arrays

    def assemble(
        self, directory: Path, shards: Sequence[WrittenShard], scale: np.ndarray, normalisation: Normalisation
    ) -> tuple[dict[str, int | None], dict[str, Any]]:
        """Write the files of the splits, and SALT's dictionaries."""
        files, details = super().assemble(directory, shards, scale, normalisation)
        records = [record for shard in shards for record in shard.index.records if record.rows]
        return files | _write_salt_dictionaries(directory, self._info, normalisation, records), details

    @property
    def _sparse(self) -> Sparse:
        return {}  # SALT wants padding

    def _row(self) -> str:
        return salt_object(self._info)

    def _describe(self, file: h5py.File, normalisation: Normalisation) -> None:
        if self._info.classes:
            file[self._row()].attrs["label"] = list(self._info.classes)

    @classmethod
    def open(cls, directory: Path, manifest: Manifest, in_memory: str, workers: int | None) -> TrainingData:
        """Refuse: SALT trains on these."""
        raise UserError(
            f"{directory}: dataset.layout is 'salt', and training reads 'tensors': set dataset.layout to tensors and "
            "run 'nanoforge convert' again"
        )


def salt_object(info: DatasetInfo) -> str:
    """Name SALT's global object: the first input with features of the row, or else the row itself."""
    return next((n for n, i in info.inputs.items() if i.length is None), info.row)


def _write_salt_dictionaries(
    directory: Path,
    info: DatasetInfo,
    normalisation: Mapping[str, Mapping[str, np.ndarray]],
    records: Sequence[ShardRecord],
) -> dict[str, int | None]:
    """Write SALT's ``norm_dict.yaml`` and ``class_dict.yaml`` (class weights N / (C * N_class))."""
    row = salt_object(info)
    norm: dict[str, Any] = {}
    for name, described in info.inputs.items():
        values = zip(described.features, normalisation[name]["center"], normalisation[name]["scale"])
        fields = {f: {"mean": float(c), "std": float(s)} for f, c, s in values}
        norm.setdefault(row if described.length is None else name, {}).update(fields)
    counts = np.sum([r.population[0].sum(axis=0) for r in records], axis=0)
    classes = {row: {"label": (counts.sum() / (len(counts) * counts)).tolist()}} if info.classes else {}
    for name, content in (("norm_dict.yaml", norm), ("class_dict.yaml", classes)):
        (directory / name).write_text(yaml.safe_dump(content, sort_keys=False))
    return {"norm_dict.yaml": None, "class_dict.yaml": None}


def _structured(fields: Arrays) -> np.ndarray:
    first = next(iter(fields.values()))
    out = np.empty(first.shape, dtype=[(name, values.dtype) for name, values in fields.items()])
    for name, values in fields.items():
        out[name] = values
    return out
