"""``nanoforge compare`` on small evaluated runs: the table, the ROC curves, and what it refuses."""

from __future__ import annotations

import io
import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import make_analysis, write_dataset
from nanoforge.errors import DataError, UserError
from nanoforge.evaluation.comparison import Comparison, Run
from nanoforge.evaluation.report import ReportTable
from nanoforge.provenance import Manifest
from nanoforge.stages import compare as stage
from nanoforge.stages import train as train_stage
from nanoforge.stages.compare import compare
from nanoforge.stages.evaluate import evaluate
from nanoforge.stages.train import train
from rich.console import Console

SMALL = {"type": "deepsets", "constituent": [8], "hidden": [8]}
WIDE = {"type": "mlp", "hidden": [32]}
TREES = {"type": "lightgbm", "num_iterations": 5, "num_leaves": 4}
TRAINING = {"epochs": 2, "batch_size": 64, "learning_rate": 0.01, "accelerator": "cpu"}
SPLIT = {"train": 0.7, "val": 0.1, "test": 0.2}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Evaluated runs: ``small``, ``wide`` and ``trees`` on the same rows, ``folds`` on others, and a regression."""
    home = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_stage, "export_onnx", lambda model, path, metadata: path.write_text("graph"))
        patch.setattr(train_stage, "log_training", lambda *_: {})
        patch.setattr("nanoforge.evaluation.gallery.plots", lambda *_: iter(()))
        for name, model, folds, regression in (
            ("small", SMALL, 1, False),
            ("wide", WIDE, 1, False),
            ("trees", TREES, 1, False),
            ("folds", SMALL, 2, False),
            ("regression", SMALL, 1, True),
            ("regression_wide", WIDE, 1, True),
        ):
            split = {} if folds > 1 else {"split": SPLIT}
            analysis = make_analysis(folds, regression, model=model, training=TRAINING, **split)
            data = home / f"data_{folds}_{regression}"
            if not data.exists():
                write_dataset(data, analysis, (400, 100, 0 if folds > 1 else 2000))
            train(analysis, data, home / name)
            evaluate(home / name)
    return home


def merits(run):
    return json.loads((run / "evaluation" / "metrics.json").read_text())["test"]


def cost(run):
    return Manifest.read(run, "train").details["cost"]


def lines_of(text):
    """The table as it is printed: cells by the first word or words of a line."""
    cells = (re.split(r" {2,}", line.strip()) for line in text.splitlines())
    return {first: rest for first, *rest in cells}


def test_a_comparison_of_three_models(home, tmp_path, capsys):
    runs = [home / name for name in ("small", "wide", "trees")]
    manifest = compare(runs, tmp_path / "out")
    printed, warned = capsys.readouterr()
    assert "warning" not in warned
    of_runs, _, others = printed.partition("Differences to small")
    table = lines_of(others) | lines_of(of_runs)
    for number, run in enumerate(runs):
        found = merits(run)
        auc, _, error = table["AUC, low"][number].partition(" \N{PLUS-MINUS SIGN} ")
        assert float(auc) == pytest.approx(found["auc.low"]["value"], abs=5e-3)
        assert float(error) == pytest.approx(found["auc.low"]["error"], rel=0.1)
        assert int(table["parameters"][number].replace(",", "")) == cost(run)[0]["parameters"]
        assert int(table["epochs (trees)"][number]) == cost(run)[0]["epochs"]
        assert table["training time"][number].endswith(" s")
    assert {"accuracy", "log-loss", "background rejection at 50 % efficiency, low"} <= table.keys()
    assert "background rejection at 30 % efficiency, low" not in table
    assert table["model.type"] == ["deepsets", "mlp", "lightgbm"]
    assert table["model.num_leaves"] == ["\N{EN DASH}", "\N{EN DASH}", "4"]
    assert "training.epochs" not in table
    manifest.verify(tmp_path / "out")
    plots = {f"{stem}_low.{kind}" for stem in ("roc", "roc_log") for kind in ("pdf", "png")}
    assert {record.path for record in manifest.outputs} == plots | {"comparison.html", "comparison.json"}
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert page.count("<img") == 2 and "model.type" in page
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert content["notice"] is None and content["outputs"] == ["low", "high"]
    assert [run["test"] for run in content["runs"]] == [merits(run) for run in runs]
    assert content["differences"]["model.num_leaves"] == [None, None, "4"]
    assert list(content["paired"]) == ["wide", "trees"]
    areas = [merits(run)["auc.low"]["value"] for run in runs]
    difference = content["paired"]["trees"]["auc.low"]
    assert difference["value"] == pytest.approx(areas[2] - areas[0], abs=1e-6) and difference["method"] == "DeLong"
    assert "Differences to small" in printed and "Differences to small" in page


def test_tables_fit_a_narrow_terminal_and_cut_no_number(monkeypatch):
    names = ["a_run_with_quite_a_long_name", "b", "c", "d"]
    lines = [
        ["background rejection at 50 % efficiency, low", *(f"{n}.1234 \N{PLUS-MINUS SIGN} 0.0012" for n in range(4))]
    ]
    lines += [["parameters", *(f"{10**n:,}" for n in range(6, 10))]]
    tables = [ReportTable("Figures of merit", ["", *names], lines)]
    text = io.StringIO()
    console = Console(file=text, width=64, force_terminal=True, color_system=None, soft_wrap=True)
    monkeypatch.setattr("nanoforge.console.out", console)
    monkeypatch.setattr(stage, "out", console)
    stage._show(SimpleNamespace(tables=tables, notice=None))
    printed = text.getvalue()
    assert max(map(len, printed.splitlines())) <= 64
    for cell in (cell for _, *cells in lines for cell in cells):
        assert re.findall(rf"(?<!\S){cell}(?!\S)", printed) == [cell]
    assert printed.count("parameters") == printed.count("Figures of merit") == 2  # two runs in a row


def test_the_number_of_parameters_and_the_time_are_recorded(home):
    (small,), (trees,), folds = (cost(home / name) for name in ("small", "trees", "folds"))
    network = sum(a * b + b for a, b in ((3, 8), (2 + 2 * 8, 8), (8, 2)))  # jets are pooled in two ways
    assert small["parameters"] == network
    assert trees["parameters"] == 5 * (4 + 3)
    assert len(folds) == 2 and all(fold["seconds"] > 0 and fold["epochs"] == 2 for fold in folds)


def test_the_curves_of_an_evaluation_hold_its_auc(home):
    curve = json.loads((home / "small" / "evaluation" / "curves.json").read_text())["low"]
    signal, background = np.array(curve["signal"]), np.array(curve["background"])
    assert len(signal) == len(background) <= 1000
    assert (signal[0], background[0], signal[-1], background[-1]) == (0, 0, 1, 1)
    area = np.sum(np.diff(background) * (signal[1:] + signal[:-1]) / 2)
    assert area == pytest.approx(merits(home / "small")["auc.low"]["value"], abs=1e-3)


def test_folds_show_their_spread_and_other_test_rows_are_warned_of(home, tmp_path, capsys):
    compare([home / "small", home / "folds"], tmp_path / "out")
    printed, warned = capsys.readouterr()
    small, folds = lines_of(printed)["AUC, low"]
    assert "folds" not in small and re.fullmatch(r"0\.\d+ ± 0\.\d+ \(folds: 0\.\d+ ± 0\.\d+\)", folds)
    assert [line for line in warned.splitlines() if line.startswith("warning")] == [
        "warning: folds: tested on other rows, or with other weights, than small: their figures of merit do not compare"
    ]
    assert "tested on other rows" in (tmp_path / "out" / "comparison.html").read_text()


def test_regressions_are_compared_without_curves(home, tmp_path, capsys):
    manifest = compare([home / "regression", home / "regression_wide"], tmp_path / "out")
    table = lines_of(capsys.readouterr().out)
    assert {"bias, z", "resolution, z", "parameters", "model.type"} <= table.keys()
    assert " p " in table["bias, z"][0]  # the later table: the difference
    assert {record.path for record in manifest.outputs} == {"comparison.html", "comparison.json"}


def test_runs_of_different_tasks_do_not_compare(home, tmp_path):
    with pytest.raises(UserError, match=r"regression is a regression of z, and small is a classification of low, high"):
        compare([home / "small", home / "regression"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_without_evaluation_says_which_command_is_missing(home, tmp_path):
    shutil.copytree(home / "wide", tmp_path / "wide", ignore=shutil.ignore_patterns("evaluation"))
    with pytest.raises(UserError, match=rf"not evaluated yet: run 'nanoforge evaluate {tmp_path / 'wide'}'"):
        compare([home / "small", tmp_path / "wide"], tmp_path / "out")
    shutil.copytree(home / "small" / "evaluation", tmp_path / "wide" / "evaluation")
    with pytest.raises(UserError, match="of an earlier training"):
        compare([home / "small", tmp_path / "wide"], tmp_path / "out")


def test_a_broken_evaluation_is_refused(home, tmp_path):
    shutil.copytree(home / "wide", tmp_path / "wide")
    (tmp_path / "wide" / "evaluation" / "curves.json").write_text("{}")
    with pytest.raises(DataError, match=r"curves\.json: changed since it was written"):
        compare([home / "small", tmp_path / "wide"], tmp_path / "out")


@pytest.mark.parametrize("names", [["small"], ["small", "small"]])
def test_one_run_is_no_comparison(home, tmp_path, names):
    with pytest.raises(UserError, match="two runs or more, each once"):
        compare([home / name for name in names], tmp_path / "out")


def test_what_is_up_to_date_is_kept_and_other_runs_need_force(home, tmp_path, monkeypatch, nanoforge):
    runs = [home / "regression", home / "regression_wide"]
    first = nanoforge("compare", *runs, "-o", "out")
    assert first.returncode == 0 and "model.type" in first.stdout
    again = nanoforge("compare", *runs, "-o", "out")
    assert again.stdout == first.stdout and "up to date" in again.stderr
    refused = nanoforge("compare", *reversed(runs), "-o", "out")
    assert refused.returncode == 2 and "--force" in refused.stderr
    assert nanoforge("compare", *reversed(runs), "-o", "out", "--force").returncode == 0


def test_runs_of_equal_names_are_told_apart_by_their_paths(home, tmp_path, capsys):
    shutil.copytree(home / "regression", tmp_path / "a" / "run")
    shutil.copytree(home / "regression_wide", tmp_path / "b" / "run")
    compare([tmp_path / "a" / "run", tmp_path / "b" / "run"], tmp_path / "out")
    printed = capsys.readouterr().out
    assert str(tmp_path / "a" / "run") in printed and str(tmp_path / "b" / "run") in printed


def toy(name, curves=None, **test):
    estimates = {key: {"value": value, "error": None} for key, value in test.items()}
    content = {"task": "classification", "outputs": ["s", "b"], "test": estimates, "spread": {}}
    return Run(name, {"model": {"note": "x" * 100 + name}}, content, curves or {}, [{"parameters": 1}], "d", "r")


def test_undefined_figures_and_long_values_are_written_in_short():
    comparison = Comparison([toy("one", accuracy=None), toy("two", accuracy=0.5)])
    assert [run.merit("accuracy") for run in comparison.runs] == ["undefined", "0.5"]
    assert comparison.runs[0].merit("log_loss") == ""
    assert comparison.differences == {"model.note": ["x" * 100 + "one", "x" * 100 + "two"]}


@pytest.mark.parametrize(("number", "shown"), [(1000.0, [0.5, 0.9, 1]), (100.0, [0.9, 1])])
def test_a_curve_ends_where_ten_background_rows_remain(number, shown):
    curve = {"signal": [0, 0.1, 0.5, 0.9, 1], "background": [0, 0.005, 0.05, 0.5, 1], "background_number": number}
    assert toy("one", {"s": curve}).curve("s", whole=False)[0].tolist() == shown
    assert toy("one", {"s": curve}).curve("s", whole=True)[0].tolist() == curve["signal"]
