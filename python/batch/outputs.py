"""Whether what jobs brought back is whole: a job is done when its part verifies, whatever its log says."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic_core import from_json

from ..errors import DataError
from ..pipeline.parts import part_stage
from ..provenance.manifest import NAME, adler32, check_inside
from .plan import BatchJob, Plan

_ABSENT = "no output"
_BLOCK = 1 << 22


class Store(Protocol):
    """Where parts lie, each in a folder of its own; paths are relative to it.

    A missing file raises FileNotFoundError; any other OSError is a failure of the place.
    """

    connections: int

    def names(self) -> set[str]:
        """Name the folders that are there."""

    def state(self, path: str) -> tuple[int, float]:
        """Return the bytes of a file and when it was changed."""

    def read(self, path: str) -> bytes:
        """Read a small file."""

    def checksum(self, path: str) -> str:
        """Return the Adler-32 checksum of a file (eight hexadecimal digits)."""

    def set_aside(self, part: str) -> None:
        """Move a folder to a place beside, where nobody takes it for a part."""

    def fetch(self, path: str, target: Path) -> None:
        """Copy a file to this machine."""

    def receive(self, folder: Path) -> None:
        """Take a folder of this machine in, whole; what had its name before is set aside."""


class LocalStore:
    """Parts in a folder of this machine, AFS or a mounted EOS."""

    connections = 1

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> set[str]:
        """Name the folders that are there."""
        return set(os.listdir(self.folder)) if self.folder.is_dir() else set()  # noqa: PTH208 - twice as fast

    def state(self, path: str) -> tuple[int, float]:
        """Return the bytes of a file and when it was changed."""
        status = os.stat(f"{self.folder}/{path}")  # noqa: PTH116 - there may be 100,000 of them
        return status.st_size, status.st_mtime_ns

    def read(self, path: str) -> bytes:
        """Read a small file."""
        return (self.folder / path).read_bytes()

    def checksum(self, path: str) -> str:
        """Return the Adler-32 checksum of a file."""
        return adler32(self.folder / path)

    def set_aside(self, part: str) -> None:
        """Move a folder to a place beside."""
        target = Path(_aside(str(self.folder), part))
        target.parent.mkdir(exist_ok=True)
        (self.folder / part).rename(target)

    def fetch(self, path: str, target: Path) -> None:
        """Copy a file."""
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.folder / path, target)

    def receive(self, folder: Path) -> None:
        """Take a folder of this machine in."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=self.folder) as work:
            arrived = Path(shutil.move(folder, work))  # a copy, where that is another file system
            while (self.folder / folder.name).exists() or not _is_renamed(arrived, self.folder / folder.name):
                with contextlib.suppress(FileNotFoundError):  # another try of the job was faster
                    self.set_aside(folder.name)


class RemoteStore:
    """Parts at an address such as ``root://eosuser.cern.ch//eos/user/...``."""

    connections = 16

    def __init__(self, url: str) -> None:
        import fsspec

        self.system, self.folder = fsspec.core.url_to_fs(url.rstrip("/"), use_listings_cache=False)

    def names(self) -> set[str]:
        """Name the folders that are there."""
        try:
            with _telling_absence():
                return {path.rstrip("/").rpartition("/")[2] for path in self.system.ls(self.folder, detail=False)}
        except FileNotFoundError:
            return set()

    def state(self, path: str) -> tuple[int, float]:
        """Return the bytes of a file and when it was changed."""
        with _telling_absence():
            info = self.system.info(f"{self.folder}/{path}")
        return int(info["size"]), float(info.get("mtime", 0))

    def read(self, path: str) -> bytes:
        """Read a small file."""
        with _telling_absence():
            return self.system.cat_file(f"{self.folder}/{path}", None, None)

    def checksum(self, path: str) -> str:
        """Return the Adler-32 checksum that the server tells; where it tells none, the file is read."""
        with contextlib.suppress(OSError, TypeError, ValueError):  # not every server computes it
            algorithm, value = self.system.checksum(f"{self.folder}/{path}")
            if algorithm == "adler32":
                return str(value).zfill(8)
        with tempfile.TemporaryDirectory() as folder:
            self.fetch(path, Path(folder) / "file")
            return adler32(Path(folder) / "file")

    def set_aside(self, part: str) -> None:
        """Move a folder to a place beside."""
        target = _aside(self.folder, part)
        self.system.makedirs(target.rpartition("/")[0], exist_ok=True)
        self.system.mv(f"{self.folder}/{part}", target)

    def fetch(self, path: str, target: Path) -> None:
        """Copy a file to this machine."""
        target.parent.mkdir(parents=True, exist_ok=True)
        self.system.get_file(f"{self.folder}/{path}", str(target))

    def receive(self, folder: Path) -> None:
        """Take a folder of this machine in; its manifest comes last."""
        if folder.name in self.names():
            self.set_aside(folder.name)
        files = sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.name == NAME)
        for path in files:
            target = f"{self.folder}/{path.relative_to(folder.parent).as_posix()}"
            self.system.makedirs(target.rpartition("/")[0], exist_ok=True)
            with path.open("rb") as source, self.system.open(target, "wb") as file:
                shutil.copyfileobj(source, file, _BLOCK)


@contextlib.contextmanager
def _telling_absence() -> Iterator[None]:
    """Let what a server says of a missing file be the exception that Python has for it."""
    try:
        yield
    except OSError as error:
        if "[3011]" in str(error):  # kXR_NotFound
            raise FileNotFoundError(str(error)) from None
        raise


def _is_renamed(source: Path, target: Path) -> bool:
    """Whether a folder could get its name; another one may have it, which appeared just now."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise
    return True


def _aside(folder: str, part: str) -> str:
    return f"{folder}-damaged/{part}-{time.strftime('%y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


@dataclass(frozen=True)
class Output:
    """What a job brought back.

    Attributes
    ----------
    problem
        Why it is no part; None where it verifies.
    files
        Size and checksum of its files, as the manifest lists them.
    read, lost
        Events that the job read, and of these those in files that it could not use.
    """

    problem: str | None
    files: Mapping[str, tuple[int, str]]
    read: int = 0
    lost: int = 0

    @property
    def absent(self) -> bool:
        """Whether there is nothing at all."""
        return self.problem == _ABSENT


class Outputs:
    """The outputs of all jobs of a plan; manifests are read again when they changed."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan, self.store = plan, store
        self._known: dict[int, tuple[Any, Output]] = {}

    def survey(self) -> dict[int, Output]:
        """Look at the manifests of all jobs, and whether the files that they list have the right sizes.

        Raises
        ------
        DataError
            When the place does not answer: taking its parts for missing would make them all again.
        """
        outputs = {job.number: Output(_ABSENT, {}) for job in self.plan.jobs}
        try:
            present = self.store.names()
            jobs = [job for job in self.plan.jobs if job.part in present]
            if self.store.connections == 1:
                outputs.update((job.number, self._look(job)) for job in jobs)
            else:
                with ThreadPoolExecutor(self.store.connections) as pool:
                    outputs.update(zip((job.number for job in jobs), pool.map(self._look, jobs)))
        except OSError as error:
            raise DataError(f"{self.plan.parts}: the parts cannot be looked at ({error}): try again later") from None
        return outputs

    def damaged(self, jobs: int = 1) -> dict[int, str]:
        """Compare the checksums of all parts that seem whole; returns what is wrong, by number of the job."""
        whole = [job for job, output in zip(self.plan.jobs, self.survey().values()) if output.problem is None]
        with ThreadPoolExecutor(max(jobs, self.store.connections)) as pool:
            problems = pool.map(self._compare, whole)
        return {job.number: problem for job, problem in zip(whole, problems) if problem is not None}

    def _look(self, job: BatchJob) -> Output:
        name = f"{job.part}/{NAME}"
        try:
            mark = self.store.state(name)
            previous = self._known.get(job.number)
            output = previous[1] if previous and previous[0] == mark else _parse(self.store.read(name), job, self.plan)
            self._known[job.number] = mark, output
        except (FileNotFoundError, NotADirectoryError):
            return Output(f"{NAME} is missing", {})
        if output.problem is not None:
            return output
        problem = next(filter(None, (self._missing(job, *item) for item in output.files.items())), None)
        return output if problem is None else Output(problem, output.files)

    def _missing(self, job: BatchJob, path: str, expected: tuple[int, str]) -> str | None:
        try:
            size = self.store.state(f"{job.part}/{path}")[0]
        except (FileNotFoundError, NotADirectoryError):
            return f"{path} is missing"
        return None if size == expected[0] else f"{path} has {size:,} bytes of {expected[0]:,}"

    def _compare(self, job: BatchJob) -> str | None:
        for path, (_, checksum) in self._known[job.number][1].files.items():
            try:
                stored = self.store.checksum(f"{job.part}/{path}")
            except OSError as error:
                return f"{path} cannot be read ({error})"
            if stored != checksum:
                return f"{path} has another checksum than {NAME} says"
        return None


def _parse(content: bytes, job: BatchJob, plan: Plan) -> Output:
    """Read what the manifest of a part lists, if it is that of this job."""
    try:
        manifest = from_json(content)  # twice as fast as json, for 10,000 of them
        files = {str(o["path"]): (int(o["size"]), str(o["adler32"])) for o in manifest["outputs"]}
        accounting = manifest["accounting"]
        read, lost = (
            (accounting["events"]["read"], sum(i["entries"] or 0 for i in accounting["lost"])) if accounting else (0, 0)
        )
        units, made = manifest["details"].get("part"), manifest["stage"]
        for path in files:
            check_inside(path, NAME)
    except (ValueError, KeyError, TypeError, AttributeError, DataError):
        return Output(f"{NAME} is damaged", {})
    expected = {"sample": job.sample, "first": job.first, "last": job.last} if plan.in_parts else None
    if made != (part_stage(plan.stage) if plan.in_parts else plan.stage) or units != expected:
        return Output(f"is of something else ({made} {units or ''})", {})
    return Output(None, files, read, lost)


def store(plan: Plan, local: Path | None) -> Store:
    """Return where the parts of a plan lie; ``local`` is None where that is not this machine."""
    if local is not None:
        return LocalStore(local)
    try:
        return RemoteStore(plan.parts)
    except (ImportError, ValueError) as error:
        raise DataError(f"{plan.parts}: cannot be reached ({error})") from None
