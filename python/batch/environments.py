"""How a job gets its Python: a view of LCG, an image, a virtual environment, or the Python that submits."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from ..config.batch import BatchBlock
from ..console import say
from ..errors import UserError
from .templates import fill, template

SCRIPT, SOFTWARE, VENV, PACKAGES = "environment.sh", "nanoforge.tar.gz", "venv.tar.gz", "packages.tar.xz"
SHARED = {"lxplus": ("/afs", "/eos", "/cvmfs"), "lpc": ("/cvmfs",), "generic": ("/",)}
"""Folders that the jobs of a site see under the same names as the submitting machine."""
_CVMFS = Path("/cvmfs/sft.cern.ch/lcg/views")
_LENIENT: ContextVar[bool] = ContextVar("lenient", default=False)


@contextmanager
def noting_refusals(dry: bool) -> Iterator[None]:
    """Let demands be notes while a dry run is made: any machine may make one, also one that the site does not know."""
    before = _LENIENT.set(dry)
    try:
        yield
    finally:
        _LENIENT.reset(before)


def is_dry() -> bool:
    """Whether a dry run is made."""
    return _LENIENT.get()


def refuse(message: str) -> None:
    """Refuse what the site would; of a dry run, only say it.

    Raises
    ------
    UserError
        With the message.
    """
    if not _LENIENT.get():
        raise UserError(message)
    say(f"note: before it can be submitted: {message}")


def shared_folders(batch: BatchBlock) -> tuple[str, ...]:
    """Return the folders that the jobs see."""
    return SHARED[batch.site] if batch.shared is None else tuple(batch.shared)


def visible_to_jobs(path: str | Path, batch: BatchBlock) -> bool:
    """Whether the jobs see a file or folder of this machine."""
    return any(absolute(path).is_relative_to(folder) for folder in shared_folders(batch))


def absolute(path: str | Path) -> Path:
    """Return a path from the root on, links kept: the folders that jobs see are often links here."""
    return Path(os.path.normpath(Path(path).expanduser().absolute()))


def write_environment(batch: BatchBlock, folder: Path) -> None:
    """Put what a job needs to run Python with NanoForge into a folder: ``environment.sh`` and archives.

    Parameters
    ----------
    batch
        The block of the analysis file.
    folder
        A job directory in the making.

    Raises
    ------
    UserError
        When the jobs would not see the software.
    """
    (folder / SCRIPT).write_text(_script(batch, folder))
    if batch.environment.kind != "local":
        _pack(Path(__file__).resolve().parents[1], "nanoforge", folder / SOFTWARE)


def _script(batch: BatchBlock, folder: Path) -> str:
    environment = batch.environment
    if environment.lcg is not None:
        setup = environment.lcg.setup
        if _CVMFS.is_dir() and not Path(setup).is_file():
            raise UserError(f"batch.environment.lcg: there is no {setup}: see {_CVMFS} for its views and platforms")
        return fill(template("lcg.sh"), {"setup": setup, **_packages(environment.lcg.packages, batch, folder)})
    if environment.apptainer is not None:
        image = environment.apptainer.image
        if "://" not in image:
            image = str(_seen(image, batch, "apptainer.image"))
        gpu = "--nv" if batch.train.gpu or batch.gpu or batch.tune.gpu else ""
        return fill(template("apptainer.sh"), {"image": image, "nv": gpu, "binds": " ".join(shared_folders(batch))})
    if environment.venv is not None:
        return _venv(Path(environment.venv).expanduser(), batch, folder)
    return _local(batch)


def _packages(packages: str | None, batch: BatchBlock, folder: Path) -> dict[str, Path | str | None]:
    """Say where the jobs find the packages beside a view; an archive of them goes along."""
    if packages is None:
        return {"archive": None, "packages": None}
    if not packages.endswith(".tar.xz"):
        return {"archive": None, "packages": _seen(packages, batch, "lcg.packages")}
    if not Path(packages).expanduser().is_file():
        raise UserError(f"batch.environment.lcg.packages: there is no {packages}: 'make grid' makes one")
    shutil.copyfile(Path(packages).expanduser(), folder / PACKAGES)
    return {"archive": PACKAGES, "packages": "$PWD/packages"}


def _venv(venv: Path, batch: BatchBlock, folder: Path) -> str:
    if not (venv / "bin" / "python").exists():
        raise UserError(f"batch.environment.venv: {venv}: no bin/python, so this is no virtual environment")
    if visible_to_jobs(venv, batch):
        return fill(template("venv.sh"), {"venv": absolute(venv)})
    _pack(venv, "venv", folder / VENV)
    return template("packed.sh")


def _local(batch: BatchBlock) -> str:
    if not visible_to_jobs(sys.prefix, batch):
        refuse(
            f"batch.environment: the jobs of {batch.site} do not see {sys.prefix}, the Python that submits: "
            f"{_remedy(batch)}, or let it travel: batch.environment={{venv: {sys.prefix}}}"
        )
    path = [str(absolute(folder)) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    return fill(
        template("local.sh"),
        {"python": shlex.quote(sys.executable), "pythonpath": shlex.quote(os.pathsep.join(path)) if path else None},
    )


def _seen(path: str, batch: BatchBlock, key: str) -> Path:
    if not visible_to_jobs(path, batch):
        refuse(f"batch.environment.{key}: the jobs of {batch.site} do not see {path}: {_remedy(batch)}")
    return absolute(path)


def _remedy(batch: BatchBlock) -> str:
    return f"put it under {' or '.join(shared_folders(batch))} (or name the folders that they see in batch.shared)"


def _pack(folder: Path, name: str, archive: Path) -> None:
    """Pack a folder, the same way each time; compiled Python stays behind."""

    def chosen(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if "__pycache__" in member.name.split("/"):
            return None
        member.mtime, member.uid, member.gid, member.uname, member.gname = 0, 0, 0, "", ""
        return member

    with tarfile.open(archive, "w:gz", compresslevel=6) as out:
        out.add(folder, name, filter=chosen)
