"""Whether two results are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Return all arrays of an HDF5 file."""
    found: dict[str, np.ndarray] = {}

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(take)
    return found


def assert_same_content(mine: Path, other: Path) -> None:
    """Compare the HDF5 files of two datasets, array by array."""
    names = sorted(path.relative_to(other) for path in other.rglob("*.h5"))
    assert names == sorted(path.relative_to(mine) for path in mine.rglob("*.h5")) and names
    for name in names:
        expected, found = arrays(other / name), arrays(mine / name)
        assert found.keys() == expected.keys()
        for key, values in expected.items():
            np.testing.assert_array_equal(found[key], values, err_msg=f"{name}: {key}")


def assert_same_dataset(mine: Path, other: Path) -> None:
    """Compare two datasets byte for byte; of the virtual files, in which HDF5 notes the time, the content."""
    names = sorted(str(path.relative_to(other)) for path in other.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(mine)) for path in mine.rglob("*") if path.is_file()) and names
    assert_same_content(mine, other)
    for name in names:
        if name == "manifest.json":
            assert _without_times(mine / name) == _without_times(other / name)
        elif Path(name).parent != Path() or not name.endswith(".h5"):
            assert (mine / name).read_bytes() == (other / name).read_bytes(), name


def _without_times(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    virtual = [o for o in content["outputs"] if "/" not in o["path"] and o["path"].endswith(".h5")]
    for output in virtual:
        del output["adler32"]
    return {**content, "created": None}
