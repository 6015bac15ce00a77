"""What compiled code prints: kept from the user's screen, and quoted where it explains a failure."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator

_MOST = 1 << 16


@contextlib.contextmanager
def captured_stdout() -> Iterator[Callable[[], str]]:
    """Keep what is printed on standard output, from C++ too, away from it; yields a function that returns its gist."""
    sys.stdout.flush()
    screen = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            yield lambda: _gist(os.pread(file.fileno(), _MOST, 0).decode(errors="replace"))
        finally:
            os.dup2(screen, 1)
            os.close(screen)


def _gist(text: str) -> str:
    """Put Pythia's messages on one line, each once."""
    lines = [re.sub(r"^PYTHIA (Error|Abort|Warning)( from|:)? *", "", line.strip()) for line in text.splitlines()]
    return " ".join(dict.fromkeys(filter(None, lines))) or "it does not say why"
