"""Whether two results are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def assert_same_files(mine: Path, other: Path, pattern: str = "*") -> None:
    """Compare all files whose names fit, byte for byte; of manifests everything but their time."""
    names = _names(other, pattern)
    assert names == _names(mine, pattern) and names
    for name in names:
        if name.name == "manifest.json":
            assert _without_time(mine / name) == _without_time(other / name)
        else:
            assert (mine / name).read_bytes() == (other / name).read_bytes(), name


def _names(folder: Path, pattern: str) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob(pattern) if path.is_file())


def _without_time(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) | {"created": None, "content_sha256": None}  # which covers the time, too
