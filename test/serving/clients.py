"""Requests to a server in this process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nanoforge.serving.app import ServerOptions, create
from nanoforge.serving.session import open_session

httpx = pytest.importorskip("httpx")


class Client:
    """Sends requests to an application in this process."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        app = create(ServerOptions(folder, **{"watch": 3600, **options}))
        self._app = app._app  # type: ignore[attr-defined]
        self._life = self._app.router.lifespan_context(self._app)
        self.loop.run_until_complete(self._life.__aenter__())
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    def __call__(self, method: str, path: str, **how: Any) -> Any:
        return self.loop.run_until_complete(self._client.request(method, path, **how))

    def together(self, *requests: tuple[str, str, dict[str, Any]]) -> list[Any]:
        async def all_of_them() -> list[Any]:
            return await asyncio.gather(*(self._client.request(m, p, **how) for m, p, how in requests))

        return self.loop.run_until_complete(all_of_them())

    def close(self) -> None:
        self.loop.run_until_complete(self._life.__aexit__(None, None, None))
        self.loop.close()


def rows(folder: Path, name: str, number: int, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    inputs = open_session(folder / name / "1" / "model.onnx").get_inputs()
    shapes = {i.name: [number, *(s if isinstance(s, int) else 3 for s in i.shape[1:])] for i in inputs}
    return {
        n: (random.random(shape) < 0.5 if n.endswith("_mask") else random.normal(50, 30, shape)).astype("f4")
        for n, shape in shapes.items()
    }


def as_json(tensors: dict[str, np.ndarray], **more: Any) -> dict[str, Any]:
    inputs = [
        {"name": n, "shape": list(v.shape), "datatype": "FP32", "data": v.ravel().tolist()} for n, v in tensors.items()
    ]
    return {"json": {"inputs": inputs, **more}}


def as_binary(tensors: dict[str, np.ndarray], **more: Any) -> dict[str, Any]:
    inputs = [
        {"name": n, "shape": list(v.shape), "datatype": "FP32", "parameters": {"binary_data_size": v.nbytes}}
        for n, v in tensors.items()
    ]
    head = json.dumps({"inputs": inputs, **more}).encode()
    body = head + b"".join(v.tobytes() for v in tensors.values())
    return {"content": body, "headers": {"Inference-Header-Content-Length": str(len(head))}}


def scores(answer: Any) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    size = answer.headers.get("Inference-Header-Content-Length")
    head = json.loads(answer.content[: int(size)] if size else answer.content)
    output = next(o for o in head["outputs"] if o["name"] == "scores")
    if size:
        return np.frombuffer(answer.content[int(size) :], "<f4")[: np.prod(output["shape"])].reshape(output["shape"])
    return np.array(output["data"], "f4").reshape(output["shape"])


def value_of(column: dict[str, Any]) -> Any:
    """A value of a column of raw events, as the description of a model names it."""
    value: Any = {"float": 50.0, "double": 50.0, "boolean": True, "bool": True}.get(column["type"], 2)
    return [value, value] if column["kind"] == "object" else value
