"""HDF5 files that grow, and that a full disk stops with an error: HDF5 itself may crash on one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

_CHUNK_BYTES = 1 << 18
_METADATA_BYTES = 1 << 20


class GrowingFile:
    """A new HDF5 file; a context manager.

    Space is claimed from the file system before HDF5 writes to it. When HDF5 itself finds the disk full, with chunks
    in its cache, it can neither write nor close the file, and may bring down the process.

    Attributes
    ----------
    file
        The open file, for attributes and small datasets; call :meth:`reserve` before writing large ones.
    """

    def __init__(self, path: Path) -> None:
        self.file = h5py.File(path, "w", libver="latest")
        self._descriptor = os.open(path, os.O_RDWR)
        self.reserve(0)

    def __enter__(self) -> GrowingFile:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def reserve(self, size: int) -> None:
        """Claim ``size`` more bytes and some for metadata; raises the OSError of a full disk."""
        self.file.flush()
        os.posix_fallocate(self._descriptor, 0, self.file.id.get_filesize() + size + _METADATA_BYTES)

    def append(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Append rows to datasets, which begin with the first call that names them.

        Chunks have the size of the first rows, up to 256 kB: small files waste no space in half-filled chunks.
        """
        self.reserve(sum(values.nbytes + _CHUNK_BYTES for values in arrays.values()))
        for name, values in arrays.items():
            dataset = self.file.get(name)
            if dataset is None:
                dataset = self._create(name, values)
            if len(values):
                start = len(dataset)
                dataset.resize(start + len(values), axis=0)
                dataset.write_direct(np.ascontiguousarray(values), dest_sel=np.s_[start : start + len(values)])

    def _create(self, name: str, values: np.ndarray) -> h5py.Dataset:
        shape = values.shape[1:]
        row_bytes = max(1, values.dtype.itemsize * int(np.prod(shape)))
        rows = max(16, min(_CHUNK_BYTES // row_bytes, len(values)))
        return self.file.create_dataset(name, (0, *shape), values.dtype, maxshape=(None, *shape), chunks=(rows, *shape))

    def close(self) -> None:
        """Close the file and give back what was claimed too much."""
        if not self.file:
            return
        self.file.flush()
        size = self.file.id.get_filesize()
        self.file.close()
        os.ftruncate(self._descriptor, size)
        os.close(self._descriptor)
