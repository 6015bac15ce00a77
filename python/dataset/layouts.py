"""The shapes that table rows take on disk: plain tensors, SALT's structured arrays, or Parquet columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .info import DatasetInfo

Arrays = dict[str, np.ndarray]


@dataclass
class Block:
    """Finished rows, sorted by split: split i has rows ``bounds[i]`` to ``bounds[i + 1]``.

    Inputs are as in :class:`.table.Table`, the rest are (N,) arrays; ``weight`` is not yet normalised.
    """

    inputs: dict[str, Any]
    weight: np.ndarray
    fold: np.ndarray
    bounds: np.ndarray
    label: np.ndarray | None = None
    targets: Arrays = field(default_factory=dict)
    identity: Arrays = field(default_factory=dict)
    keep: Arrays = field(default_factory=dict)

    def columns(self) -> Arrays:
        """Return everything but the inputs as (N,) columns."""
        found: Arrays = {} if self.label is None else {"label": self.label}
        return {**found, **self.targets, "weight": self.weight, "fold": self.fold, **self.identity, **self.keep}


def tensors(block: Block) -> Arrays:
    """Lay rows out as plain tensors, see :mod:`.info`."""
    arrays: Arrays = {}
    for name, values in block.inputs.items():
        features, valid = values if isinstance(values, tuple) else (values, None)
        arrays[f"{name}/features"] = features
        if valid is not None:
            arrays[f"{name}/valid"] = valid
    if block.label is not None:
        arrays["target/label"] = block.label
    arrays.update({f"target/{n}": v for n, v in block.targets.items()})
    arrays.update({"weight": block.weight, "fold": block.fold})
    arrays.update({f"id/{n}": v for n, v in block.identity.items()})
    arrays.update({f"keep/{n}": v for n, v in block.keep.items()})
    return arrays


def salt_object(info: DatasetInfo) -> str:
    """Name SALT's global object: the first input with features of the row, or else the row itself."""
    return next((n for n, i in info.inputs.items() if i.length is None), info.row)


def salt(info: DatasetInfo) -> Callable[[Block], Arrays]:
    """Lay rows out as SALT reads them: one structured array for the row, with labels, one per constituent input.

    Row features, labels, weight, identity and kept columns are the fields of the global object (N,); constituents are
    (N, L) with one field per feature and ``valid``. See the SALT documentation, https://ftag-salt.docs.cern.ch.
    """
    row = salt_object(info)

    def lay_out(block: Block) -> Arrays:
        fields: Arrays = {}
        arrays: Arrays = {}
        for name, described in info.inputs.items():
            if described.length is None:
                fields.update(zip(described.features, block.inputs[name].T))
            else:
                features, valid = block.inputs[name]
                own = dict(zip(described.features, np.moveaxis(features, 2, 0)))
                arrays[name] = _structured({**own, "valid": valid})
        arrays[row] = _structured({**block.columns(), **fields})
        return arrays

    return lay_out


def parquet(info: DatasetInfo) -> Callable[[Block], Any]:
    """Lay rows out as an Arrow table: ``<input>_<feature>`` columns, constituents as lists without padding."""
    import pyarrow as pa

    def lay_out(block: Block) -> pa.Table:
        columns: dict[str, Any] = {n: pa.array(v) for n, v in block.columns().items()}
        for name, described in info.inputs.items():
            if described.length is None:
                values = block.inputs[name]
                columns.update({f"{name}_{f}": pa.array(v.copy()) for f, v in zip(described.features, values.T)})
                continue
            features, valid = block.inputs[name]
            offsets = np.zeros(len(valid) + 1, dtype=np.int32)
            np.cumsum(valid.sum(axis=1), out=offsets[1:])
            flat = features[valid]
            for feature, values in zip(described.features, flat.T):
                columns[f"{name}_{feature}"] = pa.ListArray.from_arrays(offsets, pa.array(values.copy()))
        return pa.table(columns)

    return lay_out


def _structured(fields: Arrays) -> np.ndarray:
    first = next(iter(fields.values()))
    out = np.empty(first.shape, dtype=[(name, values.dtype) for name, values in fields.items()])
    for name, values in fields.items():
        out[name] = values
    return out
