"""Chromium, where it is installed: for tests of pages."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

NAMES = (os.environ.get("NANOFORGE_CHROMIUM", "chromium"), "chromium-headless-shell", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt install chromium, or .ci/browser")


def browse(address: str, folder: Path, *options: str) -> subprocess.CompletedProcess:
    """Open an address without a window; ``folder`` is for the profile. The DOM is on stdout, the console on stderr."""
    common = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={folder}/profile",
    ]
    command = [str(CHROMIUM), *common, *options, address]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)
