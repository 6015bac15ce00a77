"""Cases one after the other until the time is over, by several processes, and what came of them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from cases import BAD, RIGHT, Case, Result
from disk import Disk
from process import adopt_orphans, end_leftovers
from project import Project


@dataclass(frozen=True)
class Plan:
    """What to do: ``numbers`` of cases, or as many as ``seconds`` allow."""

    seed: int
    seconds: float
    jobs: int
    stages: Sequence[str]
    kinds: Sequence[str]
    numbers: Sequence[int] = ()
    verbose: bool = False


def conduct(plan: Plan, folder: Path) -> list[Result]:
    """Do the cases in ``folder``; each process takes every so-manieth."""
    end = time.monotonic() + plan.seconds
    workers = [_fork(plan, folder / f"worker{i}", i, end) for i in range(plan.jobs)]
    broken = [pid for pid in workers if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0]
    if broken:
        raise RuntimeError(f"{len(broken)} of {plan.jobs} processes of the campaign have failed")
    lines = [line for path in folder.glob("worker*/results") for line in path.read_text().splitlines()]
    return sorted((Result(**json.loads(line)) for line in lines), key=lambda result: result.number)


def _fork(plan: Plan, folder: Path, worker: int, end: float) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _work(plan, folder, worker, end)
            code = 0
        except BaseException as error:
            print(f"worker {worker}: {type(error).__name__}: {error}", file=sys.stderr)
        finally:
            sys.stderr.flush()
            os._exit(code)
    return pid


def _work(plan: Plan, folder: Path, worker: int, end: float) -> None:
    adopt_orphans()
    folder.mkdir(parents=True)
    disk = Disk(folder / "work")
    try:
        project = Project(folder, lambda words: _tell(f"worker {worker}: {words}") if plan.verbose else None)
        usual = 0.0
        with (folder / "results").open("w") as results:
            for number in plan.numbers[worker :: plan.jobs] if plan.numbers else count(worker, plan.jobs):
                if not plan.numbers and time.monotonic() + usual > end:
                    break
                result = _do(Case(project, disk, plan.seed, number, plan.stages, plan.kinds))
                usual = (usual + result.seconds) / 2
                results.write(json.dumps(asdict(result)) + "\n")
                results.flush()
                if plan.verbose or result.verdict in BAD:
                    _tell(describe(result) if result.verdict in BAD else headline(result))
    finally:
        end_leftovers(0)
        disk.close()


def _do(case: Case) -> Result:
    start = time.monotonic()
    result = case.run()
    result.seconds = round(time.monotonic() - start, 1)
    return result


def headline(result: Result) -> str:
    """Say in a line what came of a case."""
    why = f" ({result.why})" if result.why else ""
    return f"case {result.number}, {result.stage}, {result.kind}, {result.what}: {result.verdict}{why}"


def describe(result: Result) -> str:
    """Say all about a case, and how to repeat it."""
    return "\n".join([headline(result), *(f"    {words}" for words in result.commands)])


def _tell(text: str) -> None:
    os.write(2, f"{text}\n".encode())


def table(results: Sequence[Result]) -> str:
    """Count the verdicts by stage and kind."""
    verdicts = sorted({result.verdict for result in results}, key=lambda verdict: (verdict in BAD, verdict != RIGHT))
    counts = Counter((result.stage, result.kind, result.verdict) for result in results)
    rows = [("stage", "fault", *verdicts)]
    for stage, kind in sorted({(stage, kind) for stage, kind, _ in counts}):
        rows.append((stage, kind, *(str(counts[stage, kind, v] or "") for v in verdicts)))
    rows.append(("all", "", *(str(sum(n for (*_, v), n in counts.items() if v == verdict)) for verdict in verdicts)))
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows)


def write_json(results: Sequence[Result], plan: Plan, path: Path) -> None:
    """Write all results, and the counts."""
    counts = Counter(result.verdict for result in results)
    content = {"seed": plan.seed, "counts": counts, "cases": [asdict(result) for result in results]}
    path.write_text(json.dumps(content, indent=1) + "\n")


def clean(folder: Path) -> None:
    """Remove what a campaign has left."""
    shutil.rmtree(folder, ignore_errors=True)
