"""How the command meets its terminal: Ctrl-C and SIGTERM end it in one line, and its output never decides over results.

Only the standard library is imported here, so that an interruption is answered while the rest is still being imported.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "ended (SIGTERM)"}
_INTACT = "earlier results are intact; the same command goes on where it was"


class InterruptionError(KeyboardInterrupt):
    """A signal to end.

    Not a plain KeyboardInterrupt: where that comes up inside ``exec`` or ``eval`` of a text, as dataclasses use them,
    CPython ends the process by SIGINT later, whatever became of it.
    """


@contextmanager
def interruptible() -> Iterator[None]:
    """End the block on Ctrl-C (exit code 130) or SIGTERM (143) with one line, whatever comes of it inside.

    Both raise a KeyboardInterrupt, so that everything is cleaned up; a second one does not wait for that. A signal that
    is ignored, as SIGINT is behind a shell's ``&``, stays ignored.
    """
    received: list[signal.Signals] = []

    def answer(number: int, frame: object) -> None:
        received.append(signal.Signals(number))
        if len(received) > 1:
            _tell(received[0])
            os._exit(128 + received[0])
        raise InterruptionError

    with _handling(answer):
        try:
            yield
        except BaseException as error:
            if not received and not isinstance(error, KeyboardInterrupt):
                raise
            first = received[0] if received else signal.SIGINT
            _tell(first)
            sys.exit(128 + first)


@contextmanager
def _handling(answer: Any) -> Iterator[None]:
    before: dict[signal.Signals, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in _WORDS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    before[number] = signal.signal(number, answer)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(number: signal.Signals) -> None:
    with suppress(OSError, ValueError):
        print(f"{_WORDS[number]}: {_INTACT}", file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def lenient_output() -> Iterator[None]:
    """Replace what cannot be shown, and go on where nobody reads an output any longer, or its disk is full."""
    _occupy_standard_descriptors()
    with ExitStack() as stack:
        out = stack.enter_context(redirect_stdout(_Lenient(sys.stdout)))
        err = stack.enter_context(redirect_stderr(_Lenient(sys.stderr)))
        try:
            yield
        finally:
            out.flush()
            if out.failure is not None:
                print(f"warning: standard output: {out.failure}: some of it is missing", file=err)
            err.flush()


class _Lenient:
    """A text stream that swallows what it cannot write."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream if stream is not None else open(os.devnull, "w")  # noqa: SIM115, PTH123
        self.failure: str | None = None
        if getattr(self._stream, "errors", None) == "strict" and hasattr(self._stream, "reconfigure"):
            self._stream.reconfigure(errors="replace")

    def write(self, text: str) -> int:
        with self._giving_up():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._giving_up():
            self._stream.flush()

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        """Send everything to nowhere from the first failure on, what is still in the buffer included."""
        try:
            yield
        except OSError as error:
            if error.errno != errno.EPIPE:  # that nobody wants to read on is no failure
                self.failure = error.strerror
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _occupy_standard_descriptors() -> None:
    """Open what is closed of the three: a data file must not become number 1, which libraries print to."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
