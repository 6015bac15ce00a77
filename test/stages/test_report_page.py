"""The report of an evaluation in a browser: nothing is asked of a network, curves can be read off, no table is cut."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import toys
import yaml
from browser import browse, needs_chromium
from nanoforge.config import load
from nanoforge.stages import train as train_stage
from nanoforge.stages.convert import convert
from nanoforge.stages.evaluate import evaluate
from nanoforge.stages.train import train

MEASURE = """
<script>
var right = document.body.getBoundingClientRect().right + 1;
var cut = Array.from(document.querySelectorAll("table, figure, dl")).filter(function (one) {
  return one.getBoundingClientRect().right > right || one.scrollWidth > one.clientWidth + 1;
});
document.title = "cut: " + cut.length + " of " + document.querySelectorAll("table").length + " tables";
</script>
"""
PAPER = "<style>html { width: 186mm; } body { width: 186mm; margin: 0; }</style>"


def analyse(folder: Path, samples: dict, features: list[str], keep: list[str], **changes: object) -> Path:
    content = {
        "name": "report",
        "samples": samples,
        "inputs": {"event": {"features": features, "missing": -999, "nan": {"fill": -10}}},
        "keep": keep,
        "split": {"train": 0.5, "val": 0.1, "test": 0.4},
        "model": {"type": "mlp", "hidden": [16]},
        "training": {"epochs": 2, "batch_size": 256, "accelerator": "cpu"},
    }
    (folder / "analysis.yaml").write_text(yaml.safe_dump(content | changes, sort_keys=False))
    analysis = load(folder / "analysis.yaml")
    convert(analysis, folder / "data")
    train(analysis, folder / "data", folder / "run")
    evaluate(folder / "run")
    return folder / "run" / "evaluation"


@pytest.fixture
def make(monkeypatch, tmp_path):
    monkeypatch.setattr(train_stage, "export_onnx", lambda model, path, *_: path.write_text("graph"))
    monkeypatch.setattr(train_stage, "log_training", lambda *_: {})
    monkeypatch.setattr("nanoforge.stages.evaluate.log_evaluation", lambda *_: None)
    return lambda *arguments, **changes: analyse(tmp_path, *arguments, **changes)


def check_in_browser(folder: Path, tmp_path: Path) -> None:
    report = folder / "report.html"
    seen = browse(f"file://{report}", tmp_path, "--dump-dom")
    assert "CONSOLE" not in seen.stderr, seen.stderr
    curves = seen.stdout.count("data-curves=")
    assert curves >= 2 and len(re.findall(r'class="tip"', seen.stdout)) == curves, "the script ran"
    for link in re.findall(r'class="links" href="([^"]*)"', seen.stdout):
        assert (folder / link).read_bytes().startswith(b"%PDF")
    text = report.read_text()
    assert len(text) < 5e6
    on_paper = re.sub(r"<meta http-equiv=[^>]*>", PAPER, text).replace("@media print", "@media all")
    (tmp_path / "paper.html").write_text(on_paper.replace("</body>", f"{MEASURE}</body>"))
    measured = browse(f"file://{tmp_path}/paper.html", tmp_path, "--window-size=703,1000", "--dump-dom").stdout
    assert re.search(r"<title>cut: 0 of [5-9] tables", measured), re.search(r"<title>[^<]*", measured)
    pdf = tmp_path / "report.pdf"
    browse(f"file://{report}", tmp_path, f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
    assert pdf.read_bytes().startswith(b"%PDF") and b"/Count" in pdf.read_bytes()


@needs_chromium
def test_a_report_of_toys(make, tmp_path):
    toys.write(tmp_path / "tt.root", toys.nano_events(900, True), sumw=1440)
    toys.write(tmp_path / "dy.root", toys.nano_events(900, False), sumw=1440)
    samples = {
        "a_sample_with_a_long_name_" * 3 + name: {"files": str(tmp_path / f"{name}.root"), "label": name, "xsec": 10.0}
        for name in ("tt", "dy")
    }
    cuts = {"a_cut_with_a_name_that_is_very_long_indeed_" * 2: "MET_pt > 5"}
    folder = make(samples, ["MET_pt", "nJet"], ["nMuon"], weight="genWeight", select=cuts)
    check_in_browser(folder, tmp_path)


@needs_chromium
def test_a_report_of_real_events(make, tmp_path, shared):
    files = {"ttbar": "HTT12_TTbarSkim.root", "dy": "HTT12_DYJetsToLLSkim.root"}
    samples = {name: {"files": str(shared(file)), "label": name} for name, file in files.items()}
    folder = make(samples, ["pt_1", "mt_1", "njets", "jpt_1", "pt_met"], ["m_vis"])
    check_in_browser(folder, tmp_path)
    text = (folder / "report.html").read_text()
    assert re.search(r"event.jpt_1</b>|<b>event.jpt_1", text) and "are exactly -10" in text
    assert "m_vis of the background" in text and ">10,754<" not in text and ">3,783<" in text and ">6,971<" in text
