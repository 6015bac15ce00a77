"""The server: the Open Inference Protocol v2 with the extensions for binary tensors and for repositories, and ours.

No torch is imported in this process, and nothing but ONNX is loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Callable

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import DataError, UserError, shorten
from ..version import __version__
from .engine import InferenceEngine
from .event_scorer import ANALYSIS_KEYS
from .headers import JSON_SIZE
from .metrics import Metrics
from .protocol import encode, metadata, parse
from .repository import VERSION, ModelVersion, Repository, VersionExistsError
from .request_error import RequestError
from .security import LOOPBACK, App, Guard
from .upload import check_upload

STATUS_PAGE = Path(__file__).with_name("status.html")


@dataclass(frozen=True)
class ServerOptions:
    """How a repository is served.

    Attributes
    ----------
    folder
        The repository.
    tokens
        What each token allows; empty where whoever reaches the server may do all.
    max_body
        Bytes of a request at most.
    threads
        Models that score at a time.
    watch
        The folder is looked at every so many seconds.
    read_only
        Whether nothing may be changed.
    any_host
        Whether requests may call the server by names that are not this machine's.
    """

    folder: Path
    tokens: dict[str, str] = field(default_factory=dict)
    max_body: int = 16_000_000
    threads: int = 1
    watch: float = 5.0
    read_only: bool = False
    any_host: bool = False


def create(options: ServerOptions) -> App:
    """Make the application of a repository, behind its :class:`.security.Guard`."""
    metrics = Metrics()
    engine = InferenceEngine(Repository(options.folder), metrics, options.threads)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await engine.refresh()
        watcher = asyncio.create_task(engine.watch_folder(options.watch))
        yield
        watcher.cancel()
        engine.close()

    async def refused(_: Request, error: Exception) -> Response:
        status = error.status if isinstance(error, RequestError) else getattr(error, "status_code", 500)
        reason = error.reason if isinstance(error, RequestError) else str(getattr(error, "detail", error))
        return _json({"error": reason}, status)

    app = Starlette(
        routes=_Endpoints(engine, metrics).routes(),
        lifespan=lifespan,
        exception_handlers={RequestError: refused, HTTPException: refused},
    )
    app.state.engine = engine
    hosts = () if options.any_host else LOOPBACK
    return Guard(app, tokens=options.tokens, hosts=hosts, max_body=options.max_body, read_only=options.read_only)


class _Endpoints:
    def __init__(self, engine: InferenceEngine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics

    def routes(self) -> list[Route]:
        """Return the endpoints, those first that are asked for most: they are tried in this order."""
        one, version = "/v2/models/{name}", "/v2/models/{name}/versions/{number}"
        stored = "/v2/repository/models/{name}"
        endpoints: tuple[tuple[str, list[str], Callable[[Request], Awaitable[Response]]], ...] = (
            ("POST", [f"{one}/infer", f"{version}/infer"], self.infer),
            ("POST", [f"{one}/events", f"{version}/events"], self.events),
            ("GET", ["/"], self.page),
            ("GET", ["/metrics"], self.metrics),
            ("GET", ["/v2"], self.server),
            ("GET", ["/v2/health/live"], self.live),
            ("GET", ["/v2/health/ready"], self.ready),
            ("GET", [one, version], self.model),
            ("GET", [f"{one}/ready", f"{version}/ready"], self.model_ready),
            ("GET", [f"{one}/analysis", f"{version}/analysis"], self.analysis),
            ("GET", [f"{one}/drift", f"{version}/drift"], self.drift),
            ("POST", ["/v2/repository/index"], self.index),
            ("POST", [f"{stored}/load"], self.load),
            ("POST", [f"{stored}/unload"], self.unload),
            ("PUT", [f"{stored}/versions/{{number}}"], self.upload),
            ("DELETE", [f"{stored}/versions/{{number}}"], self.delete),
        )
        return [
            Route(path, self._counted(answer), methods=[method])
            for method, paths, answer in endpoints
            for path in paths
        ]

    def _counted(self, answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Count the answers of an endpoint, and how long they took."""
        endpoint = answer.__name__

        async def counted(request: Request) -> Response:
            start, code = perf_counter(), 500
            try:
                response = await answer(request)
                code = response.status_code
                return response
            except RequestError as error:
                code = error.status
                raise
            finally:
                name = request.path_params.get("name", "")
                name = name if self._engine.numbers(name) else ""  # names that clients make up are no labels
                self._metrics.answered(endpoint, name, code, perf_counter() - start)

        return counted

    # -- what there is ------------------------------------------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        return Response(STATUS_PAGE.read_bytes(), media_type="text/html")

    async def metrics(self, request: Request) -> Response:
        return Response(
            self._metrics.text(self._engine.waiting(), self._engine.drifts()), media_type="text/plain; version=0.0.4"
        )

    async def server(self, request: Request) -> Response:
        extensions = ["binary_tensor_data", "model_repository"]
        return _json({"name": "nanoforge", "version": __version__, "extensions": extensions})

    async def live(self, request: Request) -> Response:
        return _json({"live": True})

    async def ready(self, request: Request) -> Response:
        return _json({"ready": self._engine.ready}, 200 if self._engine.ready else 503)

    async def model(self, request: Request) -> Response:
        name, number = _requested_version(request)
        return _json(metadata(self._engine.model(name, number).model, self._engine.numbers(name)))

    async def model_ready(self, request: Request) -> Response:
        self._engine.model(*_requested_version(request))
        return _json({"ready": True})

    async def analysis(self, request: Request) -> Response:
        with self._engine.event_scorer(*_requested_version(request)) as scorer:
            return _json(scorer.analysis.model_dump(mode="json", include=ANALYSIS_KEYS))

    async def drift(self, request: Request) -> Response:
        version, watch = self._engine.watch(*_requested_version(request))
        content = await asyncio.get_running_loop().run_in_executor(self._engine.executor, watch.content)
        return _json({"model": version.name, "version": str(version.number), **content})

    async def index(self, request: Request) -> Response:
        return _json(list(self._engine.index()))

    # -- scores -------------------------------------------------------------------------------------------------------

    async def infer(self, request: Request) -> Response:
        batcher = self._engine.model(*_requested_version(request))
        asked = parse(await _body(request), request.headers.get(JSON_SIZE))
        body, json_size = encode(asked, batcher.model.version, await batcher.score(asked.tensors))
        if json_size is None:
            return Response(body, media_type="application/json")
        return Response(body, headers={JSON_SIZE: str(json_size)}, media_type="application/octet-stream")

    async def events(self, request: Request) -> Response:
        from .tables import ReceivedEvents, format_of_answer, format_of_request  # 50 MB that tensors do without

        kind = format_of_request(request.headers.get("content-type"))
        answer = format_of_answer(request.headers.get("accept"), kind)
        name, number = _requested_version(request)
        with self._engine.event_scorer(name, number) as scorer:
            body = await _body(request)

            def score() -> tuple[int, bytes]:
                table = scorer.score(ReceivedEvents(body, kind))
                return len(table), answer.write(table)

            rows, content = await asyncio.get_running_loop().run_in_executor(self._engine.executor, score)
        self._metrics.rows.labels(name).inc(rows)
        return Response(content, media_type=answer.media_types[0])

    # -- changes ------------------------------------------------------------------------------------------------------

    async def load(self, request: Request) -> Response:
        return await self._set(request, unloaded=False)

    async def unload(self, request: Request) -> Response:
        return await self._set(request, unloaded=True)

    async def _set(self, request: Request, *, unloaded: bool) -> Response:
        name = request.path_params["name"]
        if name not in {version.name for version in self._engine.repository.versions()}:
            raise RequestError(404, f"model {shorten(name)!r} is not in the repository")
        self._engine.repository.set_unloaded(name, unloaded)
        await self._engine.refresh()
        failed = [i["reason"] for i in self._engine.index() if i["name"] == name and i["state"] != "READY"]
        if failed and not unloaded:
            raise RequestError(400, failed[0])
        return _json({})

    async def upload(self, request: Request) -> Response:
        version = _stored_version(request)
        body = await request.body()
        files, config = await asyncio.get_running_loop().run_in_executor(None, check_upload, version.name, body)
        try:
            self._engine.repository.add(version.name, files, config, number=version.number)
        except VersionExistsError as error:
            raise RequestError(409, str(error)) from None
        except UserError as error:
            raise RequestError(400, str(error)) from None
        except DataError as error:
            raise RequestError(507, str(error)) from None
        await self._engine.refresh()
        return _json({"name": version.name, "version": str(version.number)}, 201)

    async def delete(self, request: Request) -> Response:
        version = _stored_version(request)
        if version not in self._engine.repository.versions():
            raise RequestError(
                404, f"model {shorten(version.name)!r} has no version {version.number} in the repository"
            )
        self._engine.repository.remove(version)
        await self._engine.refresh()
        return _json({})


async def _body(request: Request) -> bytes:
    if request.headers.get("content-encoding", "identity") != "identity":
        raise RequestError(415, "compressed bodies are not taken")
    return await request.body()


def _requested_version(request: Request) -> tuple[str, str | None]:
    return request.path_params["name"], request.path_params.get("number")


def _stored_version(request: Request) -> ModelVersion:
    number = request.path_params["number"]
    if not VERSION.fullmatch(number):
        raise RequestError(400, f"version {shorten(number)!r} is no positive integer")
    return ModelVersion(request.path_params["name"], int(number))


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
