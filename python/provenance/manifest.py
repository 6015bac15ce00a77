"""``manifest.json``: what a stage made, from what, and how. A directory without one is unfinished."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from isal import isal_zlib

from ..errors import DataError, UserError
from ..version import __version__
from . import git
from .accounting import Accounting

NAME = "manifest.json"
_SEAL = "content_sha256"
_SECOND = 10**9  # ns
_PACKAGES = ("uproot", "awkward", "numpy", "h5py", "pyarrow", "torch", "lightning", "onnx", "pythia8mc", "fastjet")


def fingerprint(content: Any) -> str:
    """Return the SHA-256 of plain JSON content, independent of the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def sealed(content: Mapping[str, Any], indent: int | None = None) -> str:
    """Return content as JSON text with a checksum of itself, ``content_sha256``; with an indent it is easy to read."""
    text = json.dumps(content, sort_keys=True, default=str)
    seal = {_SEAL: hashlib.sha256(text.encode()).hexdigest()}
    if indent is None:  # Python's own encoder, which indents, takes ten times as long
        return f"{text[:-1]}{', ' if content else ''}{json.dumps(seal)[1:]}\n"
    plain = json.loads(json.dumps(content, default=str))
    return json.dumps(plain | seal, indent=indent) + "\n"


def unsealed(text: str) -> dict[str, Any]:
    """Return the content that :func:`sealed` wrote; a ValueError where it is not as it was written."""
    content = json.loads(text)
    if not isinstance(content, dict) or content.pop(_SEAL, None) != fingerprint(content):
        raise ValueError("its content and its checksum disagree")
    return content


def adler32(path: Path) -> str:
    """Checksum a file as XRootD and EOS do (eight hexadecimal digits)."""
    value = 1
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            value = isal_zlib.adler32(block, value)
    return f"{value:08x}"


@dataclass(frozen=True)
class FileRecord:
    """One input or output file. Paths of outputs are relative to the manifest; ``entries`` None means not a table."""

    path: str
    size: int | None = None
    entries: int | None = None
    uuid: str | None = None
    modified: int | None = None
    adler32: str | None = None
    sample: str | None = None

    def replaced(self) -> bool:
        """Whether another file lies where this one was; one that is not seen from here counts as the same.

        Times are compared by the second: not every mount of a file system tells their fractions.
        """
        now = input_record(self.path)
        if now.size is None or self.size is None:
            return False
        return now.size != self.size or abs((now.modified or 0) - (self.modified or 0)) >= _SECOND

    def unchanged(self) -> bool:
        """Whether a local input is as it was, by size and time of change; remote ones are taken on trust."""
        now = input_record(self.path)
        return (now.size, now.modified) == (self.size, self.modified)


@dataclass
class Manifest:
    """The record of one finished stage."""

    stage: str
    config: dict[str, Any]
    inputs: list[FileRecord]
    accounting: Accounting | None = None
    outputs: list[FileRecord] = field(default_factory=list)
    seed: int | None = None
    details: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    git_commit: str | None = None
    created: str = ""

    @property
    def config_sha256(self) -> str:
        """Hash of the resolved configuration."""
        return fingerprint(self.config)

    @property
    def lost_files(self) -> bool:
        """Whether files were skipped as unusable."""
        return self.accounting is not None and bool(self.accounting.lost)

    def identity(self) -> str:
        """Hash of what was made from what: later stages record it to notice a change. Free of times and paths."""
        outputs = sorted((o.path, o.size, o.adler32, o.entries) for o in self.outputs)
        return fingerprint({"stage": self.stage, "config": self.config, "outputs": outputs})

    def write(
        self, directory: Path, files: Mapping[str, int | None], checksums: Mapping[str, str] | None = None
    ) -> None:
        """Record the given files (relative path to entries) and write the manifest last and atomically.

        The ``checksums`` of some were taken when they were finished: what happened to them afterwards is damage.
        """
        taken = checksums or {}
        self.outputs = [
            output_record(directory / name, name, entries, taken.get(name)) for name, entries in sorted(files.items())
        ]
        if self.accounting is not None:
            self.accounting.check()
        self.versions = versions()
        self.git_commit = nanoforge_commit()
        self.created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        accounting = None if self.accounting is None else self.accounting.as_dict()
        content = asdict(self) | {"accounting": accounting, "config_sha256": self.config_sha256}
        write_atomically(directory / NAME, sealed(content, indent=1))

    @classmethod
    def read(cls, directory: Path, stage: str) -> Manifest:
        """Read the manifest of a finished output directory of a stage.

        Raises
        ------
        UserError
            When the directory is missing, unfinished, or the output of another stage.
        DataError
            When the manifest is damaged.
        """
        manifest = cls.load(directory, stage)
        if manifest.stage != stage:
            raise UserError(
                f"{directory}: made by 'nanoforge {manifest.stage}', but the output of '{stage}' is needed here"
            )
        return manifest

    @classmethod
    def load(cls, directory: Path, stage: str | None = None) -> Manifest:
        """Read the manifest of the finished output of any stage; ``stage`` is the one to run where there is none."""
        path = directory / NAME
        try:
            content = unsealed(path.read_text())
            digest, accounting = content.pop("config_sha256"), content.pop("accounting")
            inputs, outputs = ([FileRecord(**r) for r in content.pop(name)] for name in ("inputs", "outputs"))
            manifest = cls(
                **content,
                inputs=inputs,
                outputs=outputs,
                accounting=Accounting.from_dict(accounting) if accounting else None,
            )
            if digest != manifest.config_sha256:
                raise ValueError("its configuration and config_sha256 disagree")
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{directory}: no {NAME}, so this is no finished output: {_way_to(directory, stage)}"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
            again = "--force replaces it" if stage is None else f"run '{_command(stage)}' again with --force"
            raise DataError(
                f"{path}: not a manifest of this version of NanoForge, or damaged ({error}): {again}"
            ) from None
        for output in manifest.outputs:
            check_inside(output.path, path)
        return manifest

    def verify(self, directory: Path) -> None:
        """Raise a :class:`DataError` unless every output exists with its recorded size and checksum."""
        for record in self.outputs:
            path = directory / record.path
            if not path.exists():
                raise DataError(f"{path}: missing, though {NAME} lists it: run '{_command(self.stage)}' again")
            if path.stat().st_size != record.size or adler32(path) != record.adler32:
                raise DataError(f"{path}: changed since it was written: {make_again(path, self.stage)}")


def make_again(path: Path | str, stage: str) -> str:
    """Say what helps against a damaged output: sizes tell whether a result is up to date, and may be right here."""
    return f"remove {path}, then run '{_command(stage)}' again"


def _command(stage: str) -> str:
    return f"nanoforge {stage.partition(' ')[0]}"  # that of a part is the stage's


def _way_to(directory: Path, stage: str | None) -> str:
    """Say what makes a folder without a manifest a finished output."""
    again = f"run '{_command(stage or '...')}'"
    if not directory.is_dir() or not any(directory.iterdir()):
        return again
    return f"if it is one that was damaged, remove {directory}, then {again} again"


def check_inside(name: str, source: Path | str) -> None:
    """Raise a :class:`DataError` where ``source`` names a file that would lie outside of the folder it speaks of."""
    if not name or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{source}: lists {name!r}, which lies outside of its directory: it is damaged, or not ours")


def is_whole(directory: Path) -> bool:
    """Whether a finished output still has all its files, with their recorded sizes; checksums are not looked at.

    Raises
    ------
    DataError
        When its manifest is damaged, or one of something else: not to be replaced unasked.
    """
    try:
        outputs = Manifest.load(directory).outputs
        return all((directory / record.path).stat().st_size == record.size for record in outputs)
    except (UserError, OSError):
        return False


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that readers see the old or the new content, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Remove what :func:`write_atomically` left in a folder when its process was killed."""
    for path in folder.rglob(".*.*"):
        if path.suffix[1:].isdigit() and path.is_file():
            path.unlink()


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def input_record(
    path: str, entries: int | None = None, uuid: str | None = None, sample: str | None = None
) -> FileRecord:
    """Describe an input file as it is now; one that is remote, or not there, has no size."""
    try:
        status = None if "://" in path else Path(path).stat()
    except OSError:
        status = None
    if status is None:
        return FileRecord(path, entries=entries, uuid=uuid, sample=sample)
    return FileRecord(path, status.st_size, entries, uuid, status.st_mtime_ns, sample=sample)


def output_record(path: Path, name: str, entries: int | None = None, checksum: str | None = None) -> FileRecord:
    """Describe a finished output, once it is safe on the disk: what is recorded must outlive a failure of the power."""
    if checksum is None:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return FileRecord(name, path.stat().st_size, entries, adler32=checksum or adler32(path))


def refuse_copies(sources: Iterable[FileRecord]) -> None:
    """Raise a :class:`UserError` where a sample has one file twice, by its UUID: its events would be counted twice."""
    seen: dict[tuple[str | None, str], str] = {}
    for source in sources:
        if source.uuid:
            path, sample = source.path, source.sample
            first = seen.setdefault((sample, source.uuid), path)
            if first != path:
                raise UserError(f"samples.{sample}: {first} and {path} are copies of one file (equal UUID)")


def changed_keys(old: Any, new: Any, prefix: str = "") -> Iterable[str]:
    """Yield the key paths in which two configurations differ, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from changed_keys(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else str(key))
    elif old != new:
        yield f"{prefix}: {old!r} -> {new!r}"


def flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every value of a configuration as text, with its key path."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def versions() -> dict[str, str]:
    """Return the versions of NanoForge, Python, and the packages that matter for a result."""
    return {"nanoforge": __version__, "python": platform.python_version(), **_package_versions()}


@functools.cache
def _package_versions() -> dict[str, str]:
    result = {}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            result[package] = importlib.metadata.version(package)
    return result


def nanoforge_commit() -> str | None:
    """Return the commit of NanoForge itself, with ``-dirty`` where files were changed; None outside a checkout."""
    checkout = Path(__file__).resolve().parents[2]
    return git.commit(checkout) if (checkout / ".git").exists() else None
