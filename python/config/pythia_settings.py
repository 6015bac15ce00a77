"""Lines of Pythia 8 settings as text: one by one, without comments, and without those that are not theirs to make."""

from __future__ import annotations

from collections.abc import Iterable

LHE_FILE, SLHA_FILE = "beams:lhef", "slha:file"
"""The settings that name files."""
_LHE_INPUT = "4"
_COMMENTS = ("!", "#", "//")
_KEY_INSTEAD = {
    "beams:ecm": "energy", "beams:ea": "energy", "beams:eb": "energy", "random:seed": "seed", "random:setseed": "seed",
    "main:numberofevents": "events",
}  # fmt: skip
_NOT_SETTABLE = {
    "beams:nskiplhefatinit": "every block of events begins at its own place in the file",
    "beams:newlhefsameinit": "every block of events begins at its own place in the file",
    "beams:lhefheader": "give one file that holds header and events",
    "beams:allowvertexspread": "the collisions have the beam spot of CMS already",
    "processlevel:all": "give a 'gun' for events without a hard process",
    "include": "write the lines of that file here",
}
_GROUPS = ("init:", "next:", "print:", "stat:", "main:", "parallelism:")


def split(settings: Iterable[str]) -> list[str]:
    """Return the settings one by one, without comments and blank lines, as Pythia reads its own card files.

    Raises
    ------
    ValueError
        For a line that Pythia would take for a comment in silence, and for a setting that has no effect here.
    """
    lines = [line for text in settings for raw in text.splitlines() if (line := _stripped(raw))]
    for line in lines:
        _check(line)
    return lines


def _stripped(line: str) -> str:
    for mark in _COMMENTS[:2]:
        line = line.partition(f" {mark}")[0]
    line = line.strip()
    return "" if line.startswith(_COMMENTS) else line


def parse(line: str) -> tuple[str, str]:
    """Return the name (in lower case: Pythia's is not sensitive) and the value of a setting."""
    name, equals, value = line.partition("=")
    if not equals:
        name, _, value = line.strip().partition(" ")
    return name.strip().lower(), value.strip()


def _check(line: str) -> None:
    if not (line[0].isalnum() or line[0] in "{}"):
        raise ValueError(f"{line!r} is no setting: Pythia would skip it; a comment begins with '!' or '#'")
    name, value = parse(line)
    if name in _KEY_INSTEAD:
        raise ValueError(f"{line!r} would have no effect: give '{_KEY_INSTEAD[name]}' beside 'settings'")
    if name in _NOT_SETTABLE:
        raise ValueError(f"{line!r} cannot be set here: {_NOT_SETTABLE[name]}")
    if name.startswith(_GROUPS):
        raise ValueError(f"{line!r} would have no effect: what Pythia prints and counts is set by nanoforge")
    if name == "beams:frametype" and value not in ("1", _LHE_INPUT):
        raise ValueError(f"{line!r} cannot be set here: beams collide head on with 'energy', or come by an LHE file")


def value(settings: Iterable[str], name: str) -> str | None:
    """Return the value that a setting gets at last; None where it is not set."""
    last = None
    for line in settings:
        key, text = parse(line)
        last = text if key == name else last
    return last


def lhe_file(settings: Iterable[str]) -> str | None:
    """Return the file that the hard processes come from; None where Pythia makes them.

    Raises
    ------
    ValueError
        When there is a file or the mode, but not both.
    """
    lines = list(settings)
    file, reads = value(lines, LHE_FILE), value(lines, "beams:frametype") == _LHE_INPUT
    if reads != (file is not None):
        missing = "Beams:LHEF = FILE" if reads else "Beams:frameType = 4"
        raise ValueError(
            f"events of an LHE file need both 'Beams:frameType = 4' and 'Beams:LHEF = FILE': add {missing!r}"
        )
    return file


def with_file(line: str, path: str) -> str:
    """Return a setting that names another file."""
    return f"{line.partition('=')[0].strip() if '=' in line else line.split()[0]} = {path}"
