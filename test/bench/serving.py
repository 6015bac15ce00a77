"""Requests a server answers per second of its CPU, beside KServe's SDK and MLServer; bounded load on this machine.

Each server runs a perceptron of 20 features and 3 x 128 in ONNX Runtime on one thread, and gets at most 2,000 requests
in at most 10 s of each kind, which were written beforehand.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import psutil
from environments import UnavailableError, interpreter
from measure import OURS, PEER, Comparison, Row, Settings, at_least, at_most
from onnx import helper

sys.path.append(str(Path(__file__).resolve().parents[1]))
from http_load import Answers, request_of, send

FEATURES, WIDTH, MODEL = 20, 128, "bench_features"
NANOFORGE, KSERVE, MLSERVER = "nanoforge serve", "KServe SDK", "MLServer"
PATH = f"/v2/models/{MODEL}/infer"
HERE = Path(__file__).parent
KINDS = {  # rows, binary, clients, requests
    "1 row, JSON, 32 clients": (1, False, 32, 2000),
    "1 row, binary, 32 clients": (1, True, 32, 2000),
    "1,024 rows, binary, 4 clients": (1024, True, 4, 200),
}


def run(settings: Settings) -> Iterator[Comparison]:
    with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
        graph = _model(Path(folder) / "models" / MODEL / "1")
        measured = {name: _measured(name, settings.folder, graph) for name in (NANOFORGE, KSERVE, MLSERVER)}
    for kind in KINDS:
        rows = [measured[name][kind] for name in measured]
        comparison = Comparison(f"serving: {kind}", rows)
        bounds = {KSERVE: 5 if "1,024" in kind else 4, MLSERVER: 3}
        for name, bound in bounds.items():
            if not comparison[name].failure:
                comparison.targets.append(at_least(f"x {name}", comparison.times(name, NANOFORGE), bound))
        comparison.targets.append(at_most("MB of the server", comparison[NANOFORGE].peak_mb, 150))
        yield comparison


def _model(folder: Path) -> Path:
    """Write a perceptron as an export of features describes itself."""
    random = np.random.default_rng(0)
    nodes, weights, before = [], [], "event"
    for layer, (inputs, outputs) in enumerate(((FEATURES, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH, 2))):
        for name, values in ((f"w{layer}", random.normal(0, 0.1, (inputs, outputs))), (f"b{layer}", np.zeros(outputs))):
            weights.append(onnx.numpy_helper.from_array(values.astype("f4"), name))
        nodes.append(helper.make_node("Gemm", [before, f"w{layer}", f"b{layer}"], [f"g{layer}"]))
        nodes.append(helper.make_node("Relu", [f"g{layer}"], [f"r{layer}"]))
        before = f"r{layer}"
    nodes[-1] = helper.make_node("Softmax", ["g3"], ["scores"])
    tensors = [helper.make_tensor_value_info(n, 1, ["rows", s]) for n, s in (("event", FEATURES), ("scores", 2))]
    graph = helper.make_graph(nodes, "bench", tensors[:1], tensors[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"nanoforge": json.dumps({"level": "features", "inputs": [{"name": "event"}]})})
    folder.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def _measured(name: str, folder: Path, graph: Path) -> dict[str, Row]:
    kind = OURS if name == NANOFORGE else PEER
    try:
        with _server(name, folder, graph) as (port, process):
            return {title: _row(name, kind, port, process, load) for title, load in KINDS.items()}
    except UnavailableError as reason:
        return {title: Row(name, kind, "", 1, failure=str(reason)) for title in KINDS}


def _row(name: str, kind: str, port: int, process: psutil.Process, load: tuple[int, bool, int, int]) -> Row:
    rows, binary, clients, number = load
    if binary and name == MLSERVER:
        return Row(name, kind, "", 1, failure="takes no binary tensors over HTTP")
    values = np.random.default_rng(0).normal(size=(rows, FEATURES)).astype("f4")
    request = request_of(PATH, {"event": values}, binary=binary)
    try:
        asyncio.run(send(port, request, max(clients, number // 10), clients))  # warm
        before, start = _cpu(process), time.perf_counter()
        answers = asyncio.run(send(port, request, number, clients))
        wall, cpu = time.perf_counter() - start, _cpu(process) - before
    except (OSError, EOFError, ValueError) as error:
        return Row(name, kind, "", 1, failure=f"{type(error).__name__}: {error}")
    if set(answers.codes) != {200}:
        return Row(name, kind, "", 1, failure=f"answers {', '.join(map(str, sorted(set(answers.codes) - {200})))}")
    memory = sum(p.memory_full_info().pss for p in _tree(process)) / 2**20
    return Row(name, kind, "", answers.codes[200] * rows, cpu, wall, memory, _latency(answers), runs=[{}])


def _latency(answers: Answers) -> str:
    percentiles = statistics.quantiles(answers.seconds, n=100)
    return f"p50 {1e3 * percentiles[49]:.1f} ms, p99 {1e3 * percentiles[98]:.1f} ms"


def _tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _cpu(process: psutil.Process) -> float:
    return sum(sum(p.cpu_times()[:2]) for p in _tree(process))


@contextmanager
def _server(name: str, folder: Path, graph: Path) -> Iterator[tuple[int, psutil.Process]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = Path(tempfile.mkdtemp(dir=folder))
    process = subprocess.Popen(
        _command(name, folder, home, graph, port),
        cwd=home, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait(name, process, port)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(home)


def _command(name: str, folder: Path, home: Path, graph: Path, port: int) -> list[str]:
    if name == NANOFORGE:
        return [sys.executable, "-m", "nanoforge", "serve", str(graph.parents[2]), "--port", str(port)]
    if name == KSERVE:
        return [interpreter(folder, "kserve"), str(HERE / "serving_kserve.py"), str(graph), str(port)]
    shutil.copy(HERE / "serving_mlserver.py", home)
    model = {"name": MODEL, "implementation": "serving_mlserver.Scores", "parameters": {"uri": str(graph)}}
    ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2, "parallel_workers": 0}
    (home / "model-settings.json").write_text(json.dumps(model))
    (home / "settings.json").write_text(json.dumps({"debug": False, "host": "127.0.0.1", **ports}))
    return [str(Path(interpreter(folder, "mlserver")).with_name("mlserver")), "start", str(home)]


def _wait(name: str, process: subprocess.Popen, port: int) -> None:
    request = f"GET /v2/models/{MODEL}/ready HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode()
    for _ in range(600):
        if process.poll() is not None:
            raise UnavailableError(f"{name} ended with code {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(request)
                if b" 200 " in connection.recv(64):
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise UnavailableError(f"{name} does not get ready")
