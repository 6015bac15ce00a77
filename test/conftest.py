from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from nanoforge.cli import main

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # behind a shell's "&"; what is ignored here, children ignore too
    signal.signal(signal.SIGINT, signal.default_int_handler)
_savefig, _measure = Figure.savefig, Figure.get_tightbbox
_RENDERED: dict[str, bytes] = {}
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-seed", type=int, default=3, help="another minute of the fault campaign")


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """The path of a real CMS file; the test is skipped where the files are not beside the repository."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"real CMS data are not here ({path.parent}); the twin of this test runs on toy data")
        return path

    return find


@pytest.fixture(autouse=True, scope="session")
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what these tests train out of what the user trusts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture(autouse=True)
def _figures_rendered_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a figure of each file name be rendered once in a process, and its copies stand for later ones.

    An evaluation takes ten seconds to render, and less than one for all else. ``test/evaluation`` renders everything.
    """
    if "evaluation" not in request.path.parts:
        monkeypatch.setattr(Figure, "savefig", _saved_as_before)
        monkeypatch.setattr(Figure, "get_tightbbox", lambda figure: Bbox.unit())


def _saved_as_before(figure: Figure, path: Path, **options: Any) -> None:
    if path.name not in _RENDERED:
        box = _measure(figure).padded(mpl.rcParams["savefig.pad_inches"])
        _savefig(figure, path, **{**options, "bbox_inches": box})
        _RENDERED[path.name] = path.read_bytes()
    path.write_bytes(_RENDERED[path.name])


@pytest.fixture
def nanoforge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., Any]:
    """Run the command line in a folder of its own, as a user does; in this process, since imports take a second."""

    def run(*arguments: object) -> subprocess.CompletedProcess:
        command = ["nanoforge", *map(str, arguments)]
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", command)
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        return subprocess.CompletedProcess(command, code, *capsys.readouterr())

    return run
