"""Bounded load on this machine: requests that were written beforehand, over sockets that stay open."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Answers:
    """What came back."""

    codes: Counter[int] = field(default_factory=Counter)
    bodies: Counter[bytes] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


def request_of(path: str, tensors: dict[str, np.ndarray], *, binary: bool, output: str = "scores") -> bytes:
    """A whole request of the protocol, head and body."""
    inputs: list[dict] = []
    for name, values in tensors.items():
        inputs.append({"name": name, "datatype": "FP32", "shape": list(values.shape)})
        if binary:
            inputs[-1]["parameters"] = {"binary_data_size": values.nbytes}
        else:
            inputs[-1]["data"] = np.round(values, 6).ravel().tolist()
    content = {"inputs": inputs, "outputs": [{"name": output, "parameters": {"binary_data": binary}}]}
    head = json.dumps(content).encode()
    body = head + b"".join(v.tobytes() for v in tensors.values()) if binary else head
    kind = "application/octet-stream" if binary else "application/json"
    size = f"Inference-Header-Content-Length: {len(head)}\r\n" if binary else ""
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n{size}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def send(port: int, request: bytes, number: int, clients: int, limit: float = 10.0) -> Answers:
    """Send a request so many times in all, by so many clients, until the time is over."""
    answers, end = Answers(), time.perf_counter() + limit

    async def client(count: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(count):
            if time.perf_counter() > end:
                break
            start = time.perf_counter()
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await _body(reader, head)
            answers.seconds.append(time.perf_counter() - start)
            answers.codes[int(head.split(b" ", 2)[1])] += 1
            size = _header(head, b"inference-header-content-length")
            answers.bodies[body[size:] if size is not None else body] += 1
        writer.close()

    await asyncio.gather(*(client(number // clients) for _ in range(clients)))
    return answers


def _header(head: bytes, name: bytes) -> int | None:
    _, found, rest = head.partition(b"\r\n" + name + b":")
    return int(rest.split(b"\r\n", 1)[0]) if found else None


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    size = _header(head, b"content-length")
    if size is not None:
        return await reader.readexactly(size)
    body = b""
    while chunk := int((await reader.readline()).strip(), 16):
        body += await reader.readexactly(chunk)
        await reader.readline()
    await reader.readline()
    return body
