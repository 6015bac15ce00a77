"""Figures are found where they are put: in our folder, or in a module of the user's beside the analysis file."""

from __future__ import annotations

import numpy as np
import pytest
from nanoforge.config import load
from nanoforge.errors import UserError
from nanoforge.evaluation import figure as module
from nanoforge.evaluation import figures, gallery
from nanoforge.evaluation.figure import FIGURES, all_figures, chosen_figures
from nanoforge.evaluation.importance import Importance
from nanoforge.evaluation.results import Fold, Results
from nanoforge.evaluation.scored import Scored

MODULE = '''
from matplotlib.figure import Figure
from nanoforge.evaluation.figure import ReportFigure

def score_and_weight(results):
    """How scores and weights go together."""
    figure = Figure()
    figure.add_subplot().plot(results.test.scores[:, 0], results.test.weight, "o")
    return figure

def nothing(results):
    pass

def broken(results):
    return results.test.scoers

roc = score_and_weight

class Count(ReportFigure):
    task = "classification"
    title = "Rows of {}"
    meaning = "How many rows {} has."

    def draw(self, results):
        for name in results.outputs:
            yield self.plot(f"count_{name}", Figure(), name)
'''


@pytest.fixture
def user_module(tmp_path):
    (tmp_path / "mine.py").write_text(MODULE)
    return f"{tmp_path}/mine.py"


@pytest.fixture
def results():
    rows = Scored(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 1]), np.ones(3), np.ones(3))
    return Results("classification", ("a", "b"), [Fold(rows, rows, Importance((), np.zeros((0, 1))), [])], [])


@pytest.fixture
def no_others(monkeypatch):
    """Ours are drawn elsewhere."""
    monkeypatch.setattr(module, "all_figures", tuple)


def test_ours_come_in_the_order_of_the_report():
    ranked = {
        "classification": ["roc", "roc_log", "score", "confusion_by_truth", "calibration", "loss", "importance"],
        "regression": ["residuals", "true_predicted", "target_bins", "pulls", "coverage", "loss", "importance"],
    }
    for task, expected in ranked.items():
        names = [type(figure).__module__.rpartition(".")[2] for figure in chosen_figures(task)]
        assert [name for name in names if name in expected] == expected
        others = "classification" if task == "regression" else "regression"
        assert not set(names) & set(ranked[others][:5])
    assert all(figure.title and figure.meaning for figure in all_figures())
    assert len(all_figures()) == len(FIGURES.names())


@pytest.mark.usefixtures("no_others")
def test_a_users_function_and_class_are_drawn_and_saved(user_module, results, tmp_path):
    plots = gallery.plots(results, [f"{user_module}:score_and_weight", f"{user_module}:Count"])
    pictures, paths = gallery.save_all(plots, tmp_path)
    assert [(picture.title, picture.meaning) for picture in pictures] == [
        ("Score and weight", "How scores and weights go together."),
        ("Rows of a", "How many rows a has."),
        ("Rows of b", "How many rows b has."),
    ]
    assert [path.name for path in paths[:4]] == [
        "score_and_weight.pdf",
        "score_and_weight.png",
        "count_a.pdf",
        "count_a.png",
    ]
    assert all(path.stat().st_size for path in paths)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["nothing"],
            r"evaluation.figures: '.*mine.py:nothing' returns NoneType, and a matplotlib.figure.Figure is nee",
        ),
        (["broken"], r"evaluation.figures: '.*mine.py:broken' fails at mine.py:15 .AttributeError"),
        (["Count", "Count"], r"evaluation.figures: there are two figures 'count_a': give yours another name"),
        (["Cuont"], r"evaluation.figures: .*has no 'Cuont'; did you mean 'Count'"),
        (["__name__"], r"evaluation.figures: .*__name__' is not of the form module:name"),
        (["ReportFigure"], r"evaluation.figures: '.*mine.py:ReportFigure' is not finished: it lacks draw"),
    ],
)
@pytest.mark.usefixtures("no_others")
def test_what_is_wrong_with_one_is_named(user_module, results, tmp_path, names, message):
    with pytest.raises(UserError, match=message):
        gallery.save_all(gallery.plots(results, [f"{user_module}:{name}" for name in names]), tmp_path)


def test_one_beside_the_analysis_file_is_found(user_module, tmp_path):
    text = "name: a\nsamples: {a: {files: a.root, label: a}}\ninputs: {e: {features: [x]}}\n"
    (tmp_path / "analysis.yaml").write_text(text + 'evaluation: {figures: ["mine:Count"]}\n')
    analysis = load(tmp_path / "analysis.yaml")
    assert analysis.evaluation.figures == [f"{user_module}:Count"]
    assert list(analysis.evaluation_digests()) == [user_module]


def test_a_file_in_the_folder_is_a_figure(results, tmp_path, monkeypatch):
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "count.py").write_text(MODULE)
    paths = list(figures.__path__)
    for place, name in ((figures, "__path__"), (figures.__spec__, "submodule_search_locations")):
        monkeypatch.setattr(place, name, [*paths, str(folder)])
    monkeypatch.setattr(module, "all_figures", module.all_figures.__wrapped__)
    count = next(figure for figure in chosen_figures("classification") if type(figure).__name__ == "Count")
    assert [plot.name for plot in count.draw(results)] == ["count_a", "count_b"]
