"""A minute of the fault campaign, see ``python test/faults --help``; ``make faults`` goes on for an hour."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).with_name("faults")
SLICES = [
    ["skim", "convert", "convert-parquet", "inspect"],
    ["convert-salt", "tune", "init"],
    ["predict-root", "predict-hdf5", "export"],
]
"""What one minute is enough for: each stage needs those before it."""


def test_faults_end_right_or_with_a_clear_error(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    seed, report = request.config.getoption("--faults-seed"), tmp_path / "faults.json"
    words = ["--seconds", "60", "--seed", str(seed), "--json", str(report), "--stages", *SLICES[seed % len(SLICES)]]
    answer = subprocess.run([sys.executable, str(CAMPAIGN), *words], capture_output=True, text=True, check=False)
    print(answer.stdout)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert any(case["verdict"] != "skipped" for case in json.loads(report.read_text())["cases"])
