"""``make demo``: the whole pipeline on a small data set, with the commands that a physicist would type.

Real CMS Open Data (H to tau tau skims of 2012) are used where they lie beside the repository, toy events otherwise.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import toys

OPEN_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CHANGES = ["split={train: 0.85, val: 0.15, test: 0, folds: 2}", "training={epochs: 30, batch_size: 256}"]


def files(folder: Path) -> list[Path]:
    """Return a file of ttbar and one of Drell-Yan events."""
    real = [OPEN_DATA / f"HTT12_{name}Skim.root" for name in ("TTbar", "DYJetsToLL")]
    if all(path.exists() for path in real):
        return real
    toy = {name: folder / f"{name}.root" for name in ("ttbar", "dy")}
    return [toys.write(path, toys.nano_events(5000, name == "ttbar")) for name, path in toy.items()]


def nanoforge(*arguments: object) -> None:
    """Show a command and run it."""
    words = [str(a) for a in arguments]
    shown = " ".join(repr(w) if " " in w else w for w in words)
    print(f"\n$ nanoforge {shown}", flush=True)
    subprocess.run([sys.executable, "-m", "nanoforge", *words], check=True)


def main(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    inputs = files(folder)
    analysis = folder / "analysis.yaml"
    analysis.unlink(missing_ok=True)
    nanoforge("inspect", *inputs)
    nanoforge("init", *inputs, "-o", analysis)
    nanoforge("run", analysis, *CHANGES, "-o", folder / "results", "-j", 2)
    evaluation = folder / "results" / "run" / "evaluation"
    metrics = json.loads((evaluation / "metrics.json").read_text())
    signal = metrics["outputs"][0]
    value = metrics["spread"][f"auc.{signal}"]
    print(f"\nAUC of {signal}: {value['value']:.4f} +- {value['error']:.4f} (mean and spread over the folds)")
    print(f"report: {evaluation / 'report.html'}\nfriend trees: {folder / 'results' / 'friends'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
