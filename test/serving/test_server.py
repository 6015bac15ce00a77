"""The server: the protocol, versions that come and go, bad requests, and who may do what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from nanoforge.errors import UserError
from nanoforge.events.open import open_events
from nanoforge.serving.security import read_tokens
from nanoforge.serving.session import feeds, open_session
from nanoforge.serving.upload import examine
from nanoforge.stages.serve import serve
from serving.clients import Client, as_binary, as_json, rows, scores

READ, WRITE = "r" * 20, "w" * 20


def test_columns_of_events_get_the_scores_of_the_graph(client: Client, published: Path, name: str) -> None:
    described = client("GET", f"/v2/models/{name}").json()
    columns = [tensor["name"] for tensor in described["inputs"]]
    file = open_events(str(published / "signal.root"), "Events")
    chunk = next(iter(file.chunks(columns, 20)))
    session = open_session(published / "export" / "model.onnx")
    for feed in list(feeds(chunk, columns))[:20]:
        expected = session.run(["scores"], feed)[0]
        for asked in (as_json(feed), as_binary(feed, parameters={"binary_data_output": True})):
            np.testing.assert_allclose(scores(client("POST", f"/v2/models/{name}/infer", **asked)), expected, rtol=1e-6)


def test_any_split_of_rows_into_requests_gives_the_same_scores(
    client: Client, models: Path, name: str, infer: str
) -> None:
    tensors = rows(models, f"{name}_features", 100)
    whole = scores(client("POST", infer, **as_binary(tensors, parameters={"binary_data_output": True})))
    assert whole.shape == (100, 2) and len(np.unique(whole)) > 50
    bounds = [0, 1, 2, 30, 31, 95, 100]
    parts = [{n: v[a:b] for n, v in tensors.items()} for a, b in zip(bounds, bounds[1:])]
    answers = client.together(*(("POST", infer, as_json(part)) for part in parts))
    np.testing.assert_allclose(np.concatenate([scores(a) for a in answers]), whole, rtol=1e-6)
    one_by_one = [
        scores(client("POST", infer, **as_json({n: v[i : i + 1] for n, v in tensors.items()}))) for i in range(5)
    ]
    np.testing.assert_allclose(np.concatenate(one_by_one), whole[:5], rtol=1e-6)
    none = {n: v[:0] for n, v in tensors.items()}
    assert scores(client("POST", infer, **as_json(none))).shape == (0, 2)
    text = client("GET", "/metrics").text
    assert f'nanoforge_rows_total{{model="{name}_features"}} 205.0' in text


def test_what_the_protocol_has_besides(client: Client, name: str) -> None:
    assert client("GET", "/v2").json()["name"] == "nanoforge"
    assert client("GET", "/v2/health/live").status_code == client("GET", "/v2/health/ready").status_code == 200
    assert client("GET", f"/v2/models/{name}/versions/1/ready").json() == {"ready": True}
    index = client("POST", "/v2/repository/index").json()
    assert [(i["name"], i["version"], i["state"]) for i in index] == [
        (name, "1", "READY"),
        (f"{name}_features", "1", "READY"),
    ]
    assert "<title>" in client("GET", "/").text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["inputs"][0].update(datatype="FP64"), "FP64"),
        (lambda r: r["inputs"][0].update(name="evnt"), "did you mean 'event'"),
        (lambda r: r["inputs"].pop(), "is missing"),
        (lambda r: r["inputs"][0].update(shape=[-1, 7]), "is not a list of sizes"),
        (lambda r: r["inputs"][0].update(shape=[10**7, 7]), "numbers, and the shape has"),
        (lambda r: r["inputs"][0].update(data=[[1.0], [2.0, 3.0]]), "equal lengths"),
        (lambda r: r["inputs"][0].update(data=["a"]), "not numbers"),
        (lambda r: r["inputs"].append(r["inputs"][0]), "given twice"),
        (lambda r: r.update(outputs=[{"name": "score"}]), "did you mean 'scores'"),
        (lambda r: r.update(inputs=None), "'inputs' is no list"),
        (lambda r: r["inputs"][0]["data"].pop(), "numbers, and the shape has"),
        (lambda r: r["inputs"][0].update(parameters={"binary_data_size": 4}), "bytes"),
        (lambda r: r.update(parameters={"binary_data_output": "yes"}), "neither true nor false"),
    ],
)
def test_a_bad_request_gets_400_and_a_sentence(
    change: Any, words: str, client: Client, models: Path, name: str, infer: str
) -> None:
    asked = as_json(rows(models, f"{name}_features", 2))["json"]
    change(asked)
    answer = client("POST", infer, json=asked)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_other_bad_requests(client: Client, models: Path, name: str, infer: str) -> None:
    tensors = rows(models, f"{name}_features", 2)
    for body, header in (
        (b"{", None),
        (b"", None),
        (b'{"inputs": [NaN]}', None),
        (b"{}", "9"),
        (b"{}", "x"),
        (b"[]", "2"),
    ):
        headers = {} if header is None else {"Inference-Header-Content-Length": header}
        assert client("POST", infer, content=body, headers=headers).status_code == 400
    binary = as_binary(tensors)
    assert client("POST", infer, **binary | {"content": binary["content"][:-4]}).status_code == 400
    assert client("POST", infer, **binary | {"content": binary["content"] + b"1234"}).status_code == 400
    different = {n: v if i else v[:1] for i, (n, v) in enumerate(tensors.items())}
    assert "different numbers of rows" in client("POST", infer, **as_json(different)).json()["error"]
    assert client("POST", "/v2/models/nothing/infer", json={}).status_code == 404
    assert client("POST", f"/v2/models/{name}/versions/7/infer", json={}).status_code == 404
    assert client("GET", infer).status_code == 405
    gzip = binary["headers"] | {"content-encoding": "gzip"}
    assert client("POST", infer, **binary | {"headers": gzip}).status_code == 415
    assert client("GET", "/v2/models/../../etc/passwd").status_code == 404


def test_versions_come_and_go(client: Client, models: Path, name: str, infer: str) -> None:
    graph = (models / f"{name}_features" / "1" / "model.onnx").read_bytes()
    where = f"/v2/repository/models/{name}_features"
    assert client("PUT", f"{where}/versions/1", content=graph).status_code == 409
    answer = client("PUT", f"{where}/versions/3", content=graph)
    assert answer.status_code == 201, answer.text
    assert client("GET", f"/v2/models/{name}_features").json()["versions"] == ["1", "3"]
    asked = as_json(rows(models, f"{name}_features", 2))
    assert client("POST", infer, **asked).json()["model_version"] == "3"
    assert client("DELETE", f"{where}/versions/3").status_code == 200
    assert client("POST", infer, **asked).json()["model_version"] == "1"
    assert client("DELETE", f"{where}/versions/3").status_code == 404
    assert client("POST", f"{where}/unload").status_code == 200
    assert client("POST", infer, **asked).status_code == 404
    assert client("GET", "/v2/health/ready").status_code == 200  # it was unloaded by command
    assert client("POST", f"{where}/load").status_code == 200
    assert client("POST", infer, **asked).status_code == 200


def test_a_broken_version_keeps_the_others(client: Client, models: Path, name: str, infer: str) -> None:
    folder = models / f"{name}_features" / "2"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"no graph")
    client.loop.run_until_complete(client._app.state.engine.refresh())
    assert client("POST", infer, **as_json(rows(models, f"{name}_features", 1))).json()["model_version"] == "1"
    index = {(i["name"], i["version"]): i for i in client("POST", "/v2/repository/index").json()}
    assert index[f"{name}_features", "2"]["state"] == "UNAVAILABLE" and index[f"{name}_features", "2"]["reason"]
    assert client("GET", "/v2/health/ready").status_code == 503


def outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def outside_in_an_attribute(model: onnx.ModelProto) -> None:
    outside(model)
    tensor = onnx.TensorProto()
    tensor.CopyFrom(model.graph.initializer[0])
    model.graph.initializer[0].data_location = onnx.TensorProto.DEFAULT
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["outside"], value=tensor))


def function(model: onnx.ModelProto, domain: str) -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"], domain=domain if domain == "com.inner" else "")
    opsets = [onnx.helper.make_opsetid("", 17)]
    where = "" if domain == "com.inner" else domain
    model.functions.append(onnx.helper.make_function(where, "Mine", ["x"], ["y"], [node], opsets))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (None, "no ONNX model"),
        (lambda m: m.metadata_props.pop(), "no description"),
        (lambda m: setattr(m, "ir_version", 11), "IR 11"),
        (lambda m: setattr(m.opset_import[0], "version", 21), "opset 21"),
        (lambda m: m.opset_import.add(domain="com.example", version=1), "com.example"),
        (lambda m: setattr(m.graph.node[0], "domain", "com.example"), "com.example"),
        (lambda m: setattr(m.graph.node[0], "op_type", "NoSuchOperator"), "NoSuchOperator"),
        (lambda m: function(m, "com.example"), "com.example"),
        (lambda m: function(m, "com.inner"), "com.inner"),
        (outside, "outside of the file"),
        (outside_in_an_attribute, "outside of the file"),
        (lambda m: m.graph.ClearField("output"), "no ONNX model|cannot be used"),
    ],
)
def test_uploads_of_something_else_are_refused(
    change: Any, words: str, models: Path, name: str, tmp_path: Path
) -> None:
    model = onnx.load(models / f"{name}_features" / "1" / "model.onnx")
    if change is not None:
        change(model)
    (tmp_path / "model.onnx").write_bytes(b"not a model" if change is None else model.SerializeToString())
    error = str(examine(tmp_path / "model.onnx", "new")["error"])
    assert any(word in error for word in words.split("|")), error


def test_what_no_upload_gets_by_with(client: Client, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (
        "a%20b/versions/1",
        "..%2fx/versions/1",
        "new/versions/0",
        "new/versions/-1",
        f"{'n' * 65}/versions/1",
    ):
        answer = client("PUT", f"/v2/repository/models/{path}", content=b"x")
        assert answer.status_code in (400, 404) and answer.json()["error"], path
    large = client("PUT", "/v2/repository/models/new/versions/1", content=b" " * 16_000_001)
    assert large.status_code == 413
    nothing = client("PUT", "/v2/repository/models/new/versions/1", content=b"not a model")
    assert nothing.status_code == 422 and "no ONNX model" in nothing.json()["error"]
    monkeypatch.setattr("nanoforge.serving.upload.SECONDS", 0.01)
    slow = client("PUT", "/v2/repository/models/new/versions/1", content=b"x")
    assert slow.status_code == 422 and "within" in slow.json()["error"]
    assert not (models / "new").exists()


def test_who_may_do_what(models: Path, name: str, infer: str) -> None:
    client = Client(models, tokens={READ: "read", WRITE: "write"}, max_body=5000)
    reader, writer = ({"authorization": f"Bearer {token}"} for token in (READ, WRITE))
    asked = as_json(rows(models, f"{name}_features", 1))
    unload = f"/v2/repository/models/{name}/unload"
    assert client("POST", infer, **asked).status_code == 401
    assert client("POST", infer, headers={"authorization": "Bearer guess"}, **asked).status_code == 401
    assert client("POST", infer, headers=reader, **asked).status_code == 200
    assert client("GET", "/v2/health/live").status_code == 200
    assert client("POST", unload, headers=reader).status_code == 403
    assert client("POST", unload, headers=writer).status_code == 200
    many = as_json(rows(models, f"{name}_features", 200))
    assert client("POST", infer, headers=reader, **many).status_code == 413

    async def in_pieces() -> Any:
        for _ in range(10):
            yield b" " * 1000

    assert client("POST", infer, headers=reader, content=in_pieces()).status_code == 413
    assert client("GET", "/v2", headers=reader | {"host": "evil.example"}).status_code == 403
    client.close()
    client = Client(models, read_only=True)
    assert client("POST", unload).status_code == 403
    client.close()


def test_tokens_are_read_and_others_do_not_see_them(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"# ours\nread {READ}\nwrite {WRITE}\n")
    with pytest.raises(UserError, match="others can read it: chmod 600"):
        read_tokens(path)
    path.chmod(0o600)
    assert read_tokens(path) == {READ: "read", WRITE: "write"}
    for wrong in ("", "read short\n", f"admin {READ}\n"):
        path.write_text(wrong)
        with pytest.raises(UserError, match="token"):
            read_tokens(path)


def test_nothing_is_open_to_others_by_accident(models: Path) -> None:
    with pytest.raises(UserError, match="other machines can reach this"):
        serve(models, host="0.0.0.0")
    with pytest.raises(UserError, match="no such folder"):
        serve(models / "none")
