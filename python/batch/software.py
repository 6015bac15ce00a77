"""The software of jobs: what their environment needs, and the very NanoForge that submits them."""

from __future__ import annotations

import tarfile
from pathlib import Path

from ..config.batch import BatchBlock

SCRIPT = "environment.sh"
_NANOFORGE = "nanoforge.tar.gz"
_ARCHIVES = ("*.tar.gz", "*.tar.xz")


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
    environment = batch.environment.resolved()
    (folder / SCRIPT).write_text(environment.script(folder, batch))
    if environment.brings_nanoforge:
        pack(Path(__file__).resolve().parents[1], "nanoforge", folder / _NANOFORGE)


def software_files(folder: Path) -> list[Path]:
    """Return what a job takes along of that."""
    archives = [path for pattern in _ARCHIVES for path in folder.glob(pattern)]
    return [folder / SCRIPT, *sorted(archives)]


def pack(folder: Path, name: str, archive: Path) -> None:
    """Pack a folder, the same way each time; compiled Python stays behind."""

    def chosen(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if "__pycache__" in member.name.split("/"):
            return None
        member.mtime, member.uid, member.gid, member.uname, member.gname = 0, 0, 0, "", ""
        return member

    with tarfile.open(archive, "w:gz", compresslevel=6) as out:
        out.add(folder, name, filter=chosen)
