"""Join shards into a dataset: one virtual file per split, normalised weights, normalisation of the inputs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from .. import __version__
from ..config.schema import Analysis
from ..errors import DataError
from . import statistics
from .hdf5 import GrowingFile
from .info import SPLITS, DatasetInfo
from .layouts import salt_object
from .shards import ShardRecord, parquet_part

SHARDS = "shards"
NORMALISATION = "normalisation"
_GROUP_ROWS = 16_384  # of Parquet, which is read group by group


@dataclass(frozen=True)
class Shard:
    """A shard in the dataset: its path without suffix, its record, and the factor on its weights."""

    stem: Path
    record: ShardRecord
    scale: float


def assemble(directory: Path, analysis: Analysis, info: DatasetInfo, shards: Sequence[Shard]) -> dict[str, int | None]:
    """Make the files of a finished dataset from its shards.

    Returns
    -------
    dict
        Every file of the dataset, relative to ``directory``, with its number of rows where it is a table.
    """
    normalisation = statistics.normalisation(info.inputs, [p.record.moments for p in shards])
    if analysis.dataset.format == "parquet":
        return _assemble_parquet(directory, shards, normalisation)
    files: dict[str, int | None] = {f"{SHARDS}/{p.stem.name}.h5": sum(p.record.rows.values()) for p in shards}
    structured = analysis.dataset.layout == "salt"
    for split in SPLITS:
        files[f"{split}.h5"] = sum(p.record.rows[split] for p in shards)
        with GrowingFile(directory / f"{split}.h5") as out:
            _join(out, split, shards, salt_object(info) if structured else "weight")
            out.file.attrs["nanoforge"] = __version__
            if structured:
                _describe_salt(out.file, info)
            else:
                _describe_tensors(out.file, analysis, normalisation)
    if structured:
        files |= _write_salt_dictionaries(directory, info, normalisation, [p.record for p in shards])
    return files


def _join(out: GrowingFile, split: str, shards: Sequence[Shard], concrete: str) -> None:
    """Map the shards' datasets into one; the one with the weights is copied and scaled."""
    used = [p for p in shards if p.record.rows[split]] or shards[:1]
    sources = [(p, f"{SHARDS}/{p.stem.name}.h5", p.record.rows[split]) for p in used]
    rows = sum(n for _, _, n in sources)
    described = _described(used[0], split)
    for shard in used[1:]:
        for name, (_, dtype) in _described(shard, split).items():
            if dtype != described[name][1]:  # HDF5 would convert the values in silence
                raise DataError(
                    f"{shard.record.source.path}: {name} is {dtype}, but {described[name][1]} in "
                    f"{used[0].record.source.path}: define it as a float, '1.0 * …', or mend the files"
                )
    for name, (shape, dtype) in described.items():
        if name == concrete:
            values = _scaled(split, name, sources)
            out.reserve(values.nbytes)
            out.file.create_dataset(name, data=values)
            continue
        places = [(path, f"{split}/{name}", count) for _, path, count in sources]
        out.map(name, (rows, *shape), dtype, places)


def _described(shard: Shard, split: str) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return shape of a row and type of every dataset of a split."""
    found: dict[str, tuple[tuple[int, ...], np.dtype]] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item.shape[1:], item.dtype

    with h5py.File(shard.stem.with_suffix(".h5")) as file:
        file[split].visititems(visit)
    return found


def _scaled(split: str, name: str, sources: Sequence[tuple[Shard, str, int]]) -> np.ndarray:
    pieces = []
    for shard, _, _ in sources:
        with h5py.File(shard.stem.with_suffix(".h5")) as file:
            values = file[f"{split}/{name}"][:]
        weight = values if values.dtype.names is None else values["weight"]
        weight *= np.float32(shard.scale)
        pieces.append(values)
    return np.concatenate(pieces)


def _describe_tensors(
    file: h5py.File, analysis: Analysis, normalisation: Mapping[str, Mapping[str, np.ndarray]]
) -> None:
    for name, block in analysis.inputs.items():
        features = file[f"{name}/features"]
        features.attrs["names"] = list(block.feature_expressions)
        features.attrs["expressions"] = list(block.feature_expressions.values())
        for key, values in normalisation[name].items():
            file.create_dataset(f"{NORMALISATION}/{name}/{key}", data=values)  # assigned, it would hold the time
    if "target/label" in file:
        file["target/label"].attrs["classes"] = list(analysis.classes)
    file["id/sample"].attrs["names"] = list(analysis.samples)


def _describe_salt(file: h5py.File, info: DatasetInfo) -> None:
    if info.classes:
        file[salt_object(info)].attrs["label"] = list(info.classes)


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


def _assemble_parquet(
    directory: Path, shards: Sequence[Shard], normalisation: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, int | None]:
    """Move the rows of every split to a folder of its own, with normalised weights."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files: dict[str, int | None] = {}
    for split in SPLITS:
        (directory / split).mkdir(exist_ok=True)
        for shard in shards:
            source = pq.ParquetFile(parquet_part(shard.stem, split))
            name = f"{split}/{shard.stem.name}.parquet"
            with pq.ParquetWriter(directory / name, source.schema_arrow, compression="zstd") as writer:
                for batch in source.iter_batches(_GROUP_ROWS):
                    table = pa.Table.from_batches([batch])
                    weight = table["weight"].to_numpy() * np.float32(shard.scale)
                    column = table.column_names.index("weight")
                    writer.write_table(table.set_column(column, table.schema.field("weight"), pa.array(weight)))
            files[name] = shard.record.rows[split]
    plain = {n: {k: v.tolist() for k, v in values.items()} for n, values in normalisation.items()}
    (directory / f"{NORMALISATION}.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    shutil.rmtree(directory / SHARDS)
    return {**files, f"{NORMALISATION}.yaml": None}
