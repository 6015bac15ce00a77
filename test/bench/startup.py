"""How long ``nanoforge --help`` takes, with the interpreter's own start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from measure import OURS, Comparison, Method, Settings, at_most, compare

HELP = "nanoforge --help"


def run(settings: Settings) -> Iterator[Comparison]:
    methods = [
        Method(HELP, "startup.call", {"arguments": ["-m", "nanoforge", "--help"]}, {}, 1, OURS),
        Method("python -c pass", "startup.call", {"arguments": ["-c", "pass"]}, {}, 1),
    ]
    result = compare("start", methods, settings, repeat=max(settings.repeat, 5))
    result.targets = [at_most("seconds to help", result[HELP].wall, 0.4)]
    yield result


def call(scratch: Path, arguments: list[str]):
    """Start Python with these arguments."""
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True) and None
