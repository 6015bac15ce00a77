"""Virtual environments of the peers, made on first use.

They see the packages that run this benchmark, and add their own before them: a peer uses the same uproot, awkward and
torch as we do, and what is installed is small. ``--no-deps`` stands where a peer pins other versions of those. Servers
see their own packages alone.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

REQUIREMENTS = {
    "coffea": ["coffea>=2025.1"],
    "kserve": ["kserve==0.21.0", "onnxruntime"],
    "mlserver": ["mlserver==1.7.1", "onnxruntime"],
    "hdf5plugin": ["hdf5plugin>=5"],
    "root": ["root==0.1a12"],
    "salt": ["--no-deps", "salt-ml==0.13.0", "atlas-ftag-tools==0.3.3", "filelock"],
    "weaver": ["weaver-core==0.5.3"],
}
ALONE = {"kserve", "mlserver"}
"""These are servers and not methods of ours: they see nothing but their own packages."""


class UnavailableError(Exception):
    """A method that cannot be measured here; the message says why."""


def interpreter(folder: Path, name: str) -> str:
    """Return the interpreter of an environment, this one for an empty name.

    Raises
    ------
    UnavailableError
        When its packages cannot be installed.
    """
    if not name:
        return sys.executable
    failure = _install(folder / f"environment-{name}", name)
    if failure:
        raise UnavailableError(failure)
    return str(folder / f"environment-{name}" / "bin" / "python")


@cache
def _install(home: Path, name: str) -> str:
    """Make an environment unless it is there, and return what went wrong."""
    ready = home / "ready.txt"
    requirements = REQUIREMENTS[name]
    if ready.exists() and ready.read_text() == "\n".join(requirements):
        return ""
    print(f"installing {name} for the comparison: {' '.join(requirements)}", file=sys.stderr)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        _run([sys.executable, "-m", "venv", "--clear", str(home)])
        if name not in ALONE:
            _share_packages(home)
        _run([*pip, *requirements])
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.strip()]
        return next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else str(error))
    ready.write_text("\n".join(requirements))
    return ""


def _share_packages(home: Path) -> None:
    """Let an environment see the packages of this one, after its own."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    shared = home / "lib" / version / "site-packages" / "shared.pth"
    shared.write_text(f"{sysconfig.get_path('purelib')}\n")


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
