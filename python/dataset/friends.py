"""Scores on disk: ROOT friend trees, Parquet, CSV or HDF5, one per scored file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .hdf5 import GrowingFile

Columns = dict[str, np.ndarray]


@dataclass
class Entries:
    """Consecutive entries of a scored file.

    Attributes
    ----------
    start, size
        The first entry and how many.
    identity
        The columns (size,) that identify events, where the file has them.
    scores, kept
        Per table row, rejected rows included.
    offsets
        None where a row is an event; else (size + 1,) bounds of every event's rows.
    """

    start: int
    size: int
    identity: Columns
    scores: Columns
    kept: Columns
    offsets: np.ndarray | None

    def events(self) -> np.ndarray:
        """Return the position of every row's event."""
        return np.arange(self.size) if self.offsets is None else np.repeat(np.arange(self.size), np.diff(self.offsets))

    def rows(self) -> Columns:
        """Return one value per table row, with the entry and, for objects, the place in the event's list."""
        events = self.events()
        columns = {"entry": self.start + events, **{n: v[events] for n, v in self.identity.items()}}
        if self.offsets is not None:
            columns["object"] = np.arange(len(events)) - self.offsets[events]
        return {**columns, **self.kept, **self.scores}

    def lists(self, values: np.ndarray) -> Any:
        """Return per-row values as one list per event."""
        import awkward as ak

        offsets = ak.index.Index64(np.asarray(self.offsets))
        return ak.Array(ak.contents.ListOffsetArray(offsets, ak.contents.NumpyArray(np.ascontiguousarray(values))))


class FriendWriter:
    """Writes the entries of one scored file, chunk by chunk; a context manager.

    Parameters
    ----------
    path
        The file to write.
    tree
        Name of the tree, the same as that of the scored one.
    row
        Name of the collection whose objects are scored; None for events.
    """

    suffix = ""

    def __init__(self, path: Path, tree: str, row: str | None) -> None:
        self._path = path
        self._tree = tree
        self._row = row

    def __enter__(self) -> FriendWriter:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def write(self, entries: Entries) -> None:
        """Append entries; the first call, which may bring none, settles the columns."""
        raise NotImplementedError

    def close(self) -> None:
        """Finish the file."""


class RootFriend(FriendWriter):
    """A friend tree: scores of events as plain branches, of objects as ``Jet_<name>`` with the counter ``nJet``."""

    suffix = ".root"

    def __init__(self, path: Path, tree: str, row: str | None) -> None:
        from ..events.writer import new_file

        super().__init__(path, tree, row)
        self._file = new_file(path, "zstd 3")
        self._writer: Any = None

    def write(self, entries: Entries) -> None:
        """Append entries as one basket per branch."""
        import awkward as ak

        values = {**entries.kept, **entries.scores}
        columns: dict[str, Any] = dict(entries.identity)
        if self._row is None:
            columns.update(values)
        else:
            prefix = f"{self._row}_"
            columns[self._row] = ak.zip({n.removeprefix(prefix): entries.lists(v) for n, v in values.items()})
        if self._writer is None:
            types = {n: v.dtype if isinstance(v, np.ndarray) else v.type.content for n, v in columns.items()}
            self._writer = self._file.mktree(
                self._tree,
                types,
                counter_name=lambda name: f"n{name}",
                field_name=lambda outer, inner: f"{outer}_{inner}" if outer else inner,
            )
        if entries.size:
            self._writer.extend(columns)

    def close(self) -> None:
        """Close the ROOT file."""
        self._file.close()


class ParquetFriend(FriendWriter):
    """One row per event; scores of objects are lists."""

    suffix = ".parquet"
    _writer: Any = None

    def write(self, entries: Entries) -> None:
        """Append a row group."""
        import pyarrow.parquet as pq

        table = entries_table(entries, self._row)
        self._writer = self._writer or pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)

    def close(self) -> None:
        """Write the footer."""
        if self._writer is not None:
            self._writer.close()


def entries_table(entries: Entries, row: str | None) -> Any:
    """Return entries as a ``pyarrow.Table``: one row per event, scores of objects are lists ``<row>_<name>``."""
    import pyarrow as pa

    columns: dict[str, Any] = {n: pa.array(v) for n, v in entries.identity.items()}
    for name, values in {**entries.kept, **entries.scores}.items():
        flat = pa.array(np.ascontiguousarray(values))
        if entries.offsets is None:
            columns[name] = flat
        else:
            columns[f"{row}_{name.removeprefix(f'{row}_')}"] = pa.LargeListArray.from_arrays(entries.offsets, flat)
    return pa.table(columns)


class CsvFriend(FriendWriter):
    """One line per table row."""

    suffix = ".csv"
    _writer: Any = None

    def write(self, entries: Entries) -> None:
        """Append lines."""
        import pyarrow as pa
        import pyarrow.csv as csv

        table = pa.table({n: np.ascontiguousarray(v) for n, v in entries.rows().items()})
        self._writer = self._writer or csv.CSVWriter(self._path, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()


class Hdf5Friend(FriendWriter):
    """One (N,) dataset per column, N table rows."""

    suffix = ".h5"

    def __init__(self, path: Path, tree: str, row: str | None) -> None:
        super().__init__(path, tree, row)
        self._file = GrowingFile(path)

    def write(self, entries: Entries) -> None:
        """Grow the datasets."""
        self._file.append(entries.rows())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


FORMATS: dict[str, type[FriendWriter]] = {
    "root": RootFriend,
    "parquet": ParquetFriend,
    "csv": CsvFriend,
    "hdf5": Hdf5Friend,
}
