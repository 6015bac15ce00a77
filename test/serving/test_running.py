"""Servers as processes: clients of others, versions that change under load, workers that are killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import uproot
from http_load import Answers, request_of, send
from nanoforge.events.open import open_events
from nanoforge.serving.repository import ModelVersion, Repository
from nanoforge.serving.session import feeds, open_session
from nanoforge.stages.predict import predict
from serving.clients import as_binary, rows
from serving.running import RunningServer, running

httpx = pytest.importorskip("httpx")
TRITON_CLIENT = os.environ.get("NANOFORGE_TRITONCLIENT")


@pytest.fixture(scope="module")
def shared_models(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(published / "models", tmp_path_factory.mktemp("running") / "models"))


@pytest.fixture(scope="module")
def server(shared_models: Path) -> Any:
    with running(shared_models, "--watch", "0.2") as server:
        yield server


@pytest.mark.skipif(TRITON_CLIENT is None, reason="NANOFORGE_TRITONCLIENT names no environment with tritonclient")
def test_tritonclient_works_unchanged(server: RunningServer, published: Path, name: str, tmp_path: Path) -> None:
    columns = [i.name for i in open_session(published / "export" / "model.onnx").get_inputs()]
    chunk = next(iter(open_events(str(published / "signal.root"), "Events").chunks(columns, 20)))
    feed = next(f for f in feeds(chunk, columns) if all(v.size for v in f.values()))
    tensors = rows(published / "models", f"{name}_features", 50)
    np.savez(tmp_path / "columns.npz", **feed)
    np.savez(tmp_path / "rows.npz", **tensors)
    script = Path(__file__).with_name("triton_requests.py")
    address = server.url.removeprefix("http://")
    subprocess.run([f"{TRITON_CLIENT}/bin/python", script, address, name, tmp_path], check=True)
    scores = np.load(tmp_path / "scores.npz")
    for folder, inputs, got in (
        (published / "export", feed, scores["columns"]),
        (published / "models" / f"{name}_features" / "1", tensors, scores["rows"]),
    ):
        expected = open_session(folder / "model.onnx").run(["scores"], inputs)[0]
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_friends_by_a_server_are_those_of_the_run(
    server: RunningServer, published: Path, name: str, tmp_path: Path, nanoforge: Any
) -> None:
    path = published / "signal.root"
    predict(published / "run", [str(path)], tmp_path / "local")
    done = nanoforge("predict", name, path, "--server", server.url, "-o", "remote")
    assert done.returncode == 0, done.stderr
    local, remote = (
        uproot.open(tmp_path / n / "signal.root")["Events"].arrays(library="np") for n in ("local", "remote")
    )
    assert set(local) == set(remote)
    for branch, values in local.items():
        np.testing.assert_allclose(remote[branch], values, rtol=1e-5, atol=1e-5)
    assert "is up to date" in nanoforge("predict", name, path, "--server", server.url, "-o", "remote").stderr


@pytest.mark.parametrize(
    ("model", "address", "code", "words"),
    [
        ("toy", "{url}", 2, "did you mean|is not served"),
        ("{name}", "ftp://host", 2, "an address is http://HOST:PORT"),
        ("{name}", "http://127.0.0.1:9", 1, "refused"),
    ],
)
def test_mistakes_of_predict_with_a_server(
    model: str, address: str, code: int, words: str, server: RunningServer, name: str, nanoforge: Any,
    published: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("nanoforge.serving.client.PAUSES", (0.01,))
    address = address.format(url=server.url)
    done = nanoforge("predict", model.format(name=name), published / "signal.root", "--server", address)
    assert done.returncode == code
    assert any(word in done.stderr for word in words.split("|")), done.stderr


def test_versions_change_under_load_without_a_failure(server: RunningServer, shared_models: Path, name: str) -> None:
    """2,000 requests by 8 clients at least, while versions come and go by request and in the folder."""
    features, repository = f"{name}_features", Repository(shared_models)
    graph = (shared_models / features / "1" / "model.onnx").read_bytes()
    request = request_of(f"/v2/models/{features}/infer", rows(shared_models, features, 3), binary=True)
    metadata, versions = (f"{server.url}/v2/{kind}models/{features}" for kind in ("", "repository/"))

    async def change(client: Any) -> None:
        for number in (2, 3):
            assert (await client.put(f"{versions}/versions/{number}", content=graph)).status_code == 201
            assert (await client.delete(f"{versions}/versions/{number}")).status_code == 200
            added = repository.add(features, {"model.onnx": graph}, "")
            while str(added) not in (await client.get(metadata)).json()["versions"]:
                await asyncio.sleep(0.05)
            repository.remove(ModelVersion(features, added))

    async def both() -> list[Answers]:
        async with httpx.AsyncClient(timeout=120) as client:
            changes, answers = asyncio.create_task(change(client)), []
            while len(answers) < 10 or not changes.done():
                answers.append(await send(server.port, request, 200, 8, limit=120))
            await changes
        return answers

    answers = asyncio.run(both())
    assert {code for one in answers for code in one.codes} == {200}
    assert len({body for one in answers for body in one.bodies}) == 1
    assert sum(one.codes[200] for one in answers) >= 2000


def test_killed_workers_come_again(models: Path, name: str) -> None:
    asked = as_binary(rows(models, f"{name}_features", 3), parameters={"binary_data_output": True})
    with running(models, "--workers", "2", "--watch", "0.2") as server:
        url = f"{server.url}/v2/models/{name}_features/infer"
        assert httpx.post(url, **asked).status_code == 200
        workers = [c for c in psutil.Process(server.process.pid).children() if "spawn_main" in " ".join(c.cmdline())]
        assert len(workers) == 2
        os.kill(workers[0].pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while len([c for c in psutil.Process(server.process.pid).children() if c.is_running()]) < 2 or not all(
            httpx.post(url, **asked).status_code == 200 for _ in range(20)
        ):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        # what one worker is told, all follow
        assert httpx.post(f"{server.url}/v2/repository/models/{name}_features/unload").status_code == 200
        while {httpx.post(url, **asked).status_code for _ in range(20)} != {404}:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert "nanoforge_requests_total" in httpx.get(f"{server.url}/metrics").text


def test_a_server_ends_when_it_is_told_to(models: Path) -> None:
    with running(models) as server:
        server.process.terminate()
        assert server.process.wait(60) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)


def test_a_port_that_is_taken_is_one_line(server: RunningServer, models: Path) -> None:
    command = [sys.executable, "-m", "nanoforge", "serve", str(models), "--port", str(server.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"error: --host 127.0.0.1 --port {server.port}: cannot be listened on" in done.stderr


def test_tls_and_tokens(
    models: Path, published: Path, tmp_path: Path, name: str, nanoforge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here, to make a certificate")
    key, certificate, tokens, log = (tmp_path / n for n in ("key.pem", "cert.pem", "tokens", "log"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True,
    )  # fmt: skip
    tokens.write_text(f"read {'r' * 20}\nwrite {'w' * 20}\n")
    tokens.chmod(0o600)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    options = ("--tls-cert", certificate, "--tls-key", key, "--token-file", tokens, "--log", log)
    with running(models, *options) as server:
        arguments = ("predict", name, published / "signal.root", "--server", server.url, "-o", "friends")
        refused = nanoforge(*arguments)
        assert refused.returncode == 2 and "a token is needed" in refused.stderr
        done = nanoforge(*arguments, "--token-file", tokens)
        assert done.returncode == 0, done.stderr
    lines = log.read_text()
    assert "POST" in lines and "r" * 20 not in lines
