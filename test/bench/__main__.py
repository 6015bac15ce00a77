"""Measure NanoForge beside its peers and the limits of the machine: ``make bench``, or ``python test/bench convert``.

What is needed (data, environments of the peers) is made on first use and kept in a folder between runs. A peer that
cannot be installed is skipped, with the reason.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from environments import UnavailableError
from measure import Comparison, Settings, machine, report

BENCHMARKS = ["startup", "bookkeeping", "convert", "feeding", "storage", "images", "scale", "serving"]
GENERATION = Path(__file__).with_name("generation.py")


def main() -> int:
    options = _arguments()
    options.folder.mkdir(parents=True, exist_ok=True)
    events, repeat = (20_000, 1) if options.quick else (options.events, options.repeat)
    settings = Settings(options.folder.resolve(), events, repeat)
    here = machine()
    print(", ".join(f"{key} {value}" for key, value in here.items()))
    collected: list[Comparison] = []
    failed: list[str] = []
    for name in options.names or _known():
        try:
            if name == GENERATION.stem:
                _generation(options.quick, repeat)
            else:
                report(importlib.import_module(name).run(settings), collected)
        except (UnavailableError, subprocess.CalledProcessError) as reason:
            failed.append(f"{name} stopped: {reason}")
    if collected:
        _summarise(collected)
    if options.json:
        options.json.write_text(json.dumps({**here, "tables": [c.as_json() for c in collected]}, indent=1))
    for line in failed:
        print(line, file=sys.stderr)
    return len(failed)


def _generation(quick: bool, repeat: int) -> None:
    """Run the benchmark of the generation, a program of its own, which counts in other events."""
    fewer = ["--events", "100"] if quick else []
    subprocess.run([sys.executable, str(GENERATION), "--repeat", str(repeat), *fewer], check=True)


def _known() -> list[str]:
    """List the benchmarks that are there."""
    return [*BENCHMARKS, *([GENERATION.stem] if GENERATION.exists() else [])]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="test/bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(_known()))
    parser.add_argument("--quick", action="store_true", help="few events, one round: to see that it works")
    parser.add_argument(
        "--events", type=int, default=200_000, help="in the smaller files; the larger have 5 times more"
    )
    parser.add_argument("--repeat", type=int, default=3, help="rounds, of which the median counts")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "nanoforge-bench")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in _known()]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}: choose from {', '.join(_known())}")
    return options


def _summarise(collected: list[Comparison]) -> None:
    missed = [target for comparison in collected for target in comparison.targets if not target.met]
    total = sum(len(comparison.targets) for comparison in collected)
    print(f"\n{total - len(missed)} of {total} targets met" + (", not met:" if missed else ""))
    for target in missed:
        print(f"  {target}")


if __name__ == "__main__":
    sys.exit(main())
