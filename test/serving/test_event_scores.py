"""Raw events: what the server answers is what predict writes for a file of the same content."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import awkward as ak
import hits as detector
import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nanoforge.stages.export import export, publish
from nanoforge.stages.predict import predict
from serving.clients import Client
from stages.test_export import EVENTS, FOLDED, JETS, untrained

JSON_LINES, ARROW, PARQUET = "application/x-ndjson", "application/vnd.apache.arrow.stream", "application/x-parquet"


def table_of(path: Path, entries: int | None = None) -> pa.Table:
    with uproot.open(path) as file:
        names = [n for n, b in file["Events"].items() if "char" not in b.typename]
        arrays = file["Events"].arrays(names, entry_stop=entries)
    columns = {n: ak.to_arrow(arrays[n], extensionarray=False, list_to32=True) for n in names}
    return pa.table(columns)


def body_of(table: pa.Table, kind: str) -> bytes:
    if kind == JSON_LINES:
        return b"".join(json.dumps(row).encode() + b"\n" for row in table.to_pylist())
    sink = pa.BufferOutputStream()
    if kind == ARROW:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=70)
    else:
        pa.parquet.write_table(table, sink, row_group_size=90)
    return sink.getvalue().to_pybytes()


def table_in(answer: Any) -> pa.Table:
    assert answer.status_code == 200, answer.text
    kind = answer.headers["content-type"]
    if kind == JSON_LINES:
        return pa.Table.from_pylist([json.loads(line) for line in answer.text.splitlines()])
    if kind == ARROW:
        return pa.ipc.open_stream(answer.content).read_all()
    return pa.parquet.read_table(pa.BufferReader(answer.content))


def assert_same(one: pa.Table, other: pa.Table) -> None:
    assert one.column_names == other.column_names and len(one) == len(other)
    for column in one.column_names:
        left, right = (ak.from_arrow(t[column]) for t in (one, other))
        assert left.ndim == right.ndim
        if left.ndim > 1:
            assert ak.num(left).to_list() == ak.num(right).to_list()
        left, right = (np.asarray(ak.to_numpy(ak.flatten(a, axis=None)), "f8") for a in (left, right))
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5, err_msg=column)


@pytest.mark.parametrize("kind", [JSON_LINES, ARROW, PARQUET])
def test_the_scores_are_those_of_predict(kind: str, client: Client, published: Path, name: str, tmp_path: Path) -> None:
    table = table_of(published / "signal.root", 300)
    predict(published / "run", [str(published / "signal.root")], tmp_path / "friends", format="parquet")
    expected = pa.parquet.read_table(tmp_path / "friends" / "signal.parquet").slice(0, 300)
    body, path = body_of(table, kind), f"/v2/models/{name}/events"
    answer = client("POST", path, content=body, headers={"content-type": kind})
    assert_same(table_in(answer), expected)
    assert len(set(expected[f"{name}_signal"].to_pylist())) > 50 and -1 in expected[f"{name}_signal"].to_pylist()
    as_parquet = client("POST", path, content=body, headers={"content-type": kind, "accept": PARQUET})
    assert_same(table_in(as_parquet), expected)
    assert f'nanoforge_rows_total{{model="{name}"}} 600.0' in client("GET", "/metrics").text


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 60), max_size=6))
def test_any_split_of_the_events_gives_the_same_scores(
    cuts: list[int], client: Client, published: Path, name: str
) -> None:
    table = table_of(published / "signal.root", 60)
    path, headers = f"/v2/models/{name}/events", {"content-type": ARROW}
    bounds = [0, *sorted(cuts), 60]
    parts = [body_of(table.slice(a, b - a).combine_chunks(), ARROW) for a, b in zip(bounds, bounds[1:])]
    answers = client.together(*(("POST", path, {"content": part, "headers": headers}) for part in parts))
    whole = table_in(client("POST", path, content=body_of(table, ARROW), headers=headers))
    assert_same(pa.concat_tables([table_in(answer) for answer in answers]), whole)


@pytest.mark.parametrize("blocks", [(JETS,), (EVENTS, FOLDED), (detector.PHOTONS,)], ids=["objects", "folds", "images"])
def test_objects_folds_and_images(blocks: Any, tmp_path: Path) -> None:
    run = untrained(tmp_path, *blocks)
    if blocks == (detector.PHOTONS,):
        detector.write(tmp_path, 60, ("signal", "background"))
    export(run, tmp_path / "export", fold="by-event" if len(blocks) > 1 else None)
    publish(run, tmp_path / "export", tmp_path / "models", fold="by-event" if len(blocks) > 1 else None)
    predict(run, [str(tmp_path / "signal.root")], tmp_path / "friends", format="parquet")
    expected = pa.parquet.read_table(tmp_path / "friends" / "signal.parquet")
    client = Client(tmp_path / "models")
    name = json.loads((tmp_path / "export" / "model.json").read_text())["name"]
    body = body_of(table_of(tmp_path / "signal.root"), PARQUET)
    answer = client("POST", f"/v2/models/{name}/versions/1/events", content=body, headers={"content-type": PARQUET})
    assert_same(table_in(answer), expected)
    client.close()


def compressed(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def misled() -> bytes:
    """A list whose offsets lead out of its values."""
    whole = body_of(pa.table({"Jet_pt": pa.array([[1.0], [2.0]], pa.list_(pa.float32()))}), ARROW)
    offsets, wrong = (np.array(values, "i4").tobytes() for values in ([0, 1, 2], [0, 1, 10**6]))
    assert offsets in whole
    return whole.replace(offsets, wrong)


@pytest.mark.parametrize(
    ("kind", "body", "code", "words"),
    [
        ("text/plain", lambda t: b"", 415, "events come as"),
        (JSON_LINES, lambda t: b"", 400, "no table"),
        (JSON_LINES, lambda t: b"{", 400, "no table"),
        (JSON_LINES, lambda t: b'{"MET_pt": 1}\n', 400, "no collection|no column"),
        (JSON_LINES, lambda t: b"{}\n" * 1_000_001, 413, "send fewer"),
        (ARROW, lambda t: b"ARROW1", 400, "no table"),
        (ARROW, lambda t: body_of(t, ARROW)[:-500], 400, "no table"),
        (ARROW, lambda t: compressed(t), 400, "send them plain"),
        (ARROW, lambda t: misled(), 400, "no table"),
        (PARQUET, lambda t: b"PAR1PAR1", 400, "no table"),
        (PARQUET, lambda t: body_of(t.drop_columns(["Jet_pt"]), PARQUET), 400, "Jet_pt"),
        (PARQUET, lambda t: body_of(pa.table({"x": np.zeros(2_000_000, "?")}), PARQUET), 413, "send fewer"),
    ],
)
def test_bad_events(kind: str, body: Any, code: int, words: str, client: Client, published: Path, name: str) -> None:
    content = body(table_of(published / "signal.root", 20))
    answer = client("POST", f"/v2/models/{name}/events", content=content, headers={"content-type": kind})
    assert answer.status_code == code, answer.text
    assert any(word in answer.json()["error"] for word in words.split("|")), answer.text


def test_small_bodies_with_many_values(
    client: Client, published: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nanoforge.serving.tables.MAX_VALUES", 100)
    body = body_of(table_of(published / "signal.root", 20), PARQUET)
    answer = client("POST", f"/v2/models/{name}/events", content=body, headers={"content-type": PARQUET})
    assert answer.status_code == 413 and "values, and 100 are taken" in answer.json()["error"]


def test_who_takes_no_events(client: Client, models: Path, name: str) -> None:
    headers = {"content-type": JSON_LINES}
    assert client("POST", "/v2/models/none/events", content=b"{}", headers=headers).status_code == 404
    assert client("POST", f"/v2/models/{name}/versions/3/events", content=b"{}", headers=headers).status_code == 404
    accept = client("POST", f"/v2/models/{name}/events", content=b"{}", headers=headers | {"accept": "image/png"})
    assert accept.status_code == 406
    graph = (models / f"{name}_features" / "1" / "model.onnx").read_bytes()
    assert client("PUT", f"/v2/repository/models/{name}_features/versions/2", content=graph).status_code == 201
    answer = client("POST", f"/v2/models/{name}/versions/2/events", content=b"{}", headers=headers)
    assert answer.status_code == 404 and "without its analysis" in answer.json()["error"]


def test_the_server_has_no_torch(models: Path) -> None:
    script = (
        "import sys, asyncio, time; from nanoforge.serving.app import ServerOptions, create; from pathlib import Path\n"
        f"app = create(ServerOptions(Path({str(models)!r})))._app\n"
        "async def start():\n async with app.router.lifespan_context(app): return app.state.engine.ready\n"
        "assert asyncio.run(start())\n"
        "assert not {'torch', 'lightning', 'mlflow', 'matplotlib', 'onnx'} & set(sys.modules)\n"
        "assert time.process_time() < 3, time.process_time()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
