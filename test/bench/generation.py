"""``nanoforge generate`` beside Pythia alone: the same settings, seeds and events, in one run.

Pythia alone is its initialisation and ``next()`` for every event, of which nothing is read; ``generate`` is the whole
stage with its file. Both include the initialisation and exclude the imports and numba's compilation, which a warm-up
takes away. The methods are interleaved, each measurement in a process of its own; medians are shown. Memory is that of
the process at its peak, for N and 5 N events.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

import yaml

PROCESSES = ("ttbar", "ggH_tautau")
ALONE, STAGE = "Pythia alone", "nanoforge generate"
LONGER = 5
TARGET, FLAT = 1.2, 1.1
Work = Callable[[], object]


def pythia_alone(process: str, events: int, folder: Path) -> Work:
    from nanoforge.config.schema import Generator
    from nanoforge.simulation import presets
    from nanoforge.simulation.generator import event_blocks
    from nanoforge.simulation.generator.pythia import Engine

    generator = Generator.model_validate(block(process, events))

    def work() -> None:
        engine = Engine(presets.settings(generator, process), process)
        for number, size in enumerate(event_blocks.sizes(events)):
            engine.seed(event_blocks.seeds(generator.seed, process, number).spawn(4)[0])
            for _ in range(size):
                engine._pythia.next()

    return work


def nanoforge_generate(process: str, events: int, folder: Path) -> Work:
    from nanoforge.config import load
    from nanoforge.stages.generate import generate

    samples = {process: {"generator": block(process, events)}}
    config = folder / "analysis.yaml"
    inputs = {"event": {"features": ["GenMET_pt"]}}
    config.write_text(yaml.safe_dump({"name": "bench", "samples": samples, "inputs": inputs}))
    return lambda: generate(load(config), folder / "out")


METHODS = {ALONE: pythia_alone, STAGE: nanoforge_generate}
WARM = ("dy_tautau", 50)  # another process: its engine must not serve the measurement


def block(process: str, events: int) -> dict[str, Any]:
    return {"process": process, "events": events, "seed": 1}


def measure(method: str, process: str, events: int) -> dict[str, float]:
    """Run one method in this process, after a warm-up."""
    with tempfile.TemporaryDirectory() as folder:
        METHODS[method](*WARM, Path(folder))()
    with tempfile.TemporaryDirectory() as folder:
        work = METHODS[method](process, events, Path(folder))
        before, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        work()
        wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": cpu, "wall": wall, "peak_mb": after.ru_maxrss / 1024}


def apart(method: str, process: str, events: int) -> dict[str, float]:
    """Measure in a new process."""
    command = [sys.executable, __file__, "--one", method, process, str(events)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return result


def compare(process: str, events: int, repeat: int) -> None:
    """Measure both methods in turns, and the stage once for more events."""
    rows: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    for _ in range(repeat):
        for method in METHODS:
            rows[method].append(apart(method, process, events))
    show(process, events, rows, apart(STAGE, process, LONGER * events))


def show(process: str, events: int, rows: dict[str, list[dict[str, float]]], longer: dict[str, float]) -> None:
    middle = {m: {k: statistics.median(r[k] for r in measured) for k in measured[0]} for m, measured in rows.items()}
    print(f"\n{process}, {events:,} events, no pileup, one process (median of {len(rows[STAGE])})")
    print(f"{'method':20s} {'ms/event':>9s} {'CPU ms/event':>13s} {'peak MB':>8s} {f'of {LONGER} N':>8s}")
    for method, row in middle.items():
        wall, cpu = (1e3 * row[k] / events for k in ("wall", "cpu"))
        peak = f"{longer['peak_mb']:8.0f}" if method == STAGE else ""
        print(f"{method:20s} {wall:9.2f} {cpu:13.2f} {row['peak_mb']:8.0f} {peak}".rstrip())
    ratio = {k: middle[STAGE][k] / middle[ALONE][k] for k in ("wall", "cpu")}
    growth = longer["peak_mb"] / middle[STAGE]["peak_mb"]
    for what, value, bound in ((f"wall (CPU: {ratio['cpu']:.2f})", ratio["wall"], TARGET), ("memory", growth, FLAT)):
        print(f"ratio of {what}: {value:.2f}; target <= {bound}: {'met' if value <= bound else 'MISSED'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        method, process, events = options.one
        print(json.dumps(measure(method, process, int(events))))
        return
    for process in PROCESSES:
        compare(process, options.events, repeat=options.repeat)


if __name__ == "__main__":
    main()
