"""How the hits of a collection are drawn: grid, channels, and what the values of pixels become."""

from __future__ import annotations

import re

_SCALE = re.compile(r"(none|sqrt)|(linear|log1p)\(([^()]+)\)")


def parse_scale(text: str) -> tuple[str, float]:
    """Take ``none``, ``sqrt``, ``linear(25)`` or ``log1p(0.1)`` apart, the number of the first two being 1.

    Raises
    ------
    ValueError
        When it is something else, or the number is not above 0.
    """
    match = _SCALE.fullmatch(text)
    try:
        number = float(match[3] or 1) if match else 0.0
    except ValueError:
        number = 0.0
    if match is None or not 0 < number < float("inf"):
        raise ValueError("should be none, sqrt, linear(<value of order one>) or log1p(<smallest value that counts>)")
    return match[1] or match[2], number
