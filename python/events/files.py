"""Where events come from: local files, globs, list files, ``root://`` and ``https://`` addresses, DAS datasets."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from ..config.schema import Analysis
from ..errors import DataError, FileError, UserError

_LIST_SUFFIXES = (".txt", ".list")
_REDIRECTOR = "root://cms-xrd-global.cern.ch/"


def is_remote(path: str) -> bool:
    """Whether a path is an address such as ``root://server//file``."""
    return "://" in path


def sample_files(analysis: Analysis, name: str) -> list[str]:
    """List the files of a sample."""
    sample = analysis.samples[name]
    if sample.dataset is not None:
        return das_files(sample.dataset)
    if sample.files is None:
        raise UserError(
            f"samples.{name}: has a 'generator' but no 'files': run 'nanoforge generate' and add what it made, "
            f"files: generated/{name}.root"
        )
    return expand(sample.files, f"samples.{name}.files")


def expand(patterns: Iterable[str], where: str) -> list[str]:
    """Turn file names, globs and list files into a list of files, in a reproducible order.

    Parameters
    ----------
    patterns
        As a user writes them.
    where
        The key of the analysis file or the command, for messages.

    Raises
    ------
    UserError
        When a pattern matches nothing or a file is listed twice: its events would be counted twice.
    """
    files = [file for pattern in patterns for file in _expand_one(pattern, where)]
    seen: set[str] = set()
    for file in files:
        key = file if is_remote(file) else str(Path(file).resolve())
        if key in seen:
            raise UserError(f"{where}: {file} is listed twice, its events would be counted twice")
        seen.add(key)
    return files


def require(path: str) -> None:
    """Raise a :class:`FileError` where a local file is missing."""
    if not is_remote(path) and not Path(path).is_file():
        kind = "is a directory, name the files in it" if Path(path).is_dir() else "no such file"
        raise FileError(path, kind, mistake=True)


def size_of(path: str) -> int:
    """Return the size of a file in bytes; 0 where it cannot be told: who reads it will say why."""
    try:
        if not is_remote(path):
            return Path(path).stat().st_size
        import fsspec

        system, name = fsspec.core.url_to_fs(path)
        return int(system.size(name) or 0)
    except Exception:  # every protocol has its own exceptions
        return 0


def output_names(paths: Sequence[str], suffix: str) -> list[str]:
    """Name outputs like their inputs; by folder too where inputs of several folders have one name."""
    plain = [PurePosixPath(p.split("://")[-1]) for p in paths]
    names = [p.stem + suffix for p in plain]
    if len(set(names)) < len(names):
        common = os.path.commonpath([p.parent for p in plain])
        names = [str(p.relative_to(common).with_suffix(suffix)) for p in plain]
    seen: dict[str, str] = {}
    twice = next((p for p, name in zip(paths, names) if seen.setdefault(name, p) != p), None)
    if twice is not None:
        raise UserError(f"{twice}: rename it: its output would have the name of that of another input")
    return names


def das_files(dataset: str) -> list[str]:
    """List the files of a CMS dataset through ``dasgoclient`` (LXPLUS, or any machine with CVMFS)."""
    client = shutil.which("dasgoclient")
    if client is None:
        raise UserError(f"{dataset}: dasgoclient is not here: run on LXPLUS (or with CMSSW set up), or list 'files'")
    command = [client, "-query", f"file dataset={dataset}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if answer.returncode:
        raise DataError(f"{dataset}: dasgoclient failed: {answer.stderr.strip() or answer.stdout.strip()}")
    names = answer.stdout.split()
    if not names:
        raise UserError(f"{dataset}: DAS knows no files of this dataset")
    return [_REDIRECTOR + name for name in sorted(names)]


def _expand_one(pattern: str, where: str) -> Iterator[str]:
    if pattern.endswith(_LIST_SUFFIXES):
        yield from _read_list(Path(pattern), where)
    elif _is_glob(pattern) and not Path(pattern).exists():
        matches = _remote_glob(pattern) if is_remote(pattern) else sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob wants relative patterns
        if not matches:
            raise UserError(f"{where}: no file matches {pattern}")
        yield from matches
    else:
        yield pattern


def _is_glob(pattern: str) -> bool:
    return any(c in pattern for c in ("*" if is_remote(pattern) else "*?["))  # ? begins the query of an address


def _read_list(path: Path, where: str) -> Iterator[str]:
    """Read a list file: one file or pattern a line, ``#`` starts a comment, relative to the list itself."""
    if f"({path})" in where:
        raise UserError(f"{where}: the file list {path} lists itself")
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: the file list {path} cannot be read ({error})") from None
    names = [line.split("#")[0].strip() for line in lines]
    if not any(names):
        raise UserError(f"{where}: the file list {path} is empty")
    for name in filter(None, names):
        place = name if is_remote(name) else str(path.parent / os.path.expanduser(name))  # noqa: PTH111 - never fails
        yield from _expand_one(place, f"{where} ({path})")


def _remote_glob(pattern: str) -> list[str]:
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(pattern)
        return sorted(system.unstrip_protocol(match) for match in system.glob(path))
    except Exception as error:  # every protocol has its own exceptions
        raise DataError(f"{pattern}: cannot be listed: {error}") from error
