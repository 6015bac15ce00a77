"""Rows scored by a server, over HTTP by the Open Inference Protocol v2 with binary tensors."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np

from ..config.schema import Analysis
from ..console import say
from ..errors import DataError, UserError
from .headers import JSON_SIZE
from .repository import FEATURES_SUFFIX
from .scorer import FOLD, Scorer

BODY = 4_000_000
"""Bytes of a request to aim at: a quarter of what a server takes unless it was told otherwise."""
SECONDS = 60
"""A request is given up after so long without an answer."""
PAUSES = (0.5, 1, 2, 4, 8, 16, 32)
"""Before another try, in seconds."""
_TRY_AGAIN = {429, 502, 503, 504}


class Connection:
    """A connection to a server, which is made again where it breaks.

    Parameters
    ----------
    url
        ``http://host:port`` or ``https://host:port``, with a path where the server is behind a proxy.
    token
        Allows to read; None where the server takes all.

    Raises
    ------
    UserError
        When the address is none.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise UserError(f"--server {url}: an address is http://HOST:PORT or https://HOST:PORT")
        self._url = url
        self._path = parts.path.rstrip("/")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._http = kind(parts.hostname, parts.port, timeout=SECONDS)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Any:
        """Send a request, again where that may help.

        Returns
        -------
        tuple
            The body of the answer, and its headers.

        Raises
        ------
        UserError
            When the server refuses it.
        DataError
            When it does not answer, or fails.
        """
        for pause in (*PAUSES, None):
            status, reason = 0, ""
            try:
                self._http.request(method, self._path + path, body, {**self._headers, **(headers or {})})
                answer = self._http.getresponse()
                content, status = answer.read(), answer.status
                if status < 300:
                    return content, answer.headers
                reason = _reason(content)
            except (OSError, http.client.HTTPException) as error:
                self._http.close()
                reason = str(error) or type(error).__name__
            if (status and status not in _TRY_AGAIN) or pause is None:
                kind = UserError if 400 <= status < 500 else DataError
                raise kind(f"{self._url}{path}: {reason}{f' ({status})' if status else ''}")
            say(f"note: {self._url}: {reason}; trying again in {pause} s")
            time.sleep(pause)
        raise AssertionError  # the last try raises


def _reason(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return "the server refuses"


@dataclass(frozen=True)
class RemoteModel:
    """A version of a model on a server.

    Attributes
    ----------
    url, token
        As for :class:`Connection`.
    name, version
        Of the model of features.
    inputs
        The names of its inputs.
    outputs
        Names of its C scores.
    rule
        How the models of the folds were put together: "single", "average" or "by-event".
    sha256
        Of its graph.
    analysis
        What makes its features of events.
    """

    url: str
    token: str | None
    name: str
    version: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    rule: str
    sha256: str
    analysis: Analysis

    @classmethod
    def find(cls, url: str, name: str, token: str | None = None) -> RemoteModel:
        """Ask a server for the newest version of a model.

        Raises
        ------
        UserError
            When it has no such model, or one that cannot be used from here.
        """
        connection = Connection(url, token)
        model = name.removesuffix(FEATURES_SUFFIX) + FEATURES_SUFFIX
        metadata = _json(connection, f"/v2/models/{quote(model, safe='')}")
        version = metadata["versions"][-1]
        path = f"/v2/models/{quote(model, safe='')}/versions/{version}/analysis"
        analysis = Analysis.model_validate(_json(connection, path))
        if analysis.functions:
            raise UserError(f"{name}: names functions of its author's, which are not run here: predict from the run")
        description = metadata["parameters"]
        outputs = tuple(s.removeprefix(f"{analysis.name}_") for s in description["outputs"]["scores"])
        inputs = tuple(tensor["name"] for tensor in metadata["inputs"])
        rule, sha256 = description["fold"]["rule"], description["sha256"]
        return cls(url, token, model, version, inputs, outputs, rule, sha256, analysis)

    def scorer(self) -> Scorer:
        """Return what scores events through the server."""
        connection = Connection(self.url, self.token)

        def row_scores(tensors: dict[str, np.ndarray], fold: np.ndarray) -> np.ndarray:
            values = {**tensors, FOLD: fold}
            inputs = {name: np.ascontiguousarray(values[name], "<f4") for name in self.inputs}
            size = sum(v[:1].nbytes for v in inputs.values())
            step = max(1, BODY // max(size, 1))
            scores = np.empty((len(fold), len(self.outputs)), np.float32)
            for start in range(0, len(fold), step):
                rows = slice(start, start + step)
                scores[rows] = self._infer(connection, {name: v[rows] for name, v in inputs.items()})
            return scores

        return Scorer(self.analysis, self.outputs, self.analysis.split.folds, row_scores)

    def _infer(self, connection: Connection, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        tensors = [
            {"name": n, "datatype": "FP32", "shape": list(v.shape), "parameters": {"binary_data_size": v.nbytes}}
            for n, v in inputs.items()
        ]
        outputs = [{"name": "scores", "parameters": {"binary_data": True}}]
        head = json.dumps({"inputs": tensors, "outputs": outputs}).encode()
        body = b"".join([head, *(v.tobytes() for v in inputs.values())])
        headers = {JSON_SIZE: str(len(head)), "Content-Type": "application/octet-stream"}
        path = f"/v2/models/{self.name}/versions/{self.version}/infer"
        content, answered = connection.ask("POST", path, body, headers)
        try:
            size = int(answered[JSON_SIZE])
            shape = json.loads(content[:size])["outputs"][0]["shape"]
            return np.frombuffer(content[size:], "<f4").reshape(shape)
        except (ValueError, TypeError, LookupError):
            raise DataError(f"{self.url}{path}: the answer is none of the protocol") from None


def _json(connection: Connection, path: str) -> Any:
    content, _ = connection.ask("GET", path)
    try:
        return json.loads(content)
    except ValueError:
        raise DataError(f"{path}: the answer is no JSON: is this a server of NanoForge?") from None
