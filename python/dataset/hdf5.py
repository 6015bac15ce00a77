"""HDF5 files that grow, and that a full disk stops with an error: HDF5 itself may crash on one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..config.schema import Compression
from ..errors import DataError

_CHUNK_BYTES = 1 << 18
_SPARE_BYTES = 1 << 24


class GrowingFile:
    """A new HDF5 file; a context manager.

    Before anything large is written, the file system is asked for its free space. When HDF5 itself finds the disk full
    it can neither write nor close the file, and may bring down the process. Rows go to the disk at once, past HDF5's
    cache of chunks, which would only delay them and their errors; compressed ones have to wait until a chunk is full.

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
        self._datasets: dict[str, h5py.Dataset] = {}
        self._empty: dict[str, np.ndarray] = {}

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

        Chunks have the size of these rows, up to 256 kB: small files waste no space in half-filled chunks.

        Raises
        ------
        DataError
            When the type of a column changes, as that of an integer column does where values are missing.
        """
        self.reserve(sum(values.nbytes for values in arrays.values()))
        for name, values in arrays.items():
            if not len(values):
                self._empty.setdefault(name, values)
                continue
            if name not in self._datasets:
                self._datasets[name] = self._create(name, values)
            self._append(self._datasets[name], values)

    def _append(self, dataset: h5py.Dataset, values: np.ndarray) -> None:
        if not np.can_cast(values.dtype, dataset.dtype, "same_kind"):
            raise DataError(
                f"{dataset.name}: {values.dtype} after {dataset.dtype}: integers with missing values cannot be stored, "
                "keep them as a float (define: {x: '1.0 * n'})"
            )
        start = len(dataset)
        dataset.resize(start + len(values), axis=0)
        dataset.write_direct(np.ascontiguousarray(values), dest_sel=np.s_[start : start + len(values)])

    def _create(self, name: str, values: np.ndarray) -> h5py.Dataset:
        shape = values.shape[1:]
        row_bytes = max(1, values.dtype.itemsize * int(np.prod(shape)))
        rows = max(16, min(_CHUNK_BYTES // row_bytes, len(values)))
        return self.file.create_dataset(
            name, (0, *shape), values.dtype, maxshape=(None, *shape), chunks=(rows, *shape), **self._filter
        )

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

    def close(self) -> None:
        """Close the file; raises an OSError when what was written does not reach the disk."""
        try:
            for name, values in self._empty.items():
                if name not in self._datasets:
                    self._create(name, values)
            self._datasets.clear()
            self.file.close()
        except RuntimeError as error:  # what h5py makes of HDF5's failure to write
            raise OSError(errno.EIO, str(error)) from error


def _filter(compression: Compression) -> Mapping[str, Any]:
    """Return what h5py takes to compress the chunks of a dataset."""
    if compression == "none":
        return {}
    import hdf5plugin

    return hdf5plugin.Blosc(cname=compression, clevel=1, shuffle=hdf5plugin.Blosc.SHUFFLE)
