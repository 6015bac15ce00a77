"""``nanoforge serve``: the models of a repository over HTTP, by the Open Inference Protocol v2."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from ..console import out, say
from ..errors import DataError, UserError
from ..registry import import_extra
from ..serving.repository import Repository

SETTINGS = "NANOFORGE_SERVE"
"""The variable by which worker processes get what :class:`.serving.app.ServerOptions` hold, but for tokens."""


def serve(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    insecure: bool = False,
    max_body: int = 16_000_000,
    workers: int = 1,
    threads: int = 1,
    watch: float = 5.0,
    read_only: bool = False,
    log: Path | None = None,
    check: bool = False,
) -> None:
    """Serve a repository of models until somebody stops it.

    Parameters
    ----------
    folder
        The repository, as ``nanoforge export --repository`` makes it.
    host, port
        Where to listen.
    token_file
        Lines of ``read TOKEN`` and ``write TOKEN``.
    tls_cert, tls_key
        For HTTPS.
    insecure
        Listen to other machines without tokens and TLS all the same.
    max_body
        Bytes of a request at most.
    workers, threads
        Processes, and models that score at a time in each.
    watch
        Seconds between two looks at the folder.
    read_only
        Change nothing by request.
    log
        A file of answered requests, without what is in them.
    check
        Load every model, say what it takes, and end.

    Raises
    ------
    UserError
        For a folder that is none, and where others could reach an open server.
    DataError
        With ``check``, when a model cannot be loaded.
    """
    import_extra("uvicorn", "serve", "nanoforge serve")
    import_extra("prometheus_client", "serve", "nanoforge serve")
    from ..serving.security import LOOPBACK, read_tokens

    folder = Path(folder).resolve()
    Repository(folder)
    if check:
        _check(folder)
        return
    tokens = read_tokens(token_file) if token_file is not None else {}
    if log is not None and not log.parent.is_dir():
        raise UserError(f"--log {log}: there is no folder {log.parent}")
    for name, path in (("--tls-cert", tls_cert), ("--tls-key", tls_key)):
        if path is not None and not path.is_file():
            raise UserError(f"{name} {path}: no such file")
    if (tls_cert is None) != (tls_key is None):
        raise UserError("--tls-cert and --tls-key: give both, or none")
    if host not in LOOPBACK and not insecure and not (tokens and tls_cert):
        raise UserError(
            f"--host {host}: other machines can reach this: give --token-file, --tls-cert and --tls-key, or --insecure "
            "if whoever can reach it may use and change the models"
        )
    settings = {
        "folder": str(folder),
        "token_file": None if token_file is None else str(token_file.resolve()),
        "max_body": max_body,
        "threads": threads,
        "watch": watch,
        "read_only": read_only,
        "any_host": host not in LOOPBACK,
    }
    _run(settings, host, port, workers, log, {"ssl_certfile": tls_cert, "ssl_keyfile": tls_key})


def application() -> Any:
    """Make the application of a worker, from what its environment says."""
    from ..serving.app import ServerOptions, create
    from ..serving.security import read_tokens

    settings = json.loads(os.environ[SETTINGS])
    token_file = settings.pop("token_file")
    tokens = {} if token_file is None else read_tokens(Path(token_file))
    return create(ServerOptions(**settings | {"folder": Path(settings["folder"]), "tokens": tokens}))


def _check(folder: Path) -> None:
    from ..serving.engine import check_folder

    results = check_folder(folder)
    if not results:
        raise UserError(f"{folder}: holds no model: nanoforge export RUN -o EXPORT --repository {folder} adds one")
    for version, model in results:
        words = (
            model
            if isinstance(model, str)
            else f"takes {', '.join(f'{t.name} {list(t.sizes)}' for t in model.inputs.values())}"
        )
        out.print(f"{version.name} {version.number}: {words}", markup=False)
    broken = [version for version, model in results if isinstance(model, str)]
    if broken:
        raise DataError(f"{folder}: {len(broken)} of {len(results)} versions cannot be served")


def _run(
    settings: dict[str, Any], host: str, port: int, workers: int, log: Path | None, tls: dict[str, Path | None]
) -> None:
    """Start uvicorn, which starts worker processes again that were killed."""
    import uvicorn

    from ..serving.metrics import MULTIPROCESS

    _check_port(host, port)
    with contextlib.ExitStack() as stack:
        os.environ[SETTINGS] = json.dumps(settings)
        if workers > 1:
            os.environ[MULTIPROCESS] = stack.enter_context(tempfile.TemporaryDirectory(prefix="nanoforge-serve-"))
        scheme = "http" if tls["ssl_certfile"] is None else "https"
        say(f"{settings['folder']}: {scheme}://{host}:{port} (Ctrl-C ends)")
        uvicorn.run(
            f"{__name__}:application",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            access_log=log is not None,
            log_config=_logging(log),
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=10,  # clients that keep a TLS connection open would hold the server for 30 s
            ssl_certfile=tls["ssl_certfile"],
            ssl_keyfile=tls["ssl_keyfile"],
        )


def _check_port(host: str, port: int) -> None:
    """Raise a :class:`UserError` where nobody can listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise UserError(f"--host {host} --port {port}: cannot be listened on ({error.strerror or error})") from None


def _logging(log: Path | None) -> dict[str, Any]:
    """Return the configuration of uvicorn's loggers: failures to the terminal, answered requests to a file."""
    handlers: dict[str, Any] = {"terminal": {"class": "logging.StreamHandler", "formatter": "line"}}
    if log is not None:
        handlers["file"] = {"class": "logging.FileHandler", "filename": str(log), "formatter": "line"}
    access = {"handlers": ["file"] if log is not None else [], "level": "INFO", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(message)s"}},
        "handlers": handlers,
        "loggers": {"uvicorn": {"handlers": ["terminal"], "level": "WARNING"}, "uvicorn.access": access},
    }
