"""What Pythia would misread without a word: of a value that is no such value it takes a part, or "off"."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ...config.pythia_settings import parse

_SWITCH = re.compile(r"on|off|yes|no|true|false|ok|1|0", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_WHOLES = re.compile(r"[+-]?\d+(\s+[+-]?\d+)*")
_MODE = re.compile(rf"{_SWITCH.pattern}|[0-9]", re.IGNORECASE)
_EXPECTED = {
    _SWITCH: "on or off", _WHOLE: "a whole number", _NUMBER: "a number", _WHOLES: "PDG ids", _MODE: "on or off",
}  # fmt: skip
_PROPERTIES = {
    **dict.fromkeys(("m0", "mwidth", "mmin", "mmax", "tau0", "rescalebr", "bratio"), _NUMBER),
    **dict.fromkeys(("isresonance", "maydecay", "doexternaldecay", "isvisible", "doforcewidth"), _SWITCH),
    **dict.fromkeys(("spintype", "chargetype", "coltype", "memode"), _WHOLE),
    **dict.fromkeys(("onifany", "onifall", "onifmatch", "offifany", "offifall", "offifmatch"), _WHOLES),
    **dict.fromkeys(("onposifany", "onnegifany", "onposifall", "onnegifall", "onposifmatch", "onnegifmatch"), _WHOLES),
    "onmode": _MODE,
}


def misread(settings: Any, line: str) -> str | None:
    """Say what a setting would have to be, where Pythia accepts something else; None where it is right.

    Parameters
    ----------
    settings
        Pythia's ``settings``, which know the kind of each.
    line
        The setting.
    """
    name, value = parse(line)
    expected = _kind(settings, name)
    return None if expected is None or expected.fullmatch(value) else _EXPECTED[expected]


def _kind(settings: Any, name: str) -> re.Pattern[str] | None:
    kinds: tuple[tuple[Callable[[str], bool], re.Pattern[str]], ...] = (
        (settings.isFlag, _SWITCH),
        (settings.isMode, _WHOLE),
        (settings.isParm, _NUMBER),
    )
    pattern_of_type = next((pattern for is_kind, pattern in kinds if is_kind(name)), None)
    particle, *_, attribute = name.split(":")
    return _PROPERTIES.get(attribute) if pattern_of_type is None and particle.isdigit() else pattern_of_type
