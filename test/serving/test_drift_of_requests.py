"""A server counts what it scores in the bins of the training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nanoforge.dataset.info import InputInfo
from nanoforge.distributions.reference import Distributions, Reference, count_reference
from nanoforge.distributions.variable import LENGTH, RowValues, Variable
from nanoforge.provenance import Manifest
from nanoforge.serving.session import open_session
from nanoforge.serving.watch import RowWatch
from serving.clients import Client, as_binary, as_json, rows, value_of


@pytest.fixture
def watched(models: Path, published: Path, name: str) -> Path:
    """The repository with the distributions of some rows beside the model of features, and the run, too."""
    spec = Manifest.read(published / "run", "train").details["spec"]
    inputs = {n: InputInfo.from_dict(info) for n, info in spec["inputs"].items()}
    folder = models / f"{name}_features" / "1"
    tensors = rows(models, f"{name}_features", 4000, seed=1)
    scores = open_session(folder / "model.onnx").run(["scores"], tensors)[0]
    part = RowValues(tensors, scores, np.ones(4000), np.arange(4000) % 2)
    counted = count_reference([part], inputs, spec["targets"], 2, {})
    reference = Reference(counted, {n: (2000, 2000.0) for n in spec["targets"]}, 1.0)
    reference.write(folder / "reference.json")
    return models


def send(client: Client, models: Path, name: str, number: int, seed: int, shift: float = 0.0) -> None:
    tensors = rows(models, f"{name}_features", number, seed)
    tensors["event"] = tensors["event"] + np.float32(shift)
    assert client("POST", f"/v2/models/{name}_features/infer", **as_binary(tensors)).status_code == 200


def test_rows_are_counted_and_drift_is_named(watched: Path, name: str) -> None:
    client = Client(watched)
    path = f"/v2/models/{name}_features/drift"
    for seed in range(40):
        send(client, watched, name, 50, seed + 2)
    answer = client("GET", path).json()
    assert answer["rows"] == 2000 and answer["version"] == "1" and answer["state"] == "ok"
    assert client("GET", f"/v2/models/{name}/versions/1/drift").json()["filled"] == answer["filled"]
    filled = Distributions.from_dict(answer["filled"])
    sent = [rows(watched, f"{name}_features", 50, seed + 2) for seed in range(40)]
    lengths = np.concatenate([tensors["jets_mask"].sum(axis=1) for tensors in sent])
    one = filled[Variable(LENGTH, "jets", "")]
    cells = np.searchsorted(one.binning.edges, lengths, side="right")
    np.testing.assert_array_equal(one.counts.bins[0], np.bincount(cells, minlength=len(one.binning.edges) + 1))
    for seed in range(40):
        send(client, watched, name, 100, seed, shift=60.0)
    answer = client("GET", path).json()
    assert answer["state"] == "alarm" and answer["variables"][0]["name"].startswith("event.")
    assert any("PSI" in reason for reason in answer["variables"][0]["reasons"])
    assert f'nanoforge_drift{{model="{name}_features",variable="event.' in client("GET", "/metrics").text
    client.close()


def test_of_large_batches_some_rows_stand_for_all(watched: Path, name: str) -> None:
    client = Client(watched)
    send(client, watched, name, 3000, 3)
    send(client, watched, name, 7, 4)
    filled = Distributions.from_dict(client("GET", f"/v2/models/{name}/drift").json()["filled"])
    assert filled.rows < 100
    one = filled[Variable(LENGTH, "jets", "")].counts
    assert one.total[0] == pytest.approx(3007)
    client.close()


def test_events_are_counted_too_and_lists_may_have_any_length(watched: Path, name: str) -> None:
    client = Client(watched)
    tensors = rows(watched, f"{name}_features", 4)
    longer = {n: np.repeat(v, 2, axis=1) if n.startswith("jets") else v for n, v in tensors.items()}
    for one in (tensors, longer):
        answer = client("POST", f"/v2/models/{name}_features/infer", **as_json(one))
        assert answer.status_code == 200 or one is longer, answer.text
    described = client("GET", f"/v2/models/{name}").json()["parameters"]["inputs"]
    event = {column["name"]: value_of(column) for column in described} | {"run": 1, "luminosityBlock": 1, "event": 1}
    headers = {"Content-Type": "application/x-ndjson"}
    before = client("GET", f"/v2/models/{name}/drift").json()["rows"]
    done = client("POST", f"/v2/models/{name}/events", content=json.dumps(event).encode(), headers=headers)
    assert done.status_code == 200, done.text
    assert client("GET", f"/v2/models/{name}/drift").json()["rows"] == before + 1
    client.close()


def test_without_the_distributions_of_the_training_there_is_no_drift(client: Client, name: str) -> None:
    answer = client("GET", f"/v2/models/{name}/drift")
    assert answer.status_code == 404 and "came without reference.json" in answer.json()["error"]
    assert client("GET", "/v2/models/nothing/drift").status_code == 404


def test_a_damaged_reference_is_said(watched: Path, name: str) -> None:
    (watched / f"{name}_features" / "1" / "reference.json").write_text('{"version": 1}')
    client = Client(watched)
    index = {item["name"]: item for item in client("POST", "/v2/repository/index").json()}
    assert "reference.json" in index[f"{name}_features"]["reason"]
    client.close()


def test_monitor_reads_a_server(
    watched: Path,
    published: Path,
    name: str,
    nanoforge: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    client = Client(watched)
    for seed in range(20):
        send(client, watched, name, 60, seed, shift=100.0)
    answer = client("GET", f"/v2/models/{name}/drift")
    client.close()
    monkeypatch.setattr("nanoforge.stages.monitor.Connection.ask", lambda *_: (answer.content, answer.headers))
    reference = watched / f"{name}_features" / "1" / "reference.json"
    (published / "run" / "fold0" / "reference.json").write_bytes(reference.read_bytes())
    done = nanoforge("monitor", published / "run", "--url", "http://127.0.0.1:1", "--fail")
    (published / "run" / "fold0" / "reference.json").unlink()
    assert done.returncode == 3, done.stderr
    content = json.loads((tmp_path / "monitoring" / "monitor.json").read_text())
    assert content["rows"] == 1200 and content["variables"][0]["name"].startswith("event.")


def test_workers_count_together(watched: Path, name: str, tmp_path: Path) -> None:
    """Each of them knows what the others had counted when they last said so, also one that came and went."""
    reference = watched / f"{name}_features" / "1" / "reference.json"
    session = open_session(reference.with_name("model.onnx"))

    def count(watch: RowWatch, number: int) -> None:
        tensors = rows(watched, f"{name}_features", number, seed=number)
        watch.add(tensors, session.run(["scores"], tensors)[0])

    one, other, alone = (RowWatch(reference) for _ in range(3))
    for watch in (one, other):
        watch.share(tmp_path, "5ca1ab1e")
    count(one, 30)
    count(other, 20)
    count(alone, 7)
    assert one.content()["rows"] == 30
    other.publish()
    other.publish()
    assert one.content()["rows"] == 50 and other.content()["rows"] == 20
    one.publish()
    del one
    assert other.content()["rows"] == 50 and alone.content()["rows"] == 7
    newcomer = RowWatch(reference)
    newcomer.share(tmp_path, "5ca1ab1e")
    assert newcomer.content()["rows"] == 50
