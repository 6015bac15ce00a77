"""A stub of cmsDriver's options: those that are used here, by the names of the real ones."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

_VALUES = (
    "step", "era", "conditions", "geometry", "eventcontent", "datatier", "beamspot", "pileup_input", "datamix",
    "procModifiers", "filein", "fileout", "nThreads", "number_out", "evt_type", "lumiToProcess", "inputCommands",
    "outputCommands", "customise_commands", "python_filename", "pileup",
)  # fmt: skip


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="cmsDriver.py", allow_abbrev=False)
    for name in _VALUES:
        made.add_argument(f"--{name}")
    made.add_argument("-n", "--number", type=int)
    for name in ("mc", "data", "fast", "no_exec", "runUnscheduled"):
        made.add_argument(f"--{name}", action="store_true")
    return made


def OptionsFromItems(items: Sequence[str]) -> argparse.Namespace:
    return parser().parse_args(items)
