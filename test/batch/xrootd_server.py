"""XRootD servers on loopback, from what `.ci/pool` fetched, that die when they are told to."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import threading
import time
from pathlib import Path

from pool import require_program

IMPATIENT = {"XRD_CONNECTIONWINDOW": "1", "XRD_CONNECTIONRETRY": "1", "XRD_REQUESTTIMEOUT": "20"}
"""A client's environment: a dead server is known after a second."""


class Server:
    """A server of ``folder`` as ``/``; ``address`` is what a user calls a redirector."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        program = require_program("xrootd")
        scratch.mkdir()
        (scratch / "xrootd.cfg").write_text(
            f"all.export /\noss.localroot {folder}\nall.adminpath {scratch}\nall.pidpath {scratch}\n"
            "xrd.port any\nxrd.network nodnr\nxrootd.chksum adler32\n"
        )
        log = scratch / "log"
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [program, "-c", str(scratch / "xrootd.cfg"), "-I", "v4"], stdout=file, stderr=file
            )
        end = time.monotonic() + 30
        while not (started := re.search(r"xrootd anon@\S+:(\d+) initialization completed", log.read_text())):
            assert self.process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        self.port = int(started[1])
        self.address = f"root://127.0.0.1:{self.port}/"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class DyingServer:
    """A way to a server that is killed as soon as it has sent so many bytes."""

    def __init__(self, server: Server, after: int) -> None:
        self._server, self._left = server, after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"root://127.0.0.1:{self._listener.getsockname()[1]}/"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def is_dead(self) -> bool:
        return self._left < 0

    def _accept(self) -> None:
        while not self.is_dead:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server.port))
            except OSError:
                client.close()
                continue
            for source, sink, counts in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=(source, sink, counts), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        try:
            while data := source.recv(4096):
                self._left -= len(data) if counts else 0
                if self.is_dead:
                    break
                sink.sendall(data)
        except OSError:
            pass
        if self.is_dead:
            self._server.kill()
            _close(self._listener)
        _close(source)
        _close(sink)


def _close(end: socket.socket) -> None:
    """Close a socket that another thread may be waiting for."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
