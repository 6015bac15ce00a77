"""Results, figures and report of toy scores, with every warning an error."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest
from nanoforge.evaluation import gallery, report, style, summary
from nanoforge.evaluation.figures import loss, roc
from nanoforge.evaluation.importance import Importance
from nanoforge.evaluation.metric import chosen_metrics
from nanoforge.evaluation.results import Fold, PartCounts, Results
from nanoforge.evaluation.scored import Scored
from scipy import stats

pytestmark = pytest.mark.filterwarnings("error")

CLASSES = {2: ("signal", "background"), 3: ("top", "W_boson", "<b>qcd & $x$</b>")}


def classified(classes, rows, seed, present=None):
    """Calibrated scores; some weights are negative."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, present or classes, rows)
    x = rng.normal(size=(rows, classes)) + 1.5 * (label[:, None] == np.arange(classes))
    scores = np.exp(1.5 * x) / np.exp(1.5 * x).sum(axis=1, keepdims=True)
    weight = rng.choice([1.0, 1, 1, -0.3], rows)
    return Scored(scores.astype("f4"), label, weight, weight)


def regressed(rows, seed):
    rng = np.random.default_rng(seed)
    true = rng.gamma(4, 40, (rows, 1))
    weight = rng.choice([1.0, 1, 1, -0.3], rows)
    return Scored(true * 0.95 + 5 + rng.normal(size=(rows, 1)) * np.sqrt(true), true, weight, weight)


def results(kind, folds=1, rows=1500, present=None, histories=None):
    """Toy results of two or three classes, or of a regression (``kind`` 0)."""
    made = []
    for fold in range(folds):
        train, test = (
            regressed(rows, 10 * fold + k) if kind == 0 else classified(kind, rows, 10 * fold + k, present)
            for k in range(2)
        )
        part = PartCounts(fold, "test", max(kind, 1))
        part.add(None if kind == 0 else test.truth, test.weight)
        drops = np.random.default_rng(fold).gamma(1, 0.02, (40, 3))
        single = Importance(tuple(f"jets.feature_{k}" for k in range(40)), drops)
        groups = Importance(("jets: feature_0, feature_1",), drops[:1])
        made.append(Fold(train, test, single, [part], columns=columns(len(test), fold), groups=groups))
    return Results(
        "classification" if kind else "regression",
        CLASSES.get(kind, ("mass",)),
        made,
        [],
        histories=histories or [history()] * folds,
    )


def columns(rows, seed):
    """A column with values that say that there is none."""
    values = np.random.default_rng(seed).gamma(2, 40, rows)
    values[::7], values[:3] = -999, np.nan
    return {"jet.pt": values.astype("f4")}


def history(epochs=10, validated=True):
    epoch = np.arange(1.0, epochs + 1)
    val = 1.1 / epoch if validated else np.full(epochs, np.nan)
    return {"epoch": epoch, "train_loss": 1 / epoch, "val_loss": val, "learning_rate": 1e-3 / epoch}


@pytest.mark.parametrize(("kind", "folds"), [(2, 1), (3, 2), (0, 2)])
def test_every_figure_is_drawn_and_saved(kind, folds, tmp_path):
    plots = gallery.plots(results(kind, folds))
    names = []
    for plot in plots:
        names.append(plot.name)
        for path in style.save(plot.figure, tmp_path / str(len(names))):
            assert path.stat().st_size > 8000
    expected = {
        2: {"score_signal", "roc", "roc_log", "precision_recall", "calibration", "confusion_by_truth", "roc_rejection"},
        3: {"score_top", "score_W_boson", "roc", "roc_log", "confusion_by_prediction", "roc_pairs_top"},
        0: {"residuals_mass", "true_predicted_mass", "bins_mass", "response_mass_true", "response_mass_jet_pt"},
    }[kind]
    expected |= {"response_plane_mass_jet_pt"} if kind == 0 else {f"efficiency_{CLASSES[kind][0]}_jet_pt"}
    assert expected | {"loss", "learning_rate", "importance"} <= set(names)
    assert "roc_pairs_signal" not in names  # it would be the ROC curve
    assert plt.get_fignums() == []


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(plt.rcParams)
    loss.loss([history()])
    assert dict(plt.rcParams) == before


@pytest.mark.parametrize(("kind", "present"), [(2, 1), (3, 2)])
def test_absent_classes_and_few_rows_are_drawn(kind, present):
    found = results(kind, rows=30, present=present, histories=[history(1, validated=False)])
    for plot in gallery.plots(found):
        style.picture_box(plot.figure)
    json.dumps(found.content(), allow_nan=False)


@pytest.mark.parametrize("unit", [1e-7, 1e7])
def test_targets_of_any_unit_are_drawn(unit):
    found = results(0)
    rows = Scored(found.test.scores * unit, found.test.truth * unit, found.test.weight, found.test.weight)
    found = Results("regression", ("mass",), [Fold(rows, rows, found.importance, [])], [], histories=[history()])
    for plot in gallery.plots(found):
        style.picture_box(plot.figure)
    assert found.test_summary["r2.mass"].value > 0.9


def test_constant_targets_and_predictions_are_drawn():
    rows = Scored(np.ones((20, 1)), np.full((20, 1), 2.0), np.ones(20), np.ones(20))
    found = results(0)
    found.folds = [Fold(rows, rows, found.folds[0].importance, [])]
    for plot in gallery.plots(found):
        style.picture_box(plot.figure)


@pytest.mark.parametrize(("kind", "folds"), [(2, 1), (3, 3), (0, 2)])
def test_content_is_plain_json_and_holds_the_folds(kind, folds):
    found = results(kind, folds)
    content = json.loads(json.dumps(found.content(), allow_nan=False))
    assert content["outputs"] == list(found.outputs)
    name = "r2.mass" if kind == 0 else f"auc.{found.outputs[0]}"
    assert 0.8 < content["test"][name]["value"] < 1
    assert len(content["folds"]) == (folds if folds > 1 else 0)
    if folds > 1:
        of_folds = [fold[name]["value"] for fold in content["folds"]]
        assert content["spread"][name]["value"] == pytest.approx(np.mean(of_folds))
        assert content["spread"][name]["error"] == pytest.approx(np.std(of_folds, ddof=1))


def test_pooled_folds_hold_every_test_row_once():
    found = results(2, folds=3, rows=100)
    assert len(found.test) == 300
    assert sum(sum(line["rows"] for line in part["content"].values()) for part in found.content()["parts"]) == 300


def uncertain(rows, seed, levels=()):
    """Two targets of which the second is rarely known; sigma is right for the first and half of it for the second."""
    rng = np.random.default_rng(seed)
    predicted = rng.normal(100, 20, (rows, 2))
    sigma = rng.uniform(2, 6, (rows, 2))
    true = predicted + sigma * rng.normal(size=(rows, 2))
    true[rng.random(rows) < 0.8, 1] = np.nan
    weight = rng.choice([1.0, 1, 1, -0.3], rows)
    if not levels:
        return Scored(predicted, true, weight, weight, (sigma * [1, 0.5])[..., None])
    others = predicted[..., None] + sigma[..., None] * stats.norm.ppf(levels[1:])
    return Scored(predicted, true, weight, weight, others, levels)


def uncertain_results(levels=(), rows=6000):
    made = [
        Fold(uncertain(rows, k, levels), uncertain(rows, 10 + k, levels), results(0).importance, []) for k in range(2)
    ]
    return Results("regression", ("mass", "pt"), made, [])


def agrees(estimate, expected):
    return abs(estimate.value - expected) < 4 * estimate.error


def test_predicted_sigmas_are_judged_by_pulls(tmp_path):
    found = uncertain_results()
    merits = found.test_summary
    for name, width in (("mass", 1), ("pt", 2)):
        assert agrees(merits[f"pull_mean.{name}"], 0) and agrees(merits[f"pull_width.{name}"], width)
    assert len(found.predictions["pt"].true) == pytest.approx(0.2 * 12000, rel=0.1)
    assert found.bins["pt"].rows.sum() == len(found.predictions["pt"].true)
    plots = {plot.name: plot for plot in gallery.plots(found)}
    assert {"pulls_mass", "pulls_pt", "residuals_pt", "bins_pt"} <= set(plots) and "coverage_pt" not in plots
    assert style.save(plots["pulls_pt"].figure, tmp_path / "pulls")[1].stat().st_size > 8000
    page = report.render("toy", found, [], {})
    assert "width of the pulls, pt" in page and json.dumps(found.content(), allow_nan=False)


def test_predicted_quantiles_are_judged_by_their_coverage(tmp_path):
    found = uncertain_results((0.5, 0.025, 0.84))
    merits = found.test_summary
    for name in ("mass", "pt"):
        for level in (0.025, 0.5, 0.84):
            assert agrees(merits[f"coverage.{name}.{100 * level:g}"], level)
    plots = {plot.name: plot for plot in gallery.plots(found)}
    assert {"coverage_mass", "coverage_pt"} <= set(plots) and "pulls_pt" not in plots
    assert style.save(plots["coverage_pt"].figure, tmp_path / "coverage")[1].stat().st_size > 8000
    assert "truth below the 2.5 % quantile, mass" in report.render("toy", found, [], {})


def test_what_is_not_known_changes_no_figure_of_merit():
    whole = regressed(500, 1)
    nothing = np.full((100, 1), np.nan)
    more = Scored(np.ones((100, 1)), nothing, np.ones(100), np.ones(100))
    expected = summary.summarise(whole, ["m"], chosen_metrics("regression"))
    found = summary.summarise(Scored.pool([whole, more]), ["m"], chosen_metrics("regression"))
    assert found == expected
    assert summary.headline(Scored.pool([whole, more]), ["m"], "regression") == expected["r2.m"].value
    truth = np.column_stack([whole.truth, np.full(500, np.nan)])
    rows = Scored(np.repeat(whole.scores, 2, axis=1), truth, whole.weight, whole.weight)
    assert summary.headline(rows, ["m", "n"], "regression") == expected["r2.m"].value


def test_what_a_pointer_reads_is_where_it_is_drawn(tmp_path):
    found = results(2)
    (plot,) = roc.RocCurve().draw(found)
    (tmp_path / "plots").mkdir()
    ((picture,), (_, png)) = gallery.save_all([plot], tmp_path / "plots", tmp_path)
    (curve,) = picture.curves
    assert picture.pdf == "plots/roc.pdf" and picture.section == "Performance" and 50 < len(curve["at"]) <= 200
    threshold, signal, background = (np.array(values, float) for values in curve["values"])
    rows = found.test.of_class(0)
    passed = found.test.scores[:, 0][:, None] >= threshold[1:-1] * (1 - 1e-5)
    for efficiency, chosen in ((signal, rows), (background, ~rows)):
        weight = found.test.weight[chosen]
        assert efficiency[1:-1] == pytest.approx(weight @ passed[chosen] / weight.sum(), abs=0.005)
    pixels = plt.imread(png)[..., :3]
    height, width, _ = pixels.shape
    x, y = (np.array(curve["at"])[20:-20:10] * (width, height)).astype(int).T
    near = [pixels[j - 2 : j + 3, i - 2 : i + 3].reshape(-1, 3) for i, j in zip(x, y)]
    blue = np.array([0x57, 0x90, 0xFC]) / 255
    assert all((np.abs(square - blue).sum(axis=1) < 0.3).any() for square in near)


@pytest.mark.parametrize(
    ("seen", "distance", "p_value", "size"),
    [
        (0.901, 0.01, 0.5, "none"),
        (0.906, 0.01, 0.5, "slight"),
        (0.92, 0.01, 0.5, "strong"),
        (0.901, 0.03, 1e-4, "slight"),
        (0.901, 0.01, 1e-4, "none"),
        (0.88, 0.01, 0.5, "none"),
        (np.nan, 0.01, 0.5, "unknown"),
    ],
)
def test_overtraining_is_judged_by_size_and_significance(seen, distance, p_value, size):
    train, test = {"auc.a": summary.Estimate(seen, 0.001)}, {"auc.a": summary.Estimate(0.9, 0.001)}
    tests = {("a", "a"): summary.KolmogorovSmirnov(distance, p_value)}
    verdict = summary.judge_overtraining(train, test, tests)
    assert verdict.size == size and verdict.seen == (size != "none")
    if size != "unknown":
        assert "0.1000 \N{PLUS-MINUS SIGN} 0.0010 in the test" in verdict.reason


def test_overtraining_of_one_fold_shows():
    found = results(2, folds=2)
    assert all(test.p_value > 0.01 for test in found.tests.values())
    train = found.folds[1].train
    train.scores[:, 0] = train.scores[:, 0] ** 0.5
    found = Results(found.task, found.outputs, found.folds, [])
    assert found.tests["signal", "background"].p_value < 0.001


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.text.append(data)


def test_report_is_self_contained_and_escaped():
    found = results(3, folds=2)
    found.notices.append("mind <script>alert(1)</script>")
    pictures = [report.Picture('a "<i>title</i>"', "what <u>it</u> means", b"\x89PNG", pdf="plots/a.pdf")]
    text = report.render("Evaluation of <h6>toy</h6>", found, pictures, {"run": "/tmp/<pre>", "n": "1"})
    page = Page(text)
    assert not {"b>qcd", "i", "u", "h6", "pre"} & set(page.tags)
    assert page.tags.count("script") == 1  # the page's own
    assert page.tags.count("b") == 2  # of the verdict and the caption
    images = [link for link in page.links if link.startswith("data:image/png;base64,")]
    anchors = [link[1:] for link in page.links if link.startswith("#")]
    assert images and len(anchors) > 3 and all(f'id="{anchor}"' in text for anchor in anchors)
    assert {*page.links} == {*images, *(f"#{anchor}" for anchor in anchors), "plots/a.pdf"}
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", text)
    assert "@import" not in text
    assert any("<b>qcd & $x$</b>" in piece for piece in page.text)
    assert any("0.9" in piece for piece in page.text)
