"""The disk under a project: a small file system of its own where that is allowed, so that it can be full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_SIZE = "1g"
_INSIDE = "NANOFORGE_FAULTS_INSIDE"


def enter_namespace() -> None:
    """Start this program again where it may mount file systems that nobody else sees, if the machine lets it."""
    if os.environ.get(_INSIDE):
        return
    words = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    os.environ[_INSIDE] = "1"
    try:
        allowed = subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if allowed:
        os.execvp(words[0], [*words, sys.executable, *sys.argv])


class UnavailableError(Exception):
    """A fault that cannot be made here: why."""


class Disk:
    """A file system in memory at a folder; ``available`` says whether it could be mounted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self.available = self._mount("-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs")
        self._changed = False

    def fill(self, room: int) -> None:
        """Leave so many bytes free."""
        status = os.statvfs(self._folder)
        used = (status.f_blocks - status.f_bfree) * status.f_frsize
        self._change(f"size={used + room}")

    def protect(self) -> None:
        """Let nothing be written."""
        self._change("ro")

    def free(self) -> None:
        """Undo all that."""
        if self._changed and not self._mount("-o", f"remount,rw,size={_SIZE}"):
            raise RuntimeError(f"{self._folder} cannot be made writable again")
        self._changed = False

    def close(self) -> None:
        """Take it away."""
        if self.available:
            subprocess.run(["umount", "--lazy", str(self._folder)], capture_output=True, check=False)

    def _change(self, options: str) -> None:
        self._changed = True
        if not self.available or not self._mount("-o", f"remount,{options}"):
            self._changed = False
            raise UnavailableError("no file system can be mounted here")

    def _mount(self, *words: str) -> bool:
        answer = subprocess.run(["mount", *words, str(self._folder)], capture_output=True, check=False)
        return answer.returncode == 0
