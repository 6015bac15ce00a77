"""Interruptions end in one line, and what cannot be shown decides over nothing."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest
from nanoforge import cli
from nanoforge.terminal import lenient_output
from rich.console import Console

INTACT = "earlier results are intact; the same command goes on where it was\n"


@pytest.mark.parametrize("swallowed", [None, OSError("a library's own words"), SystemExit(130)])
@pytest.mark.parametrize(("number", "words"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "ended (SIGTERM)")])
def test_an_interruption_is_told_whatever_comes_of_it(
    nanoforge: Callable, monkeypatch: pytest.MonkeyPatch, number: int, words: str, swallowed: BaseException | None
) -> None:
    def inspect(*_: Any) -> None:
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            raise swallowed or KeyboardInterrupt from None

    monkeypatch.setattr("nanoforge.stages.inspect.inspect", inspect)
    answer = nanoforge("inspect", "x.root")
    assert (answer.returncode, answer.stderr) == (128 + number, f"{words}: {INTACT}")


@pytest.mark.parametrize("form", ["{}", "exec('{}')"])  # after the second, CPython ends by a plain KeyboardInterrupt
def test_the_first_import_is_interruptible_already(tmp_path: Path, form: str) -> None:
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    (tmp_path / "typer.py").write_text(form.format(kill))
    command = [sys.executable, "-m", "nanoforge", "inspect", "x.root"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (answer.returncode, answer.stderr) == (130, f"interrupted: {INTACT}")


def test_what_cannot_be_shown_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    with lenient_output():
        print("AUC 0.93 ± 0.01")
        Console().print("τ → μ")
    assert raw.getvalue() == b"AUC 0.93 ? 0.01\n? ? ?\n"


@pytest.mark.parametrize("what", ["a reader that went away", "a full disk"])
def test_an_output_that_cannot_be_written_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, what: str
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = open(writer if what.startswith("a reader") else "/dev/full", "w")  # noqa: SIM115, PTH123
    monkeypatch.setattr(sys, "stdout", stream)
    with lenient_output():
        for _ in range(3):
            print("x" * 100_000)
            sys.stdout.flush()
        Console().print("and rich")
    stream.close()
    told = capfd.readouterr().err
    assert told == ("" if what.startswith("a reader") else "warning: standard output: No space left on device: some of "
                    "it is missing\n")  # fmt: skip


def test_closed_outputs_are_not_given_to_data_files(tmp_path: Path) -> None:
    script = (
        "import sys, nanoforge.terminal as t\nwith t.lenient_output():\n    print(open('data', 'w').fileno() > 2)\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=tmp_path, preexec_fn=lambda: os.close(1)) as process:
        assert process.communicate()[1] == b"" and process.returncode == 0


def test_the_command_line_is_lenient(nanoforge: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nanoforge.stages.inspect.inspect", lambda *_: print(type(sys.stdout).__name__))
    assert cli.main is not None and nanoforge("inspect", "x.root").stdout == "_Lenient\n"
