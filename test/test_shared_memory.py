"""Shared memory that is full, or not to be written, as in many a container: trainings need none, more processes do."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any, Callable

import pytest
import toys
import yaml
from datasets import make_analysis, write_dataset
from nanoforge.config import load

SHARED_MEMORY = Path("/dev/shm")
NEW_MOUNTS, NEW_USER = 0x20000, 0x10000000
PRIVATE, READ_ONLY = 0x44000, 1


class UnavailableError(Exception):
    """Nothing can be mounted here."""


def mount(kind: str, place: Path, flags: int, options: str = "") -> None:
    words = (kind.encode(), str(place).encode(), kind.encode(), flags, options.encode())
    if ctypes.CDLL(None, use_errno=True).mount(*words):
        raise UnavailableError(os.strerror(ctypes.get_errno()))


def have_mounts() -> None:
    """Let this process have mounts that no other one sees."""
    user, group = os.geteuid(), os.getegid()
    if ctypes.CDLL(None).unshare(NEW_MOUNTS | (NEW_USER if user else 0)):
        raise UnavailableError("a process cannot have mounts of its own")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    mount("none", Path("/"), PRIVATE)


def replace_shared_memory(how: str) -> None:
    mount("tmpfs", SHARED_MEMORY, READ_ONLY if how == "read-only" else 0, "size=64k")
    if how == "full":
        (SHARED_MEMORY / "everything").write_bytes(bytes(1 << 16))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two analyses: train.yaml has a dataset, convert.yaml has files. Models are not exported, which takes seconds."""
    monkeypatch.setattr("nanoforge.stages.train.export_onnx", lambda model, path, metadata: path.write_text("graph"))
    monkeypatch.setattr("nanoforge.training.trackers.mlflow._log_model", lambda *_: None)
    training = {"epochs": 1, "workers": 2, "in_memory": "never"}
    content = make_analysis(training=training, model={"type": "mlp", "hidden": [4]}).model_dump(mode="json")
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(content))
    write_dataset(tmp_path / "data", load(tmp_path / "train.yaml"))
    for number in range(2):
        toys.write(tmp_path / f"{number}.root", toys.nano_events(10, first=10 * number))
    content = {
        "name": "two",
        "samples": {"all": {"files": "*.root"}},
        "inputs": {"event": {"features": ["MET_pt"]}},
        "target": {"regression": {"met": "MET_pt"}},
    }
    (tmp_path / "convert.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def test_a_training_goes_on_and_worker_processes_name_it(project: Path, nanoforge: Callable[..., Any]) -> None:
    def work() -> None:
        answers: dict[str, Any] = {}
        try:
            have_mounts()
            for how in ("full", "read-only"):
                replace_shared_memory(how)
                trained = nanoforge("train", "train.yaml", "--data", "data", "-o", how)
                converted = nanoforge("convert", "convert.yaml", "-j", 2)
                answers[how] = [(answer.returncode, answer.stderr) for answer in (trained, converted)]
        except (UnavailableError, OSError) as error:
            answers = {"unavailable": str(error)}
        (project / "answers.json").write_text(json.dumps(answers))

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    answers = json.loads((project / "answers.json").read_text())
    if "unavailable" in answers:
        pytest.skip(f"no shared memory of its own: {answers['unavailable']}")
    for how, ((trained, telling), (converted, said)) in answers.items():
        assert trained == 0, telling
        assert (project / how / "mlflow.db").exists()
        assert (converted, said.count("error: "), said.count("Traceback")) == (1, 1, 0), said
        assert "no worker processes can be started" in said and "/dev/shm" in said
