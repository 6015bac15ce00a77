"""ONNX Runtime 1.14, that of CMSSW_14_0, in an environment of its own: its wheels want CPython 3.10 and numpy 1.

``.ci/run`` makes the environment and says in NANOFORGE_ONNXRUNTIME_1_14 where it is. That environment's interpreter
runs this file as a script, so the top imports nothing that it lacks.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

VARIABLE = "NANOFORGE_ONNXRUNTIME_1_14"


def run(path, feeds, outputs=("scores",)):
    """Return what ``InferenceSession.run`` gives for each feed; skip the test where there is no such environment."""
    import pytest

    environment = os.environ.get(VARIABLE)
    if environment is None:
        pytest.skip(f"{VARIABLE} does not name an environment with ONNX Runtime 1.14; CI makes one")
    members = {f"{i}/{name}": np.asarray(v, "f4") for i, feed in enumerate(feeds) for name, v in feed.items()}
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder, "given.npz"), Path(folder, "found.npz")
        np.savez(given, **members)
        command = [Path(environment, "bin", "python"), "-I", __file__, path, given, found, *outputs]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        with np.load(found) as arrays:
            return [[arrays[f"{i}/{name}"] for name in outputs] for i in range(len(feeds))]


def main(path, given, found, *outputs):
    import onnxruntime

    assert onnxruntime.__version__.startswith("1.14."), onnxruntime.__version__
    feeds = {}
    with np.load(given) as arrays:
        for member in arrays.files:
            number, _, name = member.partition("/")
            feeds.setdefault(number, {})[name] = arrays[member]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    results = {number: session.run(list(outputs), feed) for number, feed in feeds.items()}
    np.savez(found, **{f"{n}/{name}": v for n, values in results.items() for name, v in zip(outputs, values)})


if __name__ == "__main__":
    main(*sys.argv[1:])
