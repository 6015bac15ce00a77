"""What counts as a clear error, and the remedies that messages name."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import Path

from process import Outcome

_DEFECT = ("Traceback", "please report", "nanoforge --debug", "Exception ignored", "Exception in thread", "HDF5-DIAG",
           "Segmentation", "core dumped", "leaked")  # fmt: skip
_SENT = {signal.SIGINT: 130, signal.SIGTERM: 143}


def complaint(outcome: Outcome, sent: signal.Signals | None = None) -> str:
    """Say what is wrong with the way in which a command failed; empty where it is as it should be.

    Parameters
    ----------
    outcome
        A command that did not end with 0.
    sent
        The signal that it got.
    """
    code, lines = outcome.code, outcome.stderr.strip().splitlines()
    if code is None:
        return "hangs"
    if outcome.leftovers:
        return f"left behind: {outcome.leftovers[0]}"
    defect = next((word for word in _DEFECT if word in outcome.stderr), None)
    if defect is not None:
        return f"'{defect}' on stderr: {last_line(outcome)}"
    if sent is not None and code in (-sent, _SENT.get(sent, -sent)):
        if sent == signal.SIGINT and code > 0 and sum("interrupted" in line for line in lines) != 1:
            return f"no word, or several, of the interruption: {outcome.stderr.strip()!r}"
        return ""
    if code not in (1, 2):
        return f"exit code {code}: {last_line(outcome)}"
    if sum(line.startswith("error: ") for line in lines) != 1 or not lines[-1].startswith("error: "):
        return f"not one error line at the end: {outcome.stderr.strip()[-300:]!r}"
    return ""


def last_line(outcome: Outcome) -> str:
    """Return the last line of what a command said."""
    lines = outcome.stderr.strip().splitlines()
    return lines[-1] if lines else ""


def remedies(outcome: Outcome, folder: Path) -> Sequence[tuple[str, str]]:
    """Return what a message tells to do, in order: (``stage``, name), (``remove``, path), (``force``, ``""``) ..."""
    text = last_line(outcome)
    found: list[tuple[str, str]] = []
    for match in re.finditer(r"remove (\S+?)(?=[:,;)]? |[:,;)]?$)", text):
        path = Path(match[1])
        inside = folder in path.parents or not path.is_absolute()
        if inside and (folder / path).exists():
            found.append(("remove", str(folder / path)))
    found += [("made", match[1]) for match in re.finditer(r"make (\S+?)[,;:]? (?:again|anew|with)", text)]
    found += [("stage", match[1]) for match in re.finditer(r"[Rr]un 'nanoforge (\w+)", text)]
    found += [("stage", match[1]) for match in re.finditer(r"(convert|train|evaluate)(?= and train| again)", text)]
    found += [("copy", f"{match[1]} {match[2]}") for match in re.finditer(r"'cp (\S+) (\S+)'", text)]
    if "submit' another -o" in text:
        found.append(("anew", ""))
    if "--force" in text:
        found.append(("force", ""))
    if "resubmit" in text:
        found.append(("resubmit", ""))
    if re.search(r"copy it again|restore|get it again", text):
        found.append(("restore", ""))
    return found
