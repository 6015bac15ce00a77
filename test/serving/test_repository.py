"""Versions on the disk, and what Triton reads of them."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from google.protobuf import text_format
from nanoforge.errors import DataError, UserError
from nanoforge.serving.repository import ModelVersion, Repository
from nanoforge.serving.triton import check_config
from nanoforge.stages.serve import serve
from serving.clients import Client
from stages.test_export import model_config

TRITON_CLIENT = os.environ.get("NANOFORGE_TRITONCLIENT")


def test_triton_reads_the_same_folder(models: Path, name: str) -> None:
    for served, batch in ((name, 0), (f"{name}_features", 4096)):
        config = text_format.Parse((models / served / "config.pbtxt").read_text(), model_config())
        graph = onnx.load(models / served / "1" / "model.onnx")
        assert (config.name, config.max_batch_size) == (served, batch)
        assert {t.name for t in config.input} == {t.name for t in graph.graph.input}
        for tensor in config.input:
            shape = next(t for t in graph.graph.input if t.name == tensor.name).type.tensor_type.shape.dim
            assert len(tensor.dims) == len(shape) - (batch > 0)
    assert config.dynamic_batching.max_queue_delay_microseconds == 500


def test_the_schema_of_triton(
    models: Path, published: Path, name: str, tmp_path: Path, nanoforge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = models / name / "config.pbtxt"
    monkeypatch.setitem(sys.modules, "tritonclient", None)
    with pytest.raises(UserError, match="pip install --no-deps tritonclient"):
        check_config(config)
    if TRITON_CLIENT is None:
        pytest.skip("NANOFORGE_TRITONCLIENT names no environment with tritonclient")
    monkeypatch.undo()
    (tmp_path / "packages").mkdir()
    package = next(Path(TRITON_CLIENT).glob("lib/python3*/site-packages/tritonclient"))
    (tmp_path / "packages" / "tritonclient").symlink_to(package)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    arguments = ("export", published / "run", "-o", published / "export", "--check-triton")
    done = nanoforge(*arguments, "--repository", models)
    assert done.returncode == 0 and done.stdout.count("as Triton's schema has it") == 3, done.stderr
    text = config.read_text()
    for wrong, words in (
        (text.replace("max_batch_size", "max_batchsize"), "max_batchsize"),
        (text.replace(f'name: "{name}"', 'name: "other"'), "name of the folder"),
        (text.replace('name: "scores"', 'name: "score"'), "other inputs or outputs"),
    ):
        config.write_text(wrong)
        with pytest.raises(DataError, match=words):
            check_config(config)


def test_versions_appear_whole_and_never_change(models: Path, name: str) -> None:
    repository = Repository(models)
    number = repository.add(name, {"model.onnx": b"x"}, "config")
    assert number == 2 and not list(models.rglob(".staged*"))
    assert (models / name / "config.pbtxt").read_text() != "config"
    with pytest.raises(Exception, match="versions never change"):
        repository.add(name, {"model.onnx": b"y"}, "config", number=2)
    assert repository.add("fresh", {"model.onnx": b"x"}, "config") == 1
    assert (models / "fresh" / "config.pbtxt").read_text() == "config"
    repository.remove(ModelVersion("fresh", 1))
    assert not (models / "fresh").exists()
    with pytest.raises(UserError, match="letters, digits"):
        repository.add("../x", {"model.onnx": b"x"}, "config")


def test_what_was_left_half_written_is_no_version(models: Path, name: str) -> None:
    for left in (".staged-toy-2-99", ".removed-1-99"):
        shutil.copytree(models / name / "1", models / name / left)
    (models / name / "2").mkdir()
    (models / ".staged-new-1-99" / "1").mkdir(parents=True)
    (models / "notes.txt").write_text("ours")
    assert [v.number for v in Repository(models).versions() if v.name == name] == [1]


def test_a_full_disk_leaves_nothing(models: Path, name: str, monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    before = sorted(models.rglob("*"))
    graph = (models / f"{name}_features" / "1" / "model.onnx").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    answer = client("PUT", f"/v2/repository/models/{name}_features/versions/2", content=graph)
    assert answer.status_code == 507 and "No space left" in answer.json()["error"]
    with pytest.raises(DataError, match="No space left"):
        Repository(models).add("fresh", {"model.onnx": b"x"}, "config")
    assert sorted(models.rglob("*")) == before
    monkeypatch.undo()
    assert client("PUT", f"/v2/repository/models/{name}_features/versions/2", content=graph).status_code == 201


def test_the_repository_is_checked(models: Path, name: str, nanoforge: Any) -> None:
    done = nanoforge("serve", models, "--check")
    assert done.returncode == 0, done.stderr
    assert f"{name} 1: takes" in done.stdout and f"{name}_features 1: takes" in done.stdout
    (models / name / "1" / "model.onnx").write_bytes(b"damaged")
    done = nanoforge("serve", models, "--check")
    assert done.returncode == 1 and "1 of 2 versions cannot be served" in done.stderr
    shutil.rmtree(models)
    models.mkdir()
    done = nanoforge("serve", models, "--check")
    assert done.returncode == 2 and "holds no model" in done.stderr


def test_the_description_is_beside_the_graph(models: Path, name: str) -> None:
    folder = models / f"{name}_features" / "1"
    assert sorted(p.name for p in folder.iterdir()) == ["analysis.yaml", "model.json", "model.onnx"]
    assert json.loads((folder / "model.json").read_text())["level"] == "features"
    with pytest.raises(UserError, match="no such folder"):
        serve(models / "none")
