"""A folder of models that a server reads: ``<name>/<version>/model.onnx``, the layout of Triton's model repository."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError, UserError
from ..provenance.manifest import write_atomically

GRAPH, DESCRIPTION, ANALYSIS, CONFIG = "model.onnx", "model.json", "analysis.yaml", "config.pbtxt"
FEATURES_SUFFIX = "_features"
"""The model of this name takes the features of many rows, where the one without it takes the columns of one event."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
VERSION = re.compile(r"[1-9][0-9]{0,8}")
"""What the number of a version is."""
_UNLOADED = ".unloaded"
_STAGED = ".staged-"


@dataclass(frozen=True, order=True)
class ModelVersion:
    """A version of a model in a repository."""

    name: str
    number: int


class VersionExistsError(Exception):
    """The version is in the repository already, and versions never change."""


class Repository:
    """Models on a disk. What appears in it appears whole; any number of processes may read and write it.

    Parameters
    ----------
    folder
        Holds a folder for each model.

    Raises
    ------
    UserError
        When there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder: nanoforge export RUN -o EXPORT --repository {folder} makes it")
        self.folder = folder

    def versions(self) -> list[ModelVersion]:
        """List all versions of all models, in the order of their names and numbers."""
        return sorted(self._versions())

    def _versions(self) -> Iterator[ModelVersion]:
        for model in self.folder.iterdir():
            if _NAME.fullmatch(model.name) and model.is_dir():
                for version in model.iterdir():
                    if VERSION.fullmatch(version.name) and (version / GRAPH).is_file():
                        yield ModelVersion(model.name, int(version.name))

    def path(self, version: ModelVersion) -> Path:
        """Return the folder of a version."""
        return self.folder / version.name / str(version.number)

    def add(self, name: str, files: Mapping[str, bytes | Path], config: str, *, number: int | None = None) -> int:
        """Add a version of a model, whole or not at all.

        Parameters
        ----------
        name
            Of the model.
        files
            The content of its files by name, or where to copy them from.
        config
            ``config.pbtxt``, written where the model is new.
        number
            Of the version; by default the next.

        Returns
        -------
        int
            The number of the version.

        Raises
        ------
        VersionExistsError
            When the number is taken.
        DataError
            When it cannot be written.
        """
        if not _NAME.fullmatch(name):
            raise UserError(f"{name!r}: names of served models have letters, digits, '_' and '-', at most 64")
        while True:
            numbers = [v.number for v in self._versions() if v.name == name]
            chosen = number or max(numbers, default=0) + 1
            if chosen in numbers:
                raise VersionExistsError(
                    f"{name}: version {chosen} exists, and versions never change: take another number"
                )
            try:
                self._stage(ModelVersion(name, chosen), files, config)
                return chosen
            except FileExistsError:  # somebody else was faster
                if number is not None:
                    raise VersionExistsError(f"{name}: version {number} was added by somebody else") from None

    def _stage(self, version: ModelVersion, files: Mapping[str, bytes | Path], config: str) -> None:
        """Write the files beside where they belong, and rename the folder."""
        model = self.folder / version.name
        is_new = not model.exists()
        target = model if is_new else self.path(version)
        staged = target.parent / f"{_STAGED}{version.name}-{version.number}-{os.getpid()}"
        try:
            folder = staged / str(version.number) if is_new else staged
            folder.mkdir(parents=True)
            for name, content in files.items():
                data = content.read_bytes() if isinstance(content, Path) else content
                _write(folder / name, data)
            if is_new:
                _write(staged / CONFIG, config.encode())
            staged.rename(target)
        except FileExistsError:
            raise
        except OSError as error:
            if target.exists() and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise FileExistsError(target) from None
            raise DataError(f"{target}: cannot be written ({error.strerror or error})") from error
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def remove(self, version: ModelVersion) -> None:
        """Remove a version; the model itself with its last."""
        path = self.path(version)
        removed = path.with_name(f".removed-{version.number}-{os.getpid()}")
        try:
            path.rename(removed)  # never seen half removed
            shutil.rmtree(removed)
            if not any(v.name == version.name for v in self._versions()):
                shutil.rmtree(path.parent)
        except OSError as error:
            raise DataError(f"{path}: cannot be removed ({error.strerror or error})") from error

    def is_unloaded(self, name: str) -> bool:
        """Tell whether a model was unloaded by command."""
        return (self.folder / name / _UNLOADED).exists()

    def set_unloaded(self, name: str, unloaded: bool) -> None:
        """Unload a model in all servers of this folder, or load it again."""
        marker = self.folder / name / _UNLOADED
        if unloaded:
            write_atomically(marker, "")
        else:
            marker.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
