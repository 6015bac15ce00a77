"""The frame of the benchmarks: methods side by side in one run, each measurement in a process of its own.

A method is a function ``module.name`` of this folder. Called with an empty folder and its options it prepares its work
and returns the work itself: a function without arguments, which alone is timed and whose result must be JSON. Every
process first does the same on a small input, so that imports and compilation are over when the clock starts, and then
runs the real one. The result of that warm-up may hold ``checksums`` of the output: they are compared with ours, once,
and a method whose output is another is marked; a ``remark`` in the result is shown instead.

Methods are interleaved (round after round) and medians are shown, since other programs disturb the machine. CPU seconds
are those of the process and its children, user and system; the peak is that of the process alone. OpenMP, and so
torch, has one thread everywhere, as in the workers of a loader: threads that wait by spinning would count as work.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from environments import UnavailableError, interpreter

Options = dict[str, Any]
OURS, PEER, LIMIT = "ours", "peer", "limit"
TOLERANCE = 1e-6
ERROR = re.compile(r"[\w.]+(Error|Exception|Exit)\b")
PAGES = 1 << 29
BLOCK = bytes(1 << 18)


@dataclass(frozen=True)
class Method:
    """Something to measure.

    Attributes
    ----------
    name
        As the table shows it.
    function
        ``module.name``.
    options, warm
        Of the measured call, and of the warm-up where they differ.
    events
        How many it goes through.
    kind
        "ours", "peer" or "limit"; the limits of a comparison are added up.
    note
        What it leaves out, or does otherwise.
    environment
        Packages that it needs, see :mod:`environments`.
    """

    name: str
    function: str
    options: Options
    warm: Options
    events: int
    kind: str = PEER
    note: str = ""
    environment: str = ""


@dataclass(frozen=True)
class Row:
    """The medians of a method, its seconds as measured; or the reason why there are none."""

    name: str
    kind: str
    note: str
    events: int
    cpu: float = float("nan")
    wall: float = float("nan")
    peak_mb: float = float("nan")
    output: str = ""
    failure: str = ""
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def cost(self) -> float:
        """CPU seconds per event."""
        return self.cpu / self.events


@dataclass(frozen=True)
class Target:
    """A ratio beside its bound."""

    what: str
    value: float
    bound: float
    at_least: bool

    @property
    def met(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        verdict = "not measured" if self.value != self.value else ("met" if self.met else "MISSED")
        return f"target {self.what} {'>=' if self.at_least else '<='} {self.bound:g}: {self.value:.2f} {verdict}"


def at_most(what: str, value: float, bound: float) -> Target:
    return Target(what, value, bound, at_least=False)


def at_least(what: str, value: float, bound: float) -> Target:
    return Target(what, value, bound, at_least=True)


@dataclass
class Comparison:
    """The rows of one table, and the targets that it says something about."""

    title: str
    rows: list[Row]
    targets: list[Target] = field(default_factory=list)
    conclusions: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    @property
    def limit(self) -> float:
        """CPU seconds per event that the limits cost together."""
        return sum(row.cost for row in self.rows if row.kind == LIMIT)

    def times(self, name: str, ours: str) -> float:
        """How many times the CPU of one of ours a method needs for an event."""
        return self[name].cost / self[ours].cost

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "rows": [_json_safe(asdict(row) | {"cpu_per_event": row.cost}) for row in self.rows],
            "targets": [_json_safe(asdict(target) | {"met": target.met}) for target in self.targets],
            "conclusions": self.conclusions,
        }


def _json_safe(content: dict[str, Any]) -> dict[str, Any]:
    """Turn NaN, which JSON does not know, into null."""
    return {key: None if value != value else value for key, value in content.items()}


@dataclass(frozen=True)
class Settings:
    """How much is measured, and where."""

    folder: Path
    events: int
    repeat: int

    @property
    def many(self) -> int:
        """Five times as many events."""
        return 5 * self.events

    @property
    def few(self) -> int:
        """Events for a warm-up, and for methods that take for ever."""
        return min(self.events, 2_000)


# -- measuring --------------------------------------------------------------------------------------------------------


def compare(title: str, methods: Sequence[Method], settings: Settings, repeat: int | None = None) -> Comparison:
    """Measure methods in turns, and compare their output with that of the first."""
    outcomes: dict[str, list[dict[str, Any]]] = {method.name: [] for method in methods}
    failures: dict[str, str] = {}
    for _ in range(repeat or settings.repeat):
        for method in methods:
            if method.name in failures:
                continue
            try:
                outcomes[method.name].append(measure(method, settings.folder))
            except UnavailableError as reason:
                failures[method.name] = str(reason)
    reference = next((runs[0] for runs in outcomes.values() if runs), {})
    return Comparison(title, [_row(m, outcomes[m.name], failures.get(m.name, ""), reference) for m in methods])


def measure(method: Method, folder: Path) -> dict[str, Any]:
    """Run a method once, in its own process.

    Returns
    -------
    dict
        ``cpu``, ``wall``, ``peak_mb``, ``value`` (what the timed call returned) and ``checksums`` of the warm-up.

    Raises
    ------
    UnavailableError
        When it fails; with the error that it died of.
    """
    python = interpreter(folder, method.environment)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        options = {"warm": method.options | method.warm, "run": method.options}
        task = json.dumps({"function": method.function, "scratch": scratch, "options": options}, default=str)
        environment = os.environ | {"TMPDIR": scratch, "OMP_NUM_THREADS": "1"}
        answer = subprocess.run([python, __file__, task], capture_output=True, text=True, env=environment)
    if answer.returncode:
        said = answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"]
        raise UnavailableError(next((line for line in reversed(said) if ERROR.match(line)), said[-1]))
    return json.loads(answer.stdout.splitlines()[-1])


def perform(function: str, scratch: str, options: dict[str, Options]) -> dict[str, Any]:
    """Do in this process what :func:`measure` wants."""
    module, _, name = function.partition(".")
    prepare = getattr(importlib.import_module(module), name)
    values = {}
    for phase in ("warm", "run"):
        home = Path(scratch) / phase
        home.mkdir()
        work = prepare(home, **options[phase])
        _claim_pages(home / "pages")
        before, start = _cpu(), time.perf_counter()
        values[phase] = work()
        wall, cpu = time.perf_counter() - start, _cpu() - before
    checksums = (values["warm"] or {}).get("checksums", {})
    return {"cpu": cpu, "wall": wall, "peak_mb": _peak_mb(), "value": values["run"], "checksums": checksums}


def _claim_pages(path: Path) -> None:
    """Write and remove a file: on a virtual machine new pages cost five times as much as those just given back."""
    with path.open("wb") as file:
        for _ in range(PAGES // len(BLOCK)):
            file.write(BLOCK)
    path.unlink()


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def _peak_mb() -> float:
    """Peak of this program: what getrusage says includes that of the process which started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes, where there is no /proc (macOS)


def _row(method: Method, runs: list[dict[str, Any]], failure: str, reference: dict[str, Any]) -> Row:
    if failure or not runs:
        return Row(method.name, method.kind, method.note, method.events, failure=failure)
    cpu, wall, peak = (statistics.median(run[key] for run in runs) for key in ("cpu", "wall", "peak_mb"))
    remark = (runs[0]["value"] or {}).get("remark")
    output = remark or _difference(runs[0]["checksums"], reference.get("checksums", {}))
    return Row(method.name, method.kind, method.note, method.events, cpu, wall, peak, output, runs=runs)


def _difference(found: dict[str, float], expected: dict[str, float]) -> str:
    """Say in what an output differs from ours, by the checksums of what both have."""
    if not found or not expected:
        return ""
    common = [name for name in expected if name in found]
    shift = {n: abs(found[n] - expected[n]) / max(abs(expected[n]), 1e-9) for n in common}
    wrong = [name for name in common if shift[name] > TOLERANCE]
    missing = [name for name in expected if name not in found]
    if wrong:
        return f"OTHER: {', '.join(wrong)}"
    exact = "same" if not any(shift.values()) else f"same within {max(shift.values()):.0e}"
    return exact + (f", without {', '.join(missing)}" if missing else "")


# -- showing ----------------------------------------------------------------------------------------------------------


def show(comparison: Comparison) -> None:
    """Print a table; costs are CPU seconds per event, as multiples of the limits' and of our first row's."""
    rounds = max((len(row.runs) for row in comparison.rows), default=0)
    ours = comparison.rows[0].cost
    print(f"\n{comparison.title} (medians of {rounds})")
    header = ("method", "events", "ev/CPU-s", "ev/wall-s", "x limit", "x ours", "peak MB")
    print("  {:34s} {:>9s} {:>11s} {:>11s} {:>7s} {:>7s} {:>7s}  output".format(*header))
    limits = [row for row in comparison.rows if row.kind == LIMIT and not row.failure]
    for row in comparison.rows:
        if row.failure:
            print(f"  {row.name:34s} skipped: {row.failure}")
            continue
        ratio = f"{row.cost / comparison.limit:7.2f}" if limits else f"{'':7s}"
        speeds = f"{row.events / row.cpu:11,.0f} {row.events / row.wall:11,.0f}"
        print(
            f"  {row.name:34s} {row.events:9,d} {speeds} {ratio} {row.cost / ours:7.2f} {row.peak_mb:7.0f}"
            f"  {row.output}"
        )
    if len(limits) > 1:
        print(f"  {'limits together':34s} {'':9s} {1 / comparison.limit:11,.0f} {'':11s} {1:7.2f}")
    for row in comparison.rows:
        if row.note and not row.failure:
            print(f"  {row.name}: {row.note}")
    for line in [*comparison.conclusions, *comparison.targets]:
        print(f"  {line}")


def report(comparisons: Iterator[Comparison], collected: list[Comparison]) -> None:
    """Print comparisons as they come and collect them."""
    for comparison in comparisons:
        show(comparison)
        sys.stdout.flush()
        collected.append(comparison)


def machine() -> dict[str, Any]:
    """Describe what is measured on; ``load`` is what runs there already, which spoils wall times above all."""
    load = round(os.getloadavg()[0], 1)
    return {"cores": os.cpu_count(), "load": load, "machine": platform.machine(), "python": platform.python_version()}


if __name__ == "__main__":
    print(json.dumps(perform(**json.loads(sys.argv[1]))))
