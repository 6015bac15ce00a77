"""Stands in for Python with NanoForge in a job: python stub.py -m nanoforge STAGE ... -o OUTPUT, fast and at will.

It fails once for each file ``fail-<stage>-<first unit>`` in the folder $STUB, with the exit code that stands in it. A
training counts epochs of 0.2 seconds, each with a checkpoint.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else ""


def train(output: Path, epochs: int) -> list[int]:
    """Go on at the last checkpoint; returns the epochs at which it began."""
    checkpoint = output.with_name(f".{output.name}.unfinished") / "fold0" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    state = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"epoch": 0, "begun": []}
    state["begun"].append(state["epoch"])
    while state["epoch"] < epochs:
        time.sleep(0.2)
        state["epoch"] += 1
        temporary = checkpoint.with_suffix(".part")
        temporary.write_text(json.dumps(state))
        temporary.replace(checkpoint)
    return state["begun"]


def main() -> None:
    stage = sys.argv[3]
    if stage == "--version":
        print("nanoforge stub")
        return
    part = option("--part")
    order = Path(os.environ["STUB"]) / f"fail-{stage}-{part.rpartition(':')[2].partition('-')[0] or 'whole'}"
    if order.exists() and not option("--from-parts"):
        code = int(order.read_text())
        order.unlink()
        print(f"error: {stage} {part} fails as ordered", file=sys.stderr)
        sys.exit(code)
    output = Path(option("-o"))
    begun = train(output, int(os.environ.get("EPOCHS", "1"))) if stage == "train" else []
    output.mkdir()
    content = {"stage": stage, "words": sys.argv[3:], "begun": begun}
    (output / "manifest.json").write_text(json.dumps(content))


main()
