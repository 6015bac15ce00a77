"""What git knows of a folder; nothing where there is no git, or no checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit(folder: Path) -> str | None:
    """Return the commit of the checkout that a folder lies in, with ``-dirty`` where files were changed."""
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or None


def diff(folder: Path) -> str:
    """Return how the files that the checkout knows differ from its commit, as ``git diff`` writes it."""
    return _git(folder, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color")


def _git(folder: Path, *arguments: str) -> str:
    try:
        command = ["git", "-C", str(folder), *arguments]
        process = subprocess.run(command, capture_output=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return process.stdout.decode(errors="replace").strip()
