"""Metrics are found where they are put: in our folder, or in a module of the user's beside the analysis file."""

from __future__ import annotations

import numpy as np
import pytest
from nanoforge.config import load
from nanoforge.errors import UserError
from nanoforge.evaluation import metric as module
from nanoforge.evaluation import metrics
from nanoforge.evaluation.metric import all_metrics, chosen_metrics, words
from nanoforge.evaluation.scored import Scored
from nanoforge.evaluation.summary import summarise

ROWS = Scored(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 1]), np.ones(3), np.ones(3))

MODULE = """
from nanoforge.evaluation.metric import ClassMetric
from nanoforge.evaluation.statistics import Estimate

def mean_score(truth, scores, weights):
    return (scores[:, 0] * weights).sum() / weights.sum()

def infinite(truth, scores, weights):
    return float("inf")

def broken(truth, scores, weights):
    return scores[truth == 7][0, 0]

def auc(truth, scores, weights):
    return 1

class Largest(ClassMetric):
    title = "largest score"
    meaning = "The largest score."

    def evaluate(self, rows):
        return Estimate(float(rows.score.max()))
"""


@pytest.fixture
def user_module(tmp_path):
    (tmp_path / "mine.py").write_text(MODULE)
    return f"{tmp_path}/mine.py"


def test_ours_come_in_the_order_of_the_report():
    names = [metric.name for metric in chosen_metrics("classification")]
    expected = ["auc", "rejection", "average_precision", "calibration_error", "accuracy", "log_loss", "brier"]
    assert names == expected
    names = [metric.name for metric in chosen_metrics("regression")]
    assert names == ["bias", "rms", "resolution", "r2", "unresolved", "pull_mean", "pull_width", "coverage"]
    assert all(metric.title and metric.meaning for metric in all_metrics())
    assert words("rejection.signal.50") == "background rejection at 50 % efficiency, signal"
    assert words("coverage.mass.2.5") == "truth below the 2.5 % quantile, mass"
    assert words("mean_score") == "mean_score"


def test_a_users_function_and_class_are_metrics(user_module):
    chosen = chosen_metrics("classification", [f"{user_module}:mean_score", f"{user_module}:Largest"])
    summary = summarise(ROWS, ["a", "b"], chosen)
    assert summary["mean_score"].value == pytest.approx(1.7 / 3)
    assert summary["Largest.a"].value == 0.9
    assert "auc.a" in summary


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("infinite", r"evaluation.functions: '.*mine.py:infinite' gives inf for 3 rows"),
        ("broken", r"evaluation.functions: '.*mine.py:broken' fails.*IndexError"),
        ("auc", r"evaluation.functions: there are two metrics 'auc'"),
        ("meen_score", r"evaluation.functions: .*has no 'meen_score'; did you mean 'mean_score'"),
    ],
)
def test_what_is_wrong_with_one_is_named(user_module, name, message):
    with pytest.raises(UserError, match=message):
        summarise(ROWS, ["a", "b"], chosen_metrics("classification", [f"{user_module}:{name}"]))


def test_one_beside_the_analysis_file_is_found(user_module, tmp_path):
    text = "name: a\nsamples: {a: {files: a.root, label: a}}\ninputs: {e: {features: [x]}}\n"
    (tmp_path / "analysis.yaml").write_text(text + 'evaluation: {functions: ["mine:mean_score"]}\n')
    assert load(tmp_path / "analysis.yaml").evaluation.functions == [f"{user_module}:mean_score"]


def test_a_file_in_the_folder_is_a_metric(tmp_path, monkeypatch):
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "largest.py").write_text(MODULE)
    paths = list(metrics.__path__)
    for place, name in ((metrics, "__path__"), (metrics.__spec__, "submodule_search_locations")):
        monkeypatch.setattr(place, name, [*paths, str(folder)])
    monkeypatch.setattr(module, "all_metrics", module.all_metrics.__wrapped__)
    assert summarise(ROWS, ["a", "b"], chosen_metrics("classification"))["largest.a"].value == 0.9
