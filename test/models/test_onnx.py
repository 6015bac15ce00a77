"""ONNX files: what they say of themselves, and that they agree with the model at every size."""

from __future__ import annotations

import json

import numpy as np
import old_runtime
import onnx
import onnxruntime
import pytest
import torch
from nanoforge.errors import DataError
from nanoforge.models import onnx as exporter
from nanoforge.models import tracing
from nanoforge.models.base import score
from nanoforge.models.onnx import export_onnx
from specimens import INPUTS, NETWORKS, make_inputs, make_model


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def exported(request, tmp_path_factory):
    model, path = make_model(request.param), tmp_path_factory.mktemp(request.param) / "model.onnx"
    worst = export_onnx(model, path, {"config_sha256": "abc"}, make_inputs(20))
    return model, path, worst


def test_the_file_describes_itself(exported):
    _, path, worst = exported
    graph = onnx.load(path)
    assert graph.ir_version == 8 and [o.version for o in graph.opset_import] == [18]
    metadata = {p.key: p.value for p in graph.metadata_props}
    assert metadata["config_sha256"] == "abc" and json.loads(metadata["outputs"]) == ["a", "b", "c"]
    assert json.loads(metadata["features"])["jets"] == ["pt", "eta", "phi", "mass"]
    assert json.loads(metadata["lengths"]) == {"jets": 5, "muons": 2}
    assert float(metadata["parity"]) == pytest.approx(worst, rel=0.1, abs=1e-9) and worst <= 1e-5


def sizes(model):
    """Rows of many numbers and, where the model leaves them free, lengths; (rows, columns)."""
    fixed = model.spec.network["type"] == "mlp"
    for rows in (0, 1, 2, 64):
        for jets, muons in [(5, 2)] if fixed else [(5, 2), (1, 1), (1, 2), (9, 4), (0, 3)]:
            inputs = INPUTS | {n: type(INPUTS[n])(INPUTS[n].features, k) for n, k in (("jets", jets), ("muons", muons))}
            yield rows, {name: v.astype("f4") for name, v in make_inputs(rows, inputs, seed=rows).items()}


def test_it_agrees_at_every_size(exported):
    model, path, _ = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert tuple(i.name for i in session.get_inputs()) == model.spec.graph_inputs
    assert {i.type for i in session.get_inputs()} == {"tensor(float)"}
    for rows, columns in sizes(model):
        found = session.run(["scores"], columns)[0]
        assert found.shape == (rows, 3)
        assert found == pytest.approx(score(model, columns), abs=1e-5)


def test_the_runtime_of_cmssw_agrees_at_every_size(exported):
    model, path, _ = exported
    feeds = [columns for _, columns in sizes(model)]
    for (found,), columns in zip(old_runtime.run(path, feeds), feeds):
        assert found.shape == (len(columns["event"]), 3)
        assert found == pytest.approx(score(model, columns), abs=1e-5)


def test_equally_near_neighbours_are_chosen_alike(exported):
    model, path, _ = exported
    columns = {name: values.astype("f4") for name, values in make_inputs(50).items()}
    columns["jets"][..., 1] = np.round(columns["jets"][..., 1])
    columns["jets"][..., 2] = np.round(columns["jets"][..., 2])
    found = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["scores"], columns)[0]
    assert found == pytest.approx(score(model, columns), abs=1e-5)


def test_nothing_is_printed(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tracing, "_PROGRAMS", {})  # it is traced once more
    export_onnx(make_model("mlp"), tmp_path / "model.onnx", {})
    assert capfd.readouterr() == ("", "")


def test_the_next_fold_is_not_traced_again_and_has_its_own_values(tmp_path, monkeypatch):
    first, second = make_model("deepsets"), make_model("deepsets")
    export_onnx(first, tmp_path / "first.onnx", {})
    with torch.no_grad():
        for number, value in enumerate(second.state_dict().values()):
            value.add_(0.1 + number / 100)
    monkeypatch.setattr(torch.onnx, "export", None)
    export_onnx(second, tmp_path / "second.onnx", {})
    columns = {name: values.astype("f4") for name, values in make_inputs(50).items()}
    for model, name in ((first, "first"), (second, "second")):
        session = onnxruntime.InferenceSession(tmp_path / f"{name}.onnx", providers=["CPUExecutionProvider"])
        assert session.run(["scores"], columns)[0] == pytest.approx(score(model, columns), abs=1e-5)
    assert np.abs(score(first, columns) - score(second, columns)).max() > 0.1


def test_a_regression_gives_all_its_outputs(tmp_path):
    model = make_model("mlp", "regression", ("mass", "pt"), loss={"type": "gaussian"})
    model.set_normalisation("target", np.array([91.0, 45.0]), np.array([2.5, 10.0]))
    assert export_onnx(model, tmp_path / "model.onnx", {}) <= 1e-5
    metadata = {p.key: p.value for p in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert json.loads(metadata["outputs"]) == ["mass", "mass_sigma", "pt", "pt_sigma"]


@pytest.fixture(scope="module")
def traced():
    return tracing._trace(make_model("mlp"), free=False)


def test_a_graph_that_disagrees_is_not_written(traced, tmp_path, monkeypatch):
    model = make_model("mlp")
    monkeypatch.setattr(tracing, "_trace", lambda *_, **__: traced)
    with torch.no_grad():
        model.network.head.bias += 1 * torch.arange(3)
    with pytest.raises(DataError, match="differs from the model"):
        export_onnx(model, tmp_path / "model.onnx", {})
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("shift", [1.0, np.nan])
def test_real_rows_are_checked_too(traced, tmp_path, monkeypatch, shift):
    model, columns = make_model("mlp"), make_inputs(7)
    monkeypatch.setattr(exporter, "score", lambda m, rows: score(m, rows) + (shift if len(rows["event"]) == 7 else 0))
    with pytest.raises(DataError, match=r"differs from the model by .* in 7 row\(s\)"):
        exporter._check_parity(
            model, traced, onnxruntime.InferenceSession(traced.SerializeToString()), columns, tmp_path / "model.onnx"
        )
