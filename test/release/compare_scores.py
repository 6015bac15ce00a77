#!/usr/bin/env python3
"""Compare the scores that cmsRun wrote to NanoAOD with the friend tree of ``nanoforge predict`` for the same file.

compare_scores.py NANO FRIEND MODEL_JSON
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import uproot

TOLERANCE = 1e-5


def flat(tree: uproot.TTree, name: str) -> np.ndarray:
    """Return the values of a branch, lists one after the other."""
    return np.concatenate([np.atleast_1d(values) for values in tree[name].array(library="np")])


def main(nano: str, friend: str, model: str) -> None:
    """Exit with an error when a score differs."""
    description = json.loads(Path(model).read_text())
    prefix = "" if description["row"] == "event" else f"{description['row']}_"
    trees = [uproot.open(path)["Events"] for path in (nano, friend)]
    for name in description["outputs"]["scores"]:
        found, expected = (flat(tree, prefix + name) for tree in trees)
        if len(found) != len(expected):
            sys.exit(f"{prefix + name}: {len(found)} scores in cmsRun, {len(expected)} by predict")
        worst = np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected)), initial=0)
        print(f"{prefix + name}: {len(found)} scores, difference {worst:.1e} at most")
        if not worst <= TOLERANCE:
            sys.exit(f"{prefix + name}: differs by more than {TOLERANCE:g}")


if __name__ == "__main__":
    main(*sys.argv[1:])
