"""The command that serves models to other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer


def serve(
    models: Annotated[Path, typer.Argument(help="The folder of models that export --repository makes.")],
    host: Annotated[
        str, typer.Option("--host", help="Where to listen; others than this machine need more.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8000,
    token_file: Annotated[
        Optional[Path], typer.Option("--token-file", help="Lines of 'read TOKEN' and 'write TOKEN'.")
    ] = None,
    tls_cert: Annotated[Optional[Path], typer.Option("--tls-cert", help="The certificate, for HTTPS.")] = None,
    tls_key: Annotated[Optional[Path], typer.Option("--tls-key", help="Its key.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let other machines in without tokens and TLS all the same.")
    ] = False,
    max_body: Annotated[int, typer.Option("--max-body", min=1000, help="Bytes of a request at most.")] = 16_000_000,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = 1,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Models that score at a time, in each.")] = 1,
    watch: Annotated[float, typer.Option("--watch", min=0.1, help="Seconds between looks at the folder.")] = 5.0,
    read_only: Annotated[bool, typer.Option("--read-only", help="Change nothing by request.")] = False,
    log: Annotated[Optional[Path], typer.Option("--log", help="A file of answered requests.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Load all models, say what they take, and end.")] = False,
) -> None:
    """Serve models over HTTP by the Open Inference Protocol v2, as Triton does.

    Example: nanoforge serve models --port 8000
    """
    from ..stages.serve import serve

    serve(
        models,
        host=host,
        port=port,
        token_file=token_file,
        tls_cert=tls_cert,
        tls_key=tls_key,
        insecure=insecure,
        max_body=max_body,
        workers=workers,
        threads=threads,
        watch=watch,
        read_only=read_only,
        log=log,
        check=check,
    )
