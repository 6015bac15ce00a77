"""A file of Les Houches events, for tests: u ubar -> Z -> mu mu, each event with a scale of its own."""

from __future__ import annotations

import gzip
from pathlib import Path

_HEAD = """<LesHouchesEvents version="1.0">
<header>
<event in a comment
</header>
<init>
2212 2212 6.8E+03 6.8E+03 0 0 247000 247000 3 1
1.5 0.03 1.0 1
</init>
"""


def _event(number: int) -> str:
    pt = 20 + 0.01 * number
    rows = [
        f"5 1 1.0 {2 * pt} 0.0078 0.118", f"2 -1 0 0 501 0 0 0 {pt} {pt} 0 0 9",
        f"-2 -1 0 0 0 501 0 0 {-pt} {pt} 0 0 9",
        f"23 2 1 2 0 0 0 0 0 {2 * pt} {2 * pt} 0 9", f"13 1 3 3 0 0 {pt} 0 0 {pt} 0 0 9",
        f"-13 1 3 3 0 0 {-pt} 0 0 {pt} 0 0 9",
    ]  # fmt: skip
    return "\n".join(["<event>", *rows, "</event>\n"])


def write(path: Path, events: int) -> Path:
    """Write so many events; compressed where the name ends in ``.gz``."""
    text = (_HEAD + "".join(map(_event, range(events))) + "</LesHouchesEvents>\n").encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def scale(number: int) -> float:
    """Return the scale of an event (GeV)."""
    return 40 + number / 50
