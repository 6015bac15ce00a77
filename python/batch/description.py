"""Submit descriptions of HTCondor, read but not evaluated: enough to see what they would do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

PER_JOB = frozenset({"process", "procid", "step", "row", "item", "itemindex", "jobid", "job"})
"""Macros of HTCondor's own that differ between the jobs of a cluster."""
REFERENCE = re.compile(r"(?<!\$)\$(?:(?P<function>[A-Za-z]*)\()(?P<name>\w+)(?P<rest>[^()]*)\)")
"""``$(name)``, ``$(name:default)`` or ``$FUNCTION(name, ...)``; ``$$(name)`` is about the machine."""
NOT_OF_MACROS = frozenset({"ENV", "RANDOM_CHOICE", "RANDOM_INTEGER"})
"""Functions whose arguments are no names of macros."""
_SIZE = re.compile(r"^([0-9.]+) *([KMGT]?)B?$", re.IGNORECASE)
_MEGA = {"K": 1e-3, "M": 1.0, "G": 1e3, "T": 1e6}


@dataclass(frozen=True)
class Entry:
    """One ``key = value`` of a description."""

    line: int
    key: str
    value: str

    @property
    def attribute(self) -> str | None:
        """The job attribute that it sets by ``+Name`` or ``MY.Name``, in small letters."""
        match = re.fullmatch(r"(?:\+|MY\.)(\w+)", self.key, re.IGNORECASE)
        return match[1].lower() if match else None

    @property
    def name(self) -> str:
        """The key, as HTCondor compares it."""
        return f"+{self.attribute}" if self.attribute else self.key.lower()


@dataclass
class Description:
    """A submit description, read but not evaluated.

    Attributes
    ----------
    directory
        Where condor_submit will run.
    entries
        Its lines, in order.
    queue
        Line and text after ``queue``; None where there is none.
    rows
        The rows of the items.
    variables
        What ``queue`` calls their columns.
    """

    directory: Path
    entries: list[Entry] = field(default_factory=list)
    queue: Optional[tuple[int, str]] = None
    rows: list[str] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)
    missing_items: Optional[Path] = None

    def __post_init__(self) -> None:
        self.last: dict[str, Entry] = {}

    def get(self, *names: str) -> Entry | None:
        """Return the line that sets one of these keys; ``+name`` is a job attribute."""
        return next((self.last[name] for name in names if name in self.last), None)

    def number(self, *names: str, default: float) -> float:
        """Return the value of a key in cores or MB, and the default where it is an expression."""
        entry = self.get(*names)
        match = _SIZE.fullmatch(self.expand(entry.value)) if entry else None
        if match is None:
            return default
        small = 1e-3 if names[0] == "request_disk" and not match[2] else 1.0
        return float(match[1]) * _MEGA.get(match[2].upper(), small)

    @property
    def jobs(self) -> int:
        """How many jobs it queues."""
        if self.queue is None:
            return 0
        count = re.match(r"\d+", self.queue[1])
        return (int(count[0]) if count else 1) * (len(self.rows) if self.variables else 1)

    def expand(self, text: str, depth: int = 20) -> str:
        """Put in the macros that are the same for all jobs."""

        def value(match: re.Match[str]) -> str:
            entry = self.last.get(match["name"].lower())
            return match[0] if match["function"] or entry is None else entry.value

        expanded = REFERENCE.sub(value, text)
        return expanded if expanded == text or not depth else self.expand(expanded, depth - 1)

    def row(self, number: int) -> dict[str, str]:
        """Return the columns of one row."""
        separator = None if "," not in self.rows[number] else ","
        columns = [c.strip() for c in self.rows[number].split(separator, max(len(self.variables) - 1, 0))]
        return dict(zip(self.variables, columns))

    def for_job(self, text: str, number: int) -> str:
        """Put in the macros of one job too, as far as no function of HTCondor is needed."""
        values = {"process": str(number), "procid": str(number), **(self.row(number) if self.rows else {})}
        expanded = self.expand(text)
        return REFERENCE.sub(lambda m: values.get(m["name"].lower(), m[0]) if not m["function"] else m[0], expanded)

    def path(self, text: str) -> Path:
        """Return a path of the description, from where HTCondor starts to count."""
        start = self.get("initialdir", "initial_dir")
        return self.directory / (self.expand(start.value) if start else "") / text

    def differs(self, text: str) -> bool:
        """Whether a value is another one for each job."""
        return bool(self.names(text) & (PER_JOB | set(self.variables)))

    def names(self, text: str) -> set[str]:
        """Return the macros that a value refers to, by way of others too."""
        names: set[str] = set()
        todo = [text]
        while todo:
            for match in REFERENCE.finditer(todo.pop()):
                name = match["name"].lower()
                if name not in names and match["function"].upper() not in NOT_OF_MACROS:
                    names.add(name)
                    todo += [self.last[name].value] if name in self.last else []
        return names

    def folder(self, entry: Entry, number: int) -> Path | None:
        """Return the folder of a log of one job; None where only HTCondor can tell its name."""
        text = self.for_job(self._folded(entry.value, number), number)
        return None if "$" in text.rpartition("/")[0] else self.path(text).parent

    def _folded(self, text: str, number: int) -> str:
        """Evaluate ``$INT(x)`` where x is a number or a quotient: it is what shards the folders of logs."""

        def integer(match: re.Match[str]) -> str:
            value = self.for_job(f"$({match['name']})", number)
            parts = re.fullmatch(r"\s*(\d+)\s*(?:/\s*(\d+))?\s*", value)
            if parts is None:
                return match[0]
            whole = int(parts[1]) // int(parts[2] or 1)
            form = match["rest"].lstrip(",").strip()
            return form % whole if re.fullmatch(r"%0?\d*d", form) else str(whole)

        return re.sub(r"\$INT\((?P<name>\w+)(?P<rest>[^()]*)\)", integer, self.expand(text))


def parse(text: str, directory: Path) -> Description:
    """Read a submit description."""
    description = Description(directory)
    for line, content in _logical_lines(text):
        if re.match(r"queue\b", content, re.IGNORECASE):
            description.queue = (line, content[5:].strip())
            continue
        match = re.match(r"([+\w.]+)\s*=\s*(.*)$", content)
        if match:
            entry = Entry(line, match[1], match[2].strip())
            description.entries.append(entry)
            description.last[entry.name] = entry
    if description.queue is not None:
        _read_items(description, text)
    return description


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with their number, continuations joined, comments dropped, and up to the end of the items."""
    start, whole = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("#") or (not stripped and not whole):
            continue
        start = start or number
        if stripped.endswith("\\"):
            whole += stripped[:-1] + " "
            continue
        yield start, whole + stripped
        if re.match(r"queue\b.*\($", whole + stripped, re.IGNORECASE):
            return
        start, whole = 0, ""


def _read_items(description: Description, text: str) -> None:
    line, statement = description.queue or (0, "")
    match = re.match(r"(?:\d+\s+)?([\w\s,]*?)\s*\b(from|in|matching)\s+(.*)$", statement, re.IGNORECASE | re.DOTALL)
    if match is None:
        return
    description.variables = [name.lower() for name in re.split(r"[\s,]+", match[1]) if name] or ["item"]
    source = description.expand(match[3].strip())
    if match[2].lower() == "matching":
        patterns = re.sub(r"^(files|dirs|any)\b", "", source, flags=re.IGNORECASE).strip("() ")
        description.rows = sorted(
            str(p) for name in re.split(r"[\s,]+", patterns) for p in description.directory.glob(name)
        )
        return
    if source.startswith("("):
        inside = source[1:-1].split(",") if source.endswith(")") else _inline(text, line)
        description.rows = [row.strip() for row in inside if row.strip()]
        return
    path = description.directory / source
    try:
        lines = path.read_text().splitlines()
    except OSError:
        description.missing_items = path
        return
    description.rows = [row.strip() for row in lines if row.strip() and not row.lstrip().startswith("#")]


def _inline(text: str, line: int) -> list[str]:
    rows = text.splitlines()[line:]
    end = next((i for i, row in enumerate(rows) if row.strip().startswith(")")), len(rows))
    return rows[:end]
