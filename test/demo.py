"""``make demo``: from two physics processes to a trained model, with the commands that a physicist would type.

The analysis file is ``doc/examples/demo.yaml``. Everything else is made here: the events too.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path


def nanoforge(*arguments: object) -> None:
    """Show a command and run it."""
    words = [str(a) for a in arguments]
    print(f"\n$ nanoforge {' '.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "nanoforge", *words], check=True)


def main(folder: Path) -> None:
    """Run the pipeline in a folder and say where its results are."""
    start = time.monotonic()
    folder.mkdir(exist_ok=True)
    analysis = folder / "analysis.yaml"
    shutil.copyfile(Path(__file__).resolve().parents[1] / "doc" / "examples" / "demo.yaml", analysis)
    results = folder / "results"
    nanoforge("run", analysis, "-o", results, "-j", 2)
    nanoforge("inspect", results / "generated" / "ggH.root", "--filter", "Tau_*")
    evaluation = results / "run" / "evaluation"
    auc = json.loads((evaluation / "metrics.json").read_text())["test"]["auc.higgs"]
    print(f"\nAUC of higgs against z: {auc['value']:.3f} +- {auc['error']:.3f}")
    print(f"report: {evaluation / 'report.html'}\nfriend trees: {results / 'friends'}")
    print(f"all in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
