"""Where the files are that a configuration names, once the folder of a project has moved."""

from __future__ import annotations

import copy
import glob
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Rename = Callable[[str], str]


def moved(path: str, before: Path, now: Path) -> str:
    """Return where a file is that was named when a folder was ``before``, which is ``now``.

    A file, or a pattern that fits one, is taken where it was if it is still there; else at the same place relative to
    the folder, if it is there; otherwise the path stays as it was.
    """
    if "://" in path or _is_there(path):
        return path
    beside = os.path.normpath(now.absolute() / os.path.relpath(path, before))
    return beside if _is_there(beside) else path


def relocated(config: Mapping[str, Any], before: Path, now: Path) -> dict[str, Any]:
    """Return a resolved configuration with the files that it names where they are now, see :func:`moved`."""
    return with_paths(config, lambda path: moved(path, before, now))


def without_folders(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved configuration with the bare names of its files: the same wherever a project is."""
    return with_paths(config, lambda path: path if "://" in path else Path(path).name)


def paths_of(config: Mapping[str, Any]) -> list[str]:
    """List the files and folders that a resolved configuration, or a part of it, names."""
    paths: list[str] = []

    def note(path: str) -> str:
        paths.append(path)
        return path

    with_paths(config, note)
    return paths


def with_paths(config: Mapping[str, Any], rename: Rename) -> dict[str, Any]:
    """Return a resolved configuration, or a part of it, with other names of all files and folders in it."""
    renamed: dict[str, Any] = copy.deepcopy(dict(config))
    for sample in renamed.get("samples", {}).values():
        if sample.get("files"):
            sample["files"] = [rename(path) for path in sample["files"]]
    if renamed.get("golden_json"):
        renamed["golden_json"] = rename(renamed["golden_json"])
    _rename_code(renamed, rename)
    if renamed.get("training", {}).get("init"):
        renamed["training"]["init"]["run"] = rename(renamed["training"]["init"]["run"])
    if "sha256" in renamed:
        renamed["sha256"] = {rename(path): digest for path, digest in renamed["sha256"].items()}
    return renamed


def _rename_code(config: dict[str, Any], rename: Rename) -> None:
    """Rename the user's own modules in a configuration."""
    evaluation, tracking = config.get("evaluation") or {}, config.get("tracking") or {}
    lists = ((config, "functions"), (config, "formats"), (evaluation, "functions"), (evaluation, "figures"))
    for block, key in (*lists, (tracking, "to")):
        if block.get(key):
            block[key] = [_code(spec, rename) for spec in block[key]]
    loss = config.get("training", {}).get("loss")
    for block, key in ((config.get("dataset"), "format"), (config.get("model"), "network"), (loss, "loss")):
        if isinstance(block, dict) and ":" in block.get(key, ""):
            block[key] = _code(block[key], rename)


def _code(spec: str, rename: Rename) -> str:
    """Rename the file of ``/path/to/module.py:name``; ``module:name`` is none."""
    module, _, name = spec.rpartition(":")
    return f"{rename(module)}:{name}" if module.endswith(".py") else spec


def _is_there(path: str) -> bool:
    return os.path.lexists(path) or next(glob.iglob(path), None) is not None  # noqa: PTH207 - a path with a pattern
