"""HDF5 files that grow, and that a full disk stops with an error: HDF5 itself may crash on one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..config.schema import Compression
from ..errors import DataError

_CHUNK_BYTES = 1 << 18
_CHUNK_ROWS = 1 << 14
_SPARE_BYTES = 1 << 24


class GrowingFile:
    """A new HDF5 file; a context manager.

    Before anything large is written, the file system is asked for its free space. When HDF5 itself finds the disk full
    it can neither write nor close the file, and may bring down the process. Rows go to the disk at once, past HDF5's
    cache of chunks, which would only delay them and their errors, and chunk by chunk: appending few at a time, as many
    small files do, costs no more than appending many.

    Parameters
    ----------
    path
        The file.
    compression
        "none"; or "lz4" or "zstd", by Blosc with shuffled bytes, for which readers have to import hdf5plugin.

    Attributes
    ----------
    file
        The open file, for attributes and small datasets; call :meth:`reserve` before writing large ones.
    """

    def __init__(self, path: Path, compression: Compression = "none") -> None:
        self._folder = path.parent
        self._filter = _filter(compression)
        self.file = h5py.File(path, "w", libver="latest", rdcc_nbytes=4 * _CHUNK_BYTES if self._filter else 0)
        self._columns: dict[str, _Column] = {}

    def __enter__(self) -> GrowingFile:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def reserve(self, size: int) -> None:
        """Raise the OSError of a full disk unless there is room for ``size`` more bytes, and some to spare."""
        disk = os.statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize < size + _SPARE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.file.filename)

    def append(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Append rows to datasets, which begin with the first rows that name them.

        Raises
        ------
        DataError
            When the type of a column changes, as that of an integer column does where values are missing.
        """
        self.reserve(sum(values.nbytes for values in arrays.values()))
        for name, values in arrays.items():
            column = self._columns.get(name)
            if column is None or (column.empty and len(values)):  # an empty file may have other types
                column = self._columns[name] = _Column(self.file, name, values, self._filter)
            if len(values):
                column.append(values)

    def map(self, name: str, shape: tuple[int, ...], dtype: np.dtype, sources: Iterable[tuple[str, str, int]]) -> None:
        """Make a virtual dataset.

        Not through h5py's ``create_virtual_dataset``, with which the file would hold the time.

        Parameters
        ----------
        name, shape, dtype
            Of the dataset.
        sources
            Of its rows, in order: the file, as it is called from the folder of this one, the dataset, number of rows.
        """
        space, properties = h5py.h5s.create_simple(shape), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_obj_track_times(False)
        start = 0
        for path, dataset, rows in sources:
            if rows:
                space.select_hyperslab((start, *(0 for _ in shape[1:])), (rows, *shape[1:]))
                source = h5py.h5s.create_simple((rows, *shape[1:]))
                properties.set_virtual(space, path.encode(), dataset.encode(), source)
            start += rows
        space.select_all()
        group, _, last = name.rpartition("/")
        parent = self.file.require_group(group) if group else self.file
        h5py.h5d.create(parent.id, last.encode(), h5py.h5t.py_create(dtype, logical=True), space, properties)

    def discard(self) -> None:
        """Close a file that is to be removed, without the rows that wait, and whatever HDF5 says of it."""
        self._columns.clear()
        with suppress(OSError):
            self.close()

    def close(self) -> None:
        """Close the file; raises an OSError when what was written does not reach the disk."""
        try:
            for column in self._columns.values():
                column.finish()
            self._columns.clear()
            self.file.close()
        except RuntimeError as error:  # what h5py makes of HDF5's failure to write
            raise OSError(errno.EIO, str(error)) from error


class _Column:
    """A dataset that grows by whole chunks of up to 256 kB and 16,384 rows; the rows of the next one wait in memory.

    A dataset of fewer rows has a chunk of its size: small files waste no space.
    """

    def __init__(self, file: h5py.File, name: str, values: np.ndarray, compression: Mapping[str, Any]) -> None:
        self._file, self._name, self._compression = file, name, compression
        row_bytes = max(1, values.dtype.itemsize * int(np.prod(values.shape[1:])))
        self._rows = max(16, min(_CHUNK_BYTES // row_bytes, _CHUNK_ROWS))
        self._waiting = np.empty((self._rows, *values.shape[1:]), values.dtype)
        self._filled = 0
        self._dataset: h5py.h5d.DatasetID | None = None
        self._written = 0

    @property
    def empty(self) -> bool:
        """Whether there are no rows yet."""
        return self._dataset is None and not self._filled

    def append(self, values: np.ndarray) -> None:
        if not np.can_cast(values.dtype, self._waiting.dtype, "same_kind"):
            raise DataError(
                f"/{self._name}: {values.dtype} after {self._waiting.dtype}: integers with missing values cannot be "
                "stored, keep them as a float (define: {x: '1.0 * n'})"
            )
        start = self._wait(values) if self._filled else 0
        whole = start + (len(values) - start) // self._rows * self._rows
        if whole > start:
            self._write(values[start:whole])
        self._wait(values[whole:])

    def _wait(self, values: np.ndarray) -> int:
        """Keep the first rows until their chunk is full, and write it then; returns how many there was room for."""
        count = min(len(values), self._rows - self._filled)
        self._waiting[self._filled : self._filled + count] = values[:count]
        self._filled += count
        if self._filled == self._rows:
            self._filled = 0
            self._write(self._waiting)
        return count

    def finish(self) -> None:
        """Write the rows that wait."""
        if self._filled or self._dataset is None:
            self._write(self._waiting[: self._filled])

    def _write(self, values: np.ndarray) -> None:
        if self._dataset is None:
            shape = self._waiting.shape[1:]
            chunk = max(16, min(self._rows, len(values))), *shape
            self._dataset = self._file.create_dataset(
                self._name, (0, *shape), self._waiting.dtype, maxshape=(None, *shape), chunks=chunk, **self._compression
            ).id
        start, self._written = self._written, self._written + len(values)
        if not len(values):
            return
        self._dataset.set_extent((self._written, *values.shape[1:]))
        values = np.ascontiguousarray(values, self._waiting.dtype)
        if self._compression or len(values) % self._rows:
            space = self._dataset.get_space()
            space.select_hyperslab((start, *(0 for _ in values.shape[1:])), values.shape)
            self._dataset.write(h5py.h5s.create_simple(values.shape), space, values)
            return
        for first in range(0, len(values), self._rows):  # whole chunks as they are: HDF5 has nothing to do to them
            offset = start + first, *(0 for _ in values.shape[1:])
            self._dataset.write_direct_chunk(offset, values[first : first + self._rows])


def _filter(compression: Compression) -> Mapping[str, Any]:
    """Return what h5py takes to compress the chunks of a dataset."""
    if compression == "none":
        return {}
    import hdf5plugin

    return hdf5plugin.Blosc(cname=compression, clevel=1, shuffle=hdf5plugin.Blosc.SHUFFLE)


def open_rows(path: Path) -> h5py.File:
    """Open an HDF5 file to read rows once: the cache of chunks, up to 1 MB for every dataset, would only cost memory.

    Compressed files need hdf5plugin to be imported before.
    """
    return h5py.File(path, "r", rdcc_nbytes=0)


def datasets(group: h5py.Group) -> dict[str, h5py.Dataset]:
    """Return all datasets in a group by their paths in it."""
    result: dict[str, h5py.Dataset] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            result[name] = item

    group.visititems(visit)
    return result
