"""Who may ask a server for what, and how much of it a request may bring."""

from __future__ import annotations

import hmac
import json
import stat
from collections.abc import Awaitable, MutableMapping
from pathlib import Path
from typing import Any, Callable

from ..errors import UserError

READ, WRITE = "read", "write"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_OPEN = ("/v2/health/live", "/v2/health/ready", "/")
"""What anybody may ask: whether the server lives, and the page, which holds nothing and asks for a token itself."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def read_tokens(path: Path) -> dict[str, str]:
    """Read a file of tokens: lines of ``read TOKEN`` or ``write TOKEN``.

    Returns
    -------
    dict
        What each token allows.

    Raises
    ------
    UserError
        When it cannot be read, others may read it, or a line is something else.
    """
    try:
        mode, lines = path.stat().st_mode, path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--token-file {path}: cannot be read ({error})") from None
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        raise UserError(f"--token-file {path}: others can read it: chmod 600 {path}")
    tokens = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if words and not line.startswith("#"):
            if len(words) != 2 or words[0] not in (READ, WRITE) or len(words[1]) < 16:
                raise UserError(
                    f"--token-file {path}, line {number}: lines are 'read TOKEN' or 'write TOKEN', with tokens of at "
                    "least 16 characters (python -c 'import secrets; print(secrets.token_urlsafe())')"
                )
            tokens[words[1]] = words[0]
    if not tokens:
        raise UserError(f"--token-file {path}: holds no token")
    return tokens


_DIGITS = 18
"""A number of more digits is too large, whatever it counts; Python takes its time over thousands of them."""


class Guard:
    """Stands before an application: checks the token and the size of the body, and lets nothing else through.

    Parameters
    ----------
    app
        The application.
    tokens
        What each token allows; without any, whoever reaches the server may do all.
    hosts
        Names that a request may call the server by; empty for any. A page in a browser that was sent to a name of its
        own, which leads to this machine, is stopped so.
    max_body
        Bytes of a body at most.
    read_only
        Whether nothing may be changed.
    """

    def __init__(
        self, app: App, *, tokens: dict[str, str], hosts: tuple[str, ...], max_body: int, read_only: bool
    ) -> None:
        self._app = app
        self._tokens = {token.encode(): right for token, right in tokens.items()}
        self._hosts = hosts
        self._max_body = max_body
        self._read_only = read_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        received = 0
        too_large = False

        async def bounded() -> Message:
            nonlocal received, too_large
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body:
                too_large = True
                return {"type": "http.disconnect"}
            return message

        started = False

        async def unless_too_large(message: Message) -> None:
            nonlocal started
            if not too_large or started:
                started = True
                await send(message)

        try:
            await self._app(scope, bounded, unless_too_large)
        except Exception:
            if not too_large:
                raise
        if too_large and not started:
            await _answer(send, 413, self._too_large)

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """Say why a request is not passed on; None where it is."""
        host = (
            headers.get(b"host", b"").decode("latin-1").rpartition("]")[0].lstrip("[")
            or headers.get(b"host", b"").decode("latin-1").partition(":")[0]
        )
        if self._hosts and host not in self._hosts:
            return 403, f"host {host!r} is not a name of this server"
        writes = scope["path"].startswith("/v2/repository/") and scope["path"] != "/v2/repository/index"
        if self._tokens and scope["path"] not in _OPEN:
            right = self._right(headers.get(b"authorization", b""))
            if right is None:
                return 401, "a token is needed: Authorization: Bearer TOKEN"
            if writes and right != WRITE:
                return 403, "this token may read only"
        if writes and self._read_only:
            return 403, "this server changes nothing (--read-only)"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            return 400, "Content-Length is no number"
        digits = length.lstrip(b"0")
        too_large = len(digits) > _DIGITS or int(digits or b"0") > self._max_body
        return (413, self._too_large) if too_large else None

    @property
    def _too_large(self) -> str:
        return f"the body has more than {self._max_body:,} bytes (--max-body): send fewer rows at a time"

    def _right(self, header: bytes) -> str | None:
        kind, _, given = header.partition(b" ")
        rights = [right for token, right in self._tokens.items() if hmac.compare_digest(token, given)]
        return rights[0] if rights and kind.lower() == b"bearer" else None


async def _answer(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 413:
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
