from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """The path of a real CMS file; the test is skipped where the files are not beside the repository."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"real CMS data are not here ({path.parent}); the twin of this test runs on toy data")
        return path

    return find


@pytest.fixture
def nanoforge(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Run the command line in a folder of its own, as a user does."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "nanoforge", *map(str, arguments)]
        environment = {**os.environ, "COLUMNS": "200"}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, **options)

    return run
