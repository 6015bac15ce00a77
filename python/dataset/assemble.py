"""Join shards into a dataset: one virtual file per split, normalised weights, normalisation of the inputs."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from ..config.schema import Analysis
from ..version import __version__
from . import statistics
from .hdf5 import GrowingFile, datasets, open_rows
from .info import SPLITS, DatasetInfo
from .layouts import salt_object
from .shards import ShardIndex, ShardRecord, compare_types, shard_path

SHARDS = "shards"
NORMALISATION = "normalisation"


@dataclass(frozen=True)
class Shard:
    """A shard with rows in the dataset: its path without suffix, and what is in it."""

    stem: Path
    index: ShardIndex

    @property
    def name(self) -> str:
        """The HDF5 file, as it is called from the dataset's folder."""
        return f"{SHARDS}/{shard_path(self.stem).name}"

    def first(self, split: str) -> str:
        """Return its first input file, of those with rows in a split where there are any."""
        records = self.index.records
        return next((r for r in records if r.rows.get(split)), records[0]).source.path


def assemble(
    directory: Path, analysis: Analysis, info: DatasetInfo, shards: Sequence[Shard], factors: Sequence[float]
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
        "samples": {name: _rows(r for r in records if r.source.sample == name) for name in analysis.samples},
    }
    if analysis.dataset.format == "parquet":
        files = _assemble_parquet(directory, shards, scale, normalisation)
    else:
        details["shards"] = {shard.name: _rows(shard.index.records) for shard in shards}
        files = _assemble_hdf5(directory, analysis, info, shards, scale, normalisation)
    remove_scraps(directory, files)
    return files, details


def _rows(records: Iterable[ShardRecord]) -> dict[str, int]:
    counts = dict.fromkeys(SPLITS, 0)
    for record in records:
        for split, rows in record.rows.items():
            counts[split] += rows
    return counts


def remove_scraps(directory: Path, files: Collection[str]) -> None:
    """Remove what belongs to the work on the shards, or to an earlier, other division into shards."""
    for path in directory.glob(f"{SHARDS}/*"):
        if f"{SHARDS}/{path.name}" not in files:
            path.unlink()


def _assemble_hdf5(
    directory: Path,
    analysis: Analysis,
    info: DatasetInfo,
    shards: Sequence[Shard],
    scale: np.ndarray,
    normalisation: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, int | None]:
    """Write a file of virtual datasets for every split, with normalised weights."""
    files: dict[str, int | None] = {shard.name: sum(map(shard.index.rows, SPLITS)) for shard in shards}
    structured = analysis.dataset.layout == "salt"
    for split in SPLITS:
        files[f"{split}.h5"] = sum(shard.index.rows(split) for shard in shards)
        with GrowingFile(directory / f"{split}.h5") as out:
            _join(out, split, shards, scale, salt_object(info) if structured else None)
            out.file.attrs["nanoforge"] = __version__
            if structured:
                _describe_salt(out.file, info)
            else:
                _describe_tensors(out.file, analysis, normalisation)
    if structured:
        records = [record for shard in shards for record in shard.index.records if record.rows]
        files |= _write_salt_dictionaries(directory, info, normalisation, records)
    return files


def _join(out: GrowingFile, split: str, shards: Sequence[Shard], scale: np.ndarray, row: str | None) -> None:
    """Map the shards' datasets into one; the one with the weights, SALT's of the ``row``, is copied and scaled."""
    used = [shard for shard in shards if shard.index.rows(split)] or shards[:1]
    described = [_described(shard, split) for shard in used]
    for shard, types in zip(used[1:], described[1:]):
        dtypes = ({name: dtype for name, (_, dtype) in columns.items()} for columns in (types, described[0]))
        compare_types(shard.first(split), next(dtypes), used[0].first(split), next(dtypes))
    rows = sum(shard.index.rows(split) for shard in used)
    for name, (shape, dtype) in described[0].items():
        if name == (row or "weight"):
            values = np.concatenate([_scaled(shard, split, scale, row) for shard in used])
            out.reserve(values.nbytes)
            out.file.create_dataset(name, data=values)
            continue
        out.map(name, (rows, *shape), dtype, [(s.name, f"{split}/{name}", s.index.rows(split)) for s in used])


def _described(shard: Shard, split: str) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return shape of a row and type of every dataset of a split."""
    with open_rows(shard_path(shard.stem)) as file:
        return {name: (item.shape[1:], item.dtype) for name, item in datasets(file[split]).items()}


def _scaled(shard: Shard, split: str, scale: np.ndarray, row: str | None) -> np.ndarray:
    """Read the weights of a shard, times the factors (S,) of their samples; those of SALT with all fields."""
    with open_rows(shard_path(shard.stem)) as file:
        group = file[split]
        values = np.asarray(group[row or "weight"][:])
        sample = values["sample"] if row else group["id/sample"][:]
    weight = values["weight"] if row else values
    weight *= scale[sample]
    return values


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
    directory: Path, shards: Sequence[Shard], scale: np.ndarray, normalisation: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, int | None]:
    """Move the rows of every split to a folder of its own, with normalised weights."""
    files: dict[str, int | None] = {}
    for split in SPLITS:
        (directory / split).mkdir(exist_ok=True)
        first: tuple[str, Any] | None = None
        for shard in shards:
            name = f"{split}/{shard.stem.name}.parquet"
            schema = _move_parquet(shard_path(shard.stem, split), directory / name, scale)
            if shard.index.rows(split):
                types = {field.name: field.type for field in schema}
                first = first or (shard.first(split), types)
                compare_types(shard.first(split), types, *first)
            files[name] = shard.index.rows(split)
    plain = {n: {k: v.tolist() for k, v in values.items()} for n, values in normalisation.items()}
    (directory / f"{NORMALISATION}.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    shutil.rmtree(directory / SHARDS)
    return {**files, f"{NORMALISATION}.yaml": None}


def _move_parquet(source: Path, target: Path, scale: np.ndarray) -> Any:
    """Copy rows group by group, with their weights times the factors (S,) of their samples; returns the schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as stored:
        schema = stored.schema_arrow
        column = schema.get_field_index("weight")
        with pq.ParquetWriter(target, schema, compression="zstd") as writer:
            for group in range(stored.num_row_groups):
                table = stored.read_row_group(group)
                weight = table["weight"].to_numpy() * scale[table["sample"].to_numpy()]
                writer.write_table(table.set_column(column, schema.field(column), pa.array(weight)))
    return schema
