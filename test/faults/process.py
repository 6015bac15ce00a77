"""Commands as real processes that start at once: children of one process that has imported everything already.

Each is a session of its own with its own folder, streams and limits; it gets real signals and ends as a real one does.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TIMEOUT = 600.0
"""Seconds after which a command hangs; nothing here takes a tenth of it, on a loaded machine either."""
GRACE = 60.0
"""Seconds in which all that a command has started has to end once it has ended itself."""
_POLL = 0.005
_SUBREAPER = 36
_STAGES = (
    "generate",
    "skim",
    "convert",
    "train",
    "tune",
    "evaluate",
    "compare",
    "predict",
    "export",
    "inspect",
    "init",
)
_LAZY = (
    *(f"nanoforge.stages.{name}" for name in _STAGES),
    "nanoforge.cli", "nanoforge.workflow", "nanoforge.warm", "nanoforge.batch.submit", "nanoforge.batch.status",
    "nanoforge.batch.resubmit", "nanoforge.batch.collect", "mlflow.tracking", "mlflow.onnx", "mlflow.models",
    "mlflow.types", "onnxruntime", "lightgbm", "matplotlib.pyplot", "matplotlib.backends.backend_pdf", "optuna",
    "pyarrow.parquet", "pyarrow.dataset", "h5py", "sklearn.metrics",
)  # fmt: skip
_WATCHED = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.listdir", "fcntl.flock"}


def preload() -> None:
    """Import what commands import, once; and let dead processes of a search be noticed within seconds."""
    for name in _LAZY:
        importlib.import_module(name)
    study: Any = importlib.import_module("nanoforge.tuning.study")
    study.BEAT, study.SILENCE = 2.0, 10.0


def learn(path: Path) -> None:
    """Import what a command has imported (see :attr:`Command.study`), so that the next one need not."""
    for name in json.loads(path.read_text())["modules"]:
        if name not in sys.modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def adopt_orphans() -> None:
    """Become the parent of all that commands leave behind, so that it can be seen."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


@dataclass(frozen=True)
class At:
    """A moment in a command: before its ``event``-th access to a file of the project, or after ``seconds``."""

    event: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Command:
    """A command line.

    Parameters
    ----------
    words
        Without ``nanoforge``.
    folder
        Where it is given.
    limits
        Soft and hard limits by resource (see :mod:`resource`).
    moment, action
        What happens at a moment, given the process: a signal, a file that changes.
    study
        Gets the number of accesses to files, and the names of the modules that were imported, as JSON.
    cold
        A new interpreter, as the shell starts it.
    """

    words: Sequence[str]
    folder: Path
    limits: Mapping[int, int] = field(default_factory=dict)
    moment: At | None = None
    action: Callable[[int], None] | None = None
    study: Path | None = None
    cold: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a command ended; negative codes are signals, None is a command that hangs."""

    words: Sequence[str]
    code: int | None
    stdout: str
    stderr: str
    seconds: float
    leftovers: Sequence[str] = ()


def run(command: Command, grace: float = GRACE) -> Outcome:
    """Run a command to its end, and wait ``grace`` seconds for all that it has started."""
    return run_together([command], grace=grace)[0]


def run_together(commands: Sequence[Command], gap: float = 0.0, grace: float = GRACE) -> list[Outcome]:
    """Run commands at the same time, one beginning ``gap`` seconds after the other."""
    running = []
    for command in commands:
        if running:
            time.sleep(gap)
        running.append(_Running(command))
    outcomes = [one.wait() for one in running]
    leftovers = end_leftovers(grace)
    return [
        Outcome(o.words, o.code, o.stdout, o.stderr, o.seconds, leftovers if o is outcomes[-1] else ())
        for o in outcomes
    ]


class _Running:
    def __init__(self, command: Command) -> None:
        self._command = command
        streams = command.folder.parent
        self._out, self._err = (streams / f"{name}-{time.monotonic_ns()}" for name in ("out", "err"))
        for stream in (self._out, self._err):
            stream.touch()  # the child may be killed before it opens them
        sys.stdout.flush()
        sys.stderr.flush()
        self._start = time.monotonic()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until the child is the command
        self.pid = os.fork()
        if self.pid == 0:
            _become(command, self._out, self._err)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def wait(self) -> Outcome:
        command, moment = self._command, self._command.moment
        act = command.action if moment is not None and moment.event is None else None
        code: int | None = None
        while (seconds := time.monotonic() - self._start) < TIMEOUT:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                code = os.waitstatus_to_exitcode(status)
                break
            if act is not None and moment is not None and seconds >= moment.seconds:
                act(self.pid)
                act = None
            time.sleep(_POLL)
        else:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        texts = [path.read_text(errors="replace") for path in (self._out, self._err)]
        self._out.unlink()
        self._err.unlink()
        return Outcome(command.words, code, *texts, seconds)


def end_leftovers(grace: float) -> tuple[str, ...]:
    """Wait so many seconds for all that commands have started; what stays is named and killed."""
    end = time.monotonic() + grace
    while (others := list(_descendants(os.getpid()))) and time.monotonic() < end:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(_POLL)
    names = tuple(_name(pid) for pid in others)
    while others := list(_descendants(os.getpid())):
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(_POLL)
    return names


def _descendants(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield int(child)
            yield from _descendants(int(child))


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80]
    except OSError:
        return "(ended)"


# -- in the child -----------------------------------------------------------------------------------------------------


def _become(command: Command, out: Path, err: Path) -> None:
    """Be the command, and end with its exit code or signal."""
    try:
        os.setsid()
        os.chdir(command.folder)
        for number, path, flags in ((0, "/dev/null", os.O_RDONLY), (1, out, _NEW), (2, err, _NEW)):
            os.dup2(os.open(path, flags, 0o600), number)
        os.environ["TMPDIR"] = str(command.folder / "tmp")
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(name, signal.default_int_handler if name == signal.SIGINT else signal.SIG_DFL)
        if command.cold:
            _limit(command)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.execv(sys.executable, [sys.executable, "-m", "nanoforge", *command.words])
        sys.argv = ["nanoforge", *command.words]
        sys.modules["__main__"] = types.ModuleType("__main__")  # worker processes are not to import this program
        accesses = _watch(command)
        _limit(command)
        code = _main()
        if command.study is not None:
            command.study.write_text(json.dumps({"accesses": accesses[0], "modules": sorted(sys.modules)}))
    except BaseException:
        traceback.print_exc()
        code = 70
    os._exit(code)


_SIGNALS = {signal.SIGINT, signal.SIGTERM}
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def _main() -> int:
    """Do what the interpreter does around ``nanoforge``, up to its end."""
    from nanoforge.cli import main

    code: Any = 0
    interrupted = False
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        main()
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        interrupted = True
    except BaseException:
        traceback.print_exc()
        code = 1
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    if interrupted:
        os.kill(os.getpid(), signal.SIGINT)
    return code if isinstance(code, int) else int(code is not None)


def _watch(command: Command) -> list[int]:
    """Count accesses to files of the project, and act at the moment that was asked for."""
    inside, seen = str(command.folder), [0]
    moment, action = command.moment, command.action

    def see(event: str, arguments: tuple) -> None:
        if event not in _WATCHED or not _is_inside(arguments, inside):
            return
        seen[0] += 1
        if action is not None and moment is not None and seen[0] == moment.event:
            action(os.getpid())

    if command.study is not None or (moment is not None and moment.event is not None):
        sys.addaudithook(see)
    return seen


def _is_inside(arguments: tuple, folder: str) -> bool:
    path = arguments[0] if arguments else None
    if isinstance(path, (str, os.PathLike)):
        text = os.fspath(path)
        return isinstance(text, str) and (not text.startswith("/") or text.startswith(folder))
    return isinstance(path, int)


def _limit(command: Command) -> None:
    for name, value in command.limits.items():
        if name == resource.RLIMIT_AS and not command.cold:
            value += _own_size()
        resource.setrlimit(name, (value, value))


def _own_size() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
