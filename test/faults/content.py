"""What a result says, free of times, places and random names: two results are the same where this is equal."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - HDF5 finds its codecs by it
import numpy as np
import onnx
import pyarrow.parquet as pq
import torch
import uproot
import yaml
from nanoforge.provenance import Manifest

_VOLATILE = {
    "created", "modified", "seconds", "size", "adler32", "uuid", "versions", "git_commit", "mlflow", "cost",
    "identity", "run_identity", "key", "content_sha256", "trial", "fingerprint", "beat", "host",
}  # fmt: skip
_SCRAPS = re.compile(
    r"mlruns|mlflow|mlartifacts|(^|/)artifacts/|checkpoints|\.lock|\.inputs|\.records|study\.journal|\.log$|\.pdf$"
)


def digest(place: Path) -> dict[str, str]:
    """Map the files of a result to what they say, where that is JSON, and to a hash of it elsewhere.

    Parameters
    ----------
    place
        A folder, or a file.

    Raises
    ------
    Exception
        Where a file cannot be read, or does not agree with its manifest.
    """
    if not place.exists():
        return {}
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    found = {}
    for path in files:
        name = str(path.relative_to(place))
        if _SCRAPS.search(name):
            continue
        if path.name == "manifest.json":
            Manifest.read(path.parent, json.loads(path.read_text())["stage"]).verify(path.parent)
        text = repr(_READERS.get(path.suffix, _bytes)(path))
        found[name] = text if path.suffix == ".json" else hashlib.sha256(text.encode()).hexdigest()
    return found


def difference(found: dict[str, str], expected: dict[str, str]) -> str:
    """Say in what two results differ; empty where they do not."""
    words = [f"{name} is missing" for name in expected if name not in found]
    words += [f"{name} is new" for name in found if name not in expected]
    changed = (name for name in expected if name in found and found[name] != expected[name])
    words += [f"{name} differs: {_first(found[name], expected[name])}" for name in changed]
    return ", ".join(words[:4])


def _first(text: str, expected: str) -> str:
    """Show where two texts begin to differ."""
    start = next((i for i, (a, b) in enumerate(zip(text, expected)) if a != b), min(len(text), len(expected)))
    return " not ".join(one[max(0, start - 60) : start + 40] for one in (text, expected))


def _bytes(path: Path) -> Any:
    return path.read_bytes()


def _json(path: Path) -> Any:
    content = json.loads(path.read_text())
    if path.name == "manifest.json" and content["stage"] == "evaluate":
        del content["details"]["run"]  # the identity of the training: done again, it has other times
    return _stable(content)


def _stable(content: Any) -> Any:
    if isinstance(content, dict):
        return {k: _stable(v) for k, v in sorted(content.items()) if k not in _VOLATILE}
    return [_stable(v) for v in content] if isinstance(content, list) else content


def _csv(path: Path) -> Any:
    rows = csv.DictReader(path.open())
    return [{k: v for k, v in row.items() if "second" not in (k or "")} for row in rows]


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def _hdf5(path: Path) -> Any:
    found: list[Any] = []

    def see(name: str, item: Any) -> None:
        attributes = sorted((k, repr(v)) for k, v in item.attrs.items())
        values = item[()] if isinstance(item, h5py.Dataset) else None
        found.append((name, attributes, None if values is None else _array(np.asarray(values))))

    with h5py.File(path) as file:
        see("/", file)
        file.visititems(see)
    return found


def _array(values: np.ndarray) -> Any:
    raw = repr(values.tolist()).encode() if values.dtype.hasobject else values.tobytes()
    return values.shape, values.dtype.str, hashlib.sha256(raw).hexdigest()


def _parquet(path: Path) -> Any:
    return pq.read_table(path).to_pydict()


def _root(path: Path) -> Any:
    with uproot.open(path) as file:
        names = sorted({name.partition(";")[0] for name in file.keys(recursive=True)})
        return [(name, _tree(file[name])) for name in names]


def _tree(item: Any) -> Any:
    if not hasattr(item, "num_entries"):
        return str(item) if hasattr(item, "split") else type(item).__name__
    arrays = item.arrays()
    return [(name, arrays[name].tolist()) for name in sorted(arrays.fields)]


def _model(path: Path) -> Any:
    """Read a network; trees are JSON."""
    if path.read_bytes()[:1] == b"{":
        return _json(path)
    return _flat(torch.load(path, map_location="cpu", weights_only=True))


def _flat(content: Any) -> Any:
    if isinstance(content, torch.Tensor):
        return _array(content.detach().numpy())
    if isinstance(content, dict):
        return [(str(k), _flat(v)) for k, v in content.items() if k not in _VOLATILE]
    return [_flat(v) for v in content] if isinstance(content, (list, tuple)) else repr(content)


def _onnx(path: Path) -> Any:
    model = onnx.load(path)
    onnx.checker.check_model(model)
    return model.graph.SerializeToString(deterministic=True)


def _sqlite(path: Path) -> Any:
    with sqlite3.connect(path) as connection:
        return connection.execute("pragma integrity_check").fetchall()


def _page(path: Path) -> Any:
    text = path.read_text()
    return text.count("<img"), text.rstrip().endswith("</html>")


def _png(path: Path) -> Any:
    return path.read_bytes()[:8], path.read_bytes()[-8:]


_READERS: dict[str, Callable[[Path], Any]] = {
    ".json": _json, ".csv": _csv, ".yaml": _yaml, ".h5": _hdf5, ".parquet": _parquet, ".root": _root, ".pt": _model,
    ".onnx": _onnx, ".db": _sqlite, ".html": _page, ".png": _png,
}  # fmt: skip


def kinds(files: Iterable[Path]) -> dict[str, list[Path]]:
    """Group files by what they are, so that each kind is as likely to be hit as any other."""
    groups: dict[str, list[Path]] = {}
    for path in files:
        name = "of MLflow" if "artifacts" in path.parts else path.suffix or path.name
        groups.setdefault(name, []).append(path)
    return groups
