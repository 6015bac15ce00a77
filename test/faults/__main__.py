"""Do harm to every stage, in the ways of real machines and people, and see that nothing goes wrong in silence.

Each case gives one command of a small project that uses all formats. Inputs and intermediates are damaged, processes
get signals, disks are full, limits low, two work at once. Either the result is exactly right, or there is a clear
error, and the same command ends right once its obstacle is gone.

``python test/faults --seed S --case N`` repeats a case.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # processes that have threads cannot be forked
    os.environ[name] = "1"
os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"


def main() -> int:
    from disk import enter_namespace

    options = _arguments()
    enter_namespace()
    from process import preload

    preload()
    from campaign import Plan, clean, conduct, describe, table, write_json
    from cases import BAD, KINDS
    from project import STAGES

    for name, known, given in (("stages", STAGES, options.stages), ("kinds", KINDS, options.kinds)):
        unknown = set(given) - set(known)
        if unknown:
            sys.exit(f"--{name}: no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    plan = Plan(
        options.seed,
        options.seconds,
        options.jobs if not options.case else min(options.jobs, len(options.case)),
        options.stages or list(STAGES),
        options.kinds or list(KINDS),
        options.case,
        options.verbose,
    )
    folder = Path(tempfile.mkdtemp(prefix="nanoforge-faults-"))
    try:
        results = conduct(plan, folder)
    finally:
        clean(folder)
    print(table(results))
    bad = [result for result in results if result.verdict in BAD]
    for result in bad:
        print(f"\n{describe(result)}\n    again: python test/faults {_again(options, result.number)}")
    if options.json:
        write_json(results, plan, options.json)
    return 1 if bad else 0


def _again(options: argparse.Namespace, number: int) -> str:
    words = ["--seed", str(options.seed), "--case", str(number)]
    for name in ("stages", "kinds"):
        if getattr(options, name):
            words += [f"--{name}", *getattr(options, name)]
    return " ".join(words)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="test/faults", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="no case begins that would usually end later (default 60)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with a project of its own")
    parser.add_argument("--case", type=int, nargs="+", default=[], help="only these")
    parser.add_argument("--stages", nargs="+", default=[], help="only these")
    parser.add_argument("--kinds", nargs="+", default=[], help="only these kinds of faults")
    parser.add_argument("--json", type=Path, help="write everything to this file")
    parser.add_argument("--verbose", action="store_true", help="a line for each case")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
