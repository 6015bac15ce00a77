"""Requests that nobody meant to send: each is refused with a sentence, and the server goes on answering."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving.clients import Client, as_binary, as_json, rows, scores, value_of

quick = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), database=None)
WORDS = st.sampled_from(
    ["event", "jets", "jets_mask", "scores", "FP32", "FP64", "BYTES", "binary_data_size", "data", "shape", "parameters"]
)
SIZES = st.sampled_from([-1, 0, 1, 2, 7, 2**31, 2**63 - 1, 2**64 - 1, 10**30])
SCALARS = st.none() | st.booleans() | SIZES | st.floats() | st.text(max_size=8) | WORDS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(WORDS | st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NUMBERS = st.sampled_from(["0", "1", "9", "-1", "1.5", "9" * 5000, "٣", "x", "", "1e3"])


class Server:
    """The server, whose good answers are looked at beside every bad one."""

    def __init__(self, folder: Path, name: str) -> None:
        self.client, self.name = Client(folder), name
        self.infer = f"/v2/models/{name}_features/infer"
        self.tensors = rows(folder, f"{name}_features", 2)
        self.expected = scores(self.client("POST", self.infer, **as_json(self.tensors)))

    def refuses(self, method: str, path: str, *, good: bool = False, **how: Any) -> Any:
        """Send a request beside a good one; what is not good gets 4xx and a sentence."""
        fine = "POST", self.infer, as_json(self.tensors)
        bad, answer = self.client.together((method, path, how), fine)
        np.testing.assert_allclose(scores(answer), self.expected, rtol=1e-5)
        if bad.status_code == 200:
            return bad
        assert 400 <= bad.status_code < 500, (bad.status_code, bad.text)
        (error,) = bad.json().values()
        assert error and "\n" not in error and "Traceback" not in error and len(error) < 1000, error
        assert not good, error
        return bad


@pytest.fixture(scope="module")
def server(published: Path, name: str) -> Iterator[Server]:
    server = Server(published / "models", name)
    yield server
    server.client.close()


@st.composite
def changes(draw: Callable[..., Any]) -> Callable[[Any], Any]:
    """Replace, remove or repeat something, somewhere in a tree of JSON."""
    steps, value = draw(st.lists(st.integers(0, 6), min_size=1, max_size=4)), draw(VALUES)
    how = draw(st.sampled_from(["replace", "remove", "repeat"]))

    def change(tree: Any) -> Any:
        content = {"root": tree}
        at: Any = content
        key: Any = "root"
        for step in steps:
            inner = at[key]
            if not isinstance(inner, (dict, list)) or not inner:
                break
            at, key = inner, list(inner)[step % len(inner)] if isinstance(inner, dict) else step % len(inner)
        if how == "repeat" and isinstance(at, list):
            at.append(at[key])
        elif how == "remove" and at is not content:
            del at[key]
        else:
            at[key] = value
        return content["root"]

    return change


def encoded(content: Any) -> bytes:
    return json.dumps(content).encode("utf-8", "surrogatepass")


@quick
@given(several=st.lists(changes(), min_size=1, max_size=3))
def test_changed_json(server: Server, several: list[Callable[[Any], Any]]) -> None:
    content = as_json(server.tensors, id="x", outputs=[{"name": "scores"}])["json"]
    for change in several:
        content = change(content)
    server.refuses("POST", server.infer, content=encoded(content))


@quick
@given(change=changes(), size=NUMBERS, cut=st.integers(0, 400), tail=st.binary(max_size=8), exact=st.booleans())
def test_changed_binary(
    server: Server, change: Callable[[Any], Any], size: str, cut: int, tail: bytes, exact: bool
) -> None:
    whole = as_binary(server.tensors)
    length = int(whole["headers"]["Inference-Header-Content-Length"])
    head = encoded(change(json.loads(whole["content"][:length])))
    body = head + whole["content"][length:][cut:] + tail
    number = str(len(head)) if exact else size
    server.refuses("POST", server.infer, content=body, headers={b"Inference-Header-Content-Length": number.encode()})


@quick
@given(
    body=st.binary(max_size=60) | VALUES.map(encoded),
    path=st.sampled_from(["infer", "versions/1/infer", "versions/9/infer", "events", "drift", "analysis", "ready", ""]),
    method=st.sampled_from(["POST", "GET", "PUT", "DELETE", "PATCH"]),
    headers=st.dictionaries(
        st.sampled_from([b"Accept", b"Content-Type", b"Content-Encoding", b"Content-Length", b"Authorization"]),
        st.binary(max_size=12).filter(lambda b: b.isascii() and b.decode("latin-1").isprintable()),
        max_size=3,
    ),
    columns=st.booleans(),
)
def test_anything_anywhere(
    server: Server, body: bytes, path: str, method: str, headers: dict[bytes, bytes], columns: bool
) -> None:
    model = server.name if columns else f"{server.name}_features"
    server.refuses(method, f"/v2/models/{model}/{path}".rstrip("/"), content=body, headers=headers)


@quick
@given(change=changes(), lengths=st.lists(st.integers(0, 4), min_size=12, max_size=12))
def test_columns_of_one_event(server: Server, change: Callable[[Any], Any], lengths: list[int]) -> None:
    path = f"/v2/models/{server.name}"
    inputs = server.client("GET", path).json()["inputs"]
    tensors = {
        item["name"]: np.ones([1] if len(item["shape"]) == 1 else [1, length], "f4")
        for item, length in zip(inputs, np.resize(lengths, len(inputs)))
    }
    server.refuses("POST", f"{path}/infer", **as_json(tensors))
    server.refuses("POST", f"{path}/infer", content=encoded(change(as_json(tensors)["json"])))


COLUMN = (
    st.lists(st.none() | st.integers(-5, 2**40), min_size=3, max_size=3)
    | st.lists(st.none() | st.floats(width=32), min_size=3, max_size=3)
    | st.lists(st.none() | st.lists(st.none() | st.floats(width=32), max_size=3), min_size=3, max_size=3)
    | st.lists(st.lists(st.lists(st.integers(0, 3), max_size=2), max_size=2), min_size=3, max_size=3)
    | st.lists(st.text(max_size=3), min_size=3, max_size=3)
    | st.lists(st.booleans(), min_size=3, max_size=3)
)
KINDS = ("application/x-ndjson", "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet")


@quick
@given(
    kind=st.sampled_from(KINDS), replaced=st.dictionaries(st.integers(0, 9), COLUMN, max_size=3), cut=st.integers(-9, 0)
)
def test_tables_of_events(server: Server, kind: str, replaced: dict[int, list[Any]], cut: int) -> None:
    described = server.client("GET", f"/v2/models/{server.name}").json()["parameters"]["inputs"]
    columns: dict[str, Any] = {i["name"]: [value_of(i)] * 3 for i in described}
    columns |= {"run": [1] * 3, "luminosityBlock": [1] * 3, "event": [1, 2, 3]}
    for number, values in replaced.items():
        columns[list(columns)[number % len(columns)]] = values
    try:
        table = pa.table(columns)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # no table
        return
    sink = io.BytesIO()
    if kind == KINDS[0]:
        sink.write(b"".join(encoded(row) + b"\n" for row in table.to_pylist()))
    elif kind == KINDS[1]:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        pq.write_table(table, sink)
    body = sink.getvalue()[: cut or None]
    server.refuses("POST", f"/v2/models/{server.name}/events", content=body, headers={"Content-Type": kind})


@pytest.mark.parametrize("number", ["0", "01", "-1", "1.0", "٣", "9" * 5000, "1e1", "%00", "..", "x" * 300])
def test_versions_that_are_none(server: Server, number: str) -> None:
    name = f"{server.name}_features"
    assert server.refuses("POST", f"/v2/models/{name}/versions/{number}/infer", content=b"{}").status_code in (
        400,
        404,
        405,
    )
    for method in ("PUT", "DELETE"):
        answer = server.refuses(method, f"/v2/repository/models/{name}/versions/{number}", content=b"")
        assert answer.status_code in (400, 404, 405)


def test_a_length_of_thousands_of_digits_is_too_large(server: Server) -> None:
    headers = {b"Content-Length": b"9" * 5000}
    assert server.refuses("POST", server.infer, content=b"{}", headers=headers).status_code == 413


def test_a_request_that_the_model_fails_on_spoils_no_other(server: Server) -> None:
    """Lists and their mask that do not fit are refused before they wait with others."""
    tensors = {name: values[:, :1] if name.endswith("_mask") else values for name, values in server.tensors.items()}
    assert any(name.endswith("_mask") for name in tensors)
    assert "its lists have" in server.refuses("POST", server.infer, **as_json(tensors)).json()["error"]
