"""Where events come from: local files, globs, list files, ``root://`` and ``https://`` addresses, DAS datasets.

A logical name, ``/store/...``, names a file of CMS wherever it lies. It stays the name of the file in all that is
recorded; the redirectors turn it into addresses when the file is opened.
"""

from __future__ import annotations

import codecs
import glob
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ..config.schema import REDIRECTORS, Analysis
from ..errors import DataError, FileError, UserError
from .damage import FileKind, refuse_damaged
from .remote import remote_files

_LIST_SUFFIXES = (".txt", ".list")
_LOGICAL = "/store/"
_OVERRIDE = "NANOFORGE_REDIRECTORS"
_CHECKSUM = re.compile(r"(?P<name>.*\S)\s+ad:(?P<adler32>[0-9a-fA-F]{1,8})", re.DOTALL)
_COMMENT = re.compile(r"(^|\s)#.*")


class ListedFile(str):
    """The name of a file together with the checksum that a list of files or DAS gives it.

    Attributes
    ----------
    adler32
        Eight hexadecimal digits.
    """

    adler32: str

    def __new__(cls, name: str, adler32: str) -> ListedFile:
        """Make the name of a file, with its checksum of up to eight hexadecimal digits."""
        listed = super().__new__(cls, name)
        listed.adler32 = adler32.lower().zfill(8)
        return listed

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.adler32)


def from_root(path: str) -> str:
    """Return the name of a local file from the root on, with the checksum that a list gives it; others as they are."""
    if is_remote(path):
        return path
    name = str(Path(path).absolute())
    return ListedFile(name, path.adler32) if isinstance(path, ListedFile) else name


def is_remote(path: str) -> bool:
    """Whether a path is an address such as ``root://server//file``, or a logical name."""
    return "://" in path or is_logical(path)


def is_logical(path: str) -> bool:
    """Whether a path is a logical name of CMS, ``/store/...``; never where this machine has such a folder itself."""
    return path.startswith(_LOGICAL) and not Path(_LOGICAL).is_dir()


def addresses(path: str, redirectors: Sequence[str] = REDIRECTORS) -> list[str]:
    """Return where a remote file is read from, in the order of trying.

    The environment variable ``NANOFORGE_REDIRECTORS`` (addresses with spaces between) has the last word.
    """
    if not is_logical(path):
        return [path]
    servers = os.environ.get(_OVERRIDE, "").split() or redirectors
    return [f"{server.rstrip('/')}/{path}" for server in servers]


def _logical(address: str) -> str:
    """Return the logical name in an address of a file."""
    return f"/{address.partition('://')[2].partition('/')[2].lstrip('/')}"


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
    return expand(sample.files, f"samples.{name}.files", analysis.redirectors)


def with_files(analysis: Analysis, files: Mapping[str, Sequence[str]]) -> Analysis:
    """Return the analysis with other files of some samples, in place of what they say."""
    changed = {
        name: sample.model_copy(update={"files": list(files[name]), "dataset": None}) if name in files else sample
        for name, sample in analysis.samples.items()
    }
    for name in files:
        changed[name].model_fields_set.discard("dataset")
    return analysis.model_copy(update={"samples": changed})


def listed(analysis: Analysis) -> Analysis:
    """Return the analysis with all its files listed, in place of patterns, lists of files and datasets."""
    existing = [
        name for name, sample in analysis.samples.items() if sample.files is not None or sample.dataset is not None
    ]
    return with_files(analysis, {name: [_plain(path) for path in sample_files(analysis, name)] for name in existing})


def _plain(path: str) -> str:
    """Return a file's name as plain text, its checksum behind it where there is one."""
    name = str(path) if is_remote(path) else os.path.normpath(path)
    return list_line(name, getattr(path, "adler32", ""))


def list_line(name: str, adler32: str) -> str:
    """Return the line of a list of files that names a file, its checksum behind it where that is known."""
    return f"{name} ad:{adler32}" if adler32 else str(name)


def split_line(line: str) -> tuple[str, str]:
    """Return the name and the checksum that :func:`list_line` wrote; the latter may be empty."""
    match = _CHECKSUM.fullmatch(line)
    return (match["name"], match["adler32"]) if match else (line, "")


def expand(patterns: Iterable[str], where: str, redirectors: Sequence[str] = REDIRECTORS) -> list[str]:
    """Turn file names, globs and list files into a list of files, in a reproducible order.

    Parameters
    ----------
    patterns
        As a user writes them.
    where
        The key of the analysis file or the command, for messages.
    redirectors
        Where patterns of logical names are looked up.

    Raises
    ------
    UserError
        When a pattern matches nothing or a file is listed twice: its events would be counted twice.
    """
    files = [file for pattern in patterns for file in _expand_one(pattern, where, redirectors)]
    seen: set[str] = set()
    for file in files:
        try:
            key = file if is_remote(file) else str(Path(file).resolve())
        except (OSError, RuntimeError, ValueError) as error:  # a link to itself, a NUL
            raise UserError(f"{where}: {file!r} cannot be a file ({error})") from None
        if key in seen:
            raise UserError(f"{where}: {file} is listed twice, its events would be counted twice")
        seen.add(key)
    return files


def require(path: str, kind: FileKind) -> None:
    """Raise a :class:`FileError` where a local file is missing, or by its size and first bytes cannot be read."""
    if is_remote(path):
        return
    if not Path(path).is_file():
        problem = "is a directory, name the files in it" if Path(path).is_dir() else "no such file"
        raise FileError(path, problem, mistake=True)
    refuse_damaged(path, kind)


def size_of(path: str, redirectors: Sequence[str] = REDIRECTORS) -> int:
    """Return the size of a file in bytes; 0 where it cannot be told: who reads it will say why."""
    try:
        if not is_remote(path):
            return Path(path).stat().st_size
        candidates = addresses(path, redirectors)
        return remote_files(candidates[0]).size(path, candidates)
    except Exception:  # every protocol has its own exceptions
        return 0


def group_by_size(
    paths: Sequence[str], target: float | None, redirectors: Sequence[str] = REDIRECTORS
) -> list[tuple[str, ...]]:
    """Put neighbours together until the next one would exceed the target, in bytes of the inputs."""
    groups: list[list[str]] = []
    filled = 0.0
    for path in paths:
        size = size_of(path, redirectors) if target is not None else 0
        if target is None or not groups or filled + size > target:
            groups.append([])
            filled = 0
        groups[-1].append(path)
        filled += size
    return [tuple(group) for group in groups]


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


def skim_outputs(
    paths: Sequence[str], target: float | None, redirectors: Sequence[str] = REDIRECTORS
) -> dict[str, tuple[str, ...]]:
    """Map the outputs of a skim to their inputs: one to one, or in groups of a ``target`` size in bytes."""
    groups = group_by_size(paths, target, redirectors)
    if target is None:
        return dict(zip(output_names(paths, ".root"), groups))
    return {f"part-{i:04d}.root": group for i, group in enumerate(groups)}


def das_files(dataset: str, site: str | None = None, instance: str | None = None) -> list[str]:
    """List the files of a CMS dataset through ``dasgoclient`` (LXPLUS, or any machine with CVMFS).

    With a ``site`` these are the files that lie there, and may be none; ``instance`` names another DBS than the
    global one.
    """
    query = f"file dataset={dataset}" + (f" site={site}" if site else "")
    query += f" instance={instance}" if instance else ""
    names = _das_names(dataset, ask_das(query, dataset, ", or list 'files'"))
    if not names and site is None:
        raise UserError(f"{dataset}: DAS knows no files of this dataset")
    return sorted(names)


def ask_das(query: str, subject: str, remedy: str = "") -> str:
    """Ask DAS through ``dasgoclient``, and return its answer, JSON.

    Parameters
    ----------
    query, subject
        The question, and what it is about, for messages.
    remedy
        What helps besides where there is no ``dasgoclient``.

    Raises
    ------
    UserError
        When there is none.
    DataError
        When it fails.
    """
    client = shutil.which("dasgoclient")
    if client is None:
        raise UserError(f"{subject}: dasgoclient is not here: run on LXPLUS (or with CMSSW set up){remedy}")
    command = [client, "-query", query, "-json"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if answer.returncode:
        raise DataError(f"{subject}: dasgoclient failed: {answer.stderr.strip() or answer.stdout.strip()}")
    return answer.stdout


def das_checksum(file: Mapping[str, Any]) -> str:
    """Return the adler32 in a record of DAS; DBS also has NOTSET there."""
    checksum = str(file.get("adler32") or "")
    return checksum if re.fullmatch("[0-9a-fA-F]{1,8}", checksum) else ""


def _das_names(dataset: str, answer: str) -> list[str]:
    """Return the names in an answer of DAS, with their checksums where it has them."""
    try:
        files = [file for record in json.loads(answer or "[]") for file in record["file"]]
        checksums: dict[str, str] = {}
        for file in files:
            checksums[file["name"]] = checksums.get(file["name"]) or das_checksum(file)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{dataset}: dasgoclient answers in no known form: {answer[:100]!r}") from None
    return [ListedFile(name, checksum) if checksum else name for name, checksum in checksums.items()]


def _expand_one(pattern: str, where: str, redirectors: Sequence[str]) -> Iterator[str]:
    checksum = _CHECKSUM.fullmatch(pattern)
    if checksum is not None:
        files = list(_expand_one(checksum["name"], where, redirectors))
        if len(files) != 1:
            raise UserError(f"{where}: {pattern}: a checksum belongs to one file, not to {len(files)}")
        yield ListedFile(files[0], checksum["adler32"])
    elif pattern.endswith(_LIST_SUFFIXES):
        yield from _read_list(Path(pattern), where, redirectors)
    elif _is_glob(pattern) and not Path(pattern).exists():
        matches = _remote_glob(pattern, redirectors) if is_remote(pattern) else _local_glob(pattern)
        if not matches:
            raise UserError(f"{where}: no file matches {pattern}")
        yield from matches
    else:
        yield pattern


def _is_glob(pattern: str) -> bool:
    return any(c in pattern for c in ("*" if is_remote(pattern) else "*?["))  # ? begins the query of an address


def _read_list(path: Path, where: str, redirectors: Sequence[str]) -> Iterator[str]:
    """Read a list file: one file or pattern a line, relative to the list itself.

    A comment begins with ``#`` at the start of a line or behind white space. A name may stand in quotes, and have its
    checksum behind it: ``a.root  ad:1a2b3c4d``.
    """
    if f"({path})" in where:
        raise UserError(f"{where}: the file list {path} lists itself")
    try:
        content = path.read_bytes()
        encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
        lines = re.split(r"\r\n|\r|\n", content.decode(encoding))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: the file list {path} cannot be read ({error})") from None
    names = [_unquoted(_COMMENT.sub("", line).strip()) for line in lines]
    if not any(names):
        raise UserError(f"{where}: the file list {path} is empty")
    for name in filter(None, names):
        path_of_entry = name if is_remote(name) else str(path.parent / os.path.expanduser(name))  # noqa: PTH111 - never fails
        yield from _expand_one(path_of_entry, f"{where} ({path})", redirectors)


def _unquoted(line: str) -> str:
    """Take the quotes off a name, which some programs put around every field or only around those with spaces."""
    quoted = re.fullmatch(r"""(?P<quote>['"])(?P<name>.*)(?P=quote)(?P<rest>(\s+ad:\w+)?)""", line)
    return quoted["name"] + quoted["rest"] if quoted else line


def _local_glob(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob wants relative patterns


def _remote_glob(pattern: str, redirectors: Sequence[str]) -> list[str]:
    failures = []
    for address in addresses(pattern, redirectors):
        try:
            matches = remote_files(address).matches(address)
            return [_logical(match) for match in matches] if is_logical(pattern) else matches
        except UserError:
            raise
        except Exception as error:  # every protocol has its own exceptions
            failures.append(f"{address}: {error}")
    raise DataError(f"{pattern}: cannot be listed: {'; '.join(failures)}")
