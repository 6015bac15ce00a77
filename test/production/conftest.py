from __future__ import annotations

from pathlib import Path

import pytest
from cms_software import install


@pytest.fixture
def cms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in of CMS's software, where this machine looks for it."""
    folder = install(tmp_path / "cms")
    monkeypatch.setenv("CMS_PATH", str(folder))
    monkeypatch.delenv("SITECONFIG_PATH", raising=False)
    return folder
