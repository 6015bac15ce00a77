"""ONNX Runtime 1.14, that of CMSSW_14_0, as its package for Node has it: its own wheels want Python 3.10 or older.

``npm install --prefix DIR onnxruntime-node@1.14.0`` installs it, ``NANOFORGE_ONNXRUNTIME_1_14=DIR`` says where it is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import numpy as np
import pytest

VARIABLE = "NANOFORGE_ONNXRUNTIME_1_14"
SCRIPT = """
const ort = require('onnxruntime-node');
const {path, feed} = JSON.parse(require('fs').readFileSync(0));
ort.InferenceSession.create(path).then(session => {
  const tensors = {};
  for (const [name, {data, dims}] of Object.entries(feed))
    tensors[name] = new ort.Tensor('float32', Float32Array.from(data), dims);
  return session.run(tensors);
}).then(({scores}) => console.log(JSON.stringify({data: Array.from(scores.data), dims: scores.dims})));
"""


def run(path, columns):
    """Return the scores, (N, C), that ONNX Runtime 1.14 gives; skip the test where it is not installed."""
    folder = os.environ.get(VARIABLE)
    if folder is None or shutil.which("node") is None:
        pytest.skip(f"no node, or {VARIABLE} does not say where ONNX Runtime 1.14 is")
    feed = {name: {"data": v.astype("f4").ravel().tolist(), "dims": v.shape} for name, v in columns.items()}
    command = ["node", "-e", SCRIPT]
    content = json.dumps({"path": str(path), "feed": feed})
    done = subprocess.run(command, cwd=folder, input=content, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return np.array(found["data"], np.float32).reshape(found["dims"])
