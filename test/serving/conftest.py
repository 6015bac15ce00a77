"""A repository with one model, whose weights are those of its first step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from nanoforge.stages.export import export, publish
from serving.clients import Client
from stages.test_export import EVENTS, untrained


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    run = untrained(folder, EVENTS)
    export(run, folder / "export")
    publish(run, folder / "export", folder / "models")
    return folder


@pytest.fixture(scope="session")
def name(published: Path) -> str:
    return str(json.loads((published / "export" / "model.json").read_text())["name"])


@pytest.fixture
def infer(name: str) -> str:
    return f"/v2/models/{name}_features/infer"


@pytest.fixture
def models(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published / "models", tmp_path / "models"))


@pytest.fixture
def client(models: Path) -> Iterator[Client]:
    client = Client(models)
    yield client
    client.close()
