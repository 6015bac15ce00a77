"""``nanoforge evaluate`` on small trained models: what it writes, and what it refuses."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys

import numpy as np
import pytest
import uproot
from datasets import make_analysis, write_dataset
from matplotlib.figure import Figure
from nanoforge.cli import main
from nanoforge.config.evaluation import Evaluation
from nanoforge.dataset.open import open_dataset
from nanoforge.errors import DataError, UserError
from nanoforge.evaluation import scoring
from nanoforge.evaluation.figure import Plot
from nanoforge.evaluation.overview import wording_of
from nanoforge.models.base import score
from nanoforge.models.load import load_model
from nanoforge.provenance import Manifest
from nanoforge.provenance.manifest import sealed, unsealed
from nanoforge.stages import evaluate as stage
from nanoforge.stages import train as train_stage
from nanoforge.stages.evaluate import evaluate
from nanoforge.stages.train import train
from sklearn.metrics import roc_auc_score

SPLIT = {"train": 0.7, "val": 0.1, "test": 0.2}
OPTIONS = {"epochs": 2, "batch_size": 64, "learning_rate": 0.01, "accelerator": "cpu"}


def make(folds=1, regression=False, seed=1, **changes):
    split = {} if folds > 1 else {"split": SPLIT | {"seed": seed}}
    model = {"type": "deepsets", "constituent": [16], "hidden": [16]}
    return make_analysis(folds, regression, model=model, training=OPTIONS, **split, **changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Make runs beside their datasets, once each; a test that changes one gets a copy of its own."""
    made = {}

    def run(folds=1, regression=False, own=None):
        key = folds, regression
        if key not in made:
            home = tmp_path_factory.mktemp("trained")
            rows = (600, 150, 0 if folds > 1 else 300)
            analysis = make(folds, regression)
            write_dataset(home / "data", analysis, rows)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(train_stage, "export_onnx", lambda model, path, metadata: path.write_text("graph"))
                patch.setattr(train_stage, "log_training", lambda *_: {})
                train(analysis, home / "data", home / "run")
            made[key] = home
        if own is None:
            return made[key] / "run", made[key] / "data"
        shutil.copytree(made[key] / "run", own / "run")
        return own / "run", made[key] / "data"

    return run


@pytest.fixture
def undrawn(monkeypatch):
    """Leave out the figures, which take seconds."""
    monkeypatch.setattr(stage.gallery, "plots", lambda *_: iter(()))


def expected_auc(run, data, fold=0):
    rows = open_dataset(data).arrays("test", fold)
    scores = score(load_model(run / f"fold{fold}" / "model.pt"), {k: t.numpy() for k, t in rows.inputs.items()})
    return roc_auc_score(rows.label == 0, scores[:, 0], sample_weight=rows.weight)


def rows_of(found, part):
    return sum(line["rows"] for p in found["parts"] if p["part"] == part for line in p["content"].values())


def move_dataset(run, path):
    """Make the run believe that its dataset lies elsewhere."""
    manifest = unsealed((run / "manifest.json").read_text())
    manifest["details"]["dataset"]["path"] = str(path)
    (run / "manifest.json").write_text(sealed(manifest))


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
    output = tmp_path_factory.mktemp("evaluated") / "out"
    run, data = trained()
    return output, evaluate(run, output=output), run, data


def test_a_classification_end_to_end(evaluated):
    _, found, run, data = evaluated
    assert found["test"]["auc.low"]["value"] == pytest.approx(expected_auc(run, data), abs=1e-6)
    assert found["test"]["auc.low"]["value"] > 0.8
    assert [rows_of(found, part) for part in ("train", "val", "test")] == [600, 150, 300]
    drops = {name: drop["value"] for name, drop in found["importance"]["decrease"].items()}
    assert set(drops) == {"event.number", "event.a", "jets.pt", "jets.eta", "jets.mass"}
    assert min(drops["event.a"], drops["jets.eta"]) > max(abs(drops[n]) for n in ("jets.pt", "jets.mass"))


def test_classes_of_negative_weight_and_the_rows_that_count_are_told(trained, undrawn, tmp_path, capsys):
    def spoil(split, columns):
        if split == "test":
            columns["weight"][columns["target/label"] == 0] *= -1

    run, _ = trained()
    other = write_dataset(tmp_path / "data", make(), (60, 20, 40), change=spoil)
    found = evaluate(run, data=other, output=tmp_path / "out")
    said = capsys.readouterr()
    notice = next(
        line for line in found["notices"] if line.startswith("The weights of class 'low' in the test rows sum to -")
    )
    assert "training.balance.negative" in notice and f"warning: {notice}" in said.err
    assert not any("class 'high'" in line or "val rows" in line for line in found["notices"])
    negative = next(p["content"]["low"]["negative"] for p in found["parts"] if p["part"] == "test")
    assert f"of 40 test rows, with their physics weights ({negative} of them negative):" in said.out
    assert "limit" not in said.out and "training rows read" in " ".join(said.out.split())
    assert notice.replace("'", "&#x27;") in (tmp_path / "out" / "report.html").read_text()


def test_the_output_directory_is_complete(evaluated):
    output, found, _, data = evaluated
    assert json.loads((output / "metrics.json").read_text()) == found
    manifest = Manifest.read(output, "evaluate")
    manifest.verify(output)
    files = {record.path for record in manifest.outputs}
    assert {"report.html", "metrics.json", "plots/roc.pdf", "plots/roc.png", "plots/loss.png"} <= files
    page = (output / "report.html").read_text()
    assert page.count("<img") == sum(name.endswith(".png") for name in files)
    assert manifest.config_sha256 in page and open_dataset(data).identity in page


def test_histograms_of_inputs_hold_the_weights_of_the_rows(evaluated):
    output, _, _, data = evaluated
    with uproot.open(output / "histograms.root") as file:
        for part, split in (("training", "train"), ("test", "test")):
            rows = open_dataset(data).arrays(split, 0)
            weight, label = rows.weight.numpy().astype("f8"), rows.label.numpy()
            valid = rows.inputs["jets_mask"].numpy()
            jets = rows.inputs["jets"].numpy()[valid]
            for k, name in enumerate(("low", "high")):
                a = file[f"inputs/event_a/{part}_{name}"].to_hist()
                chosen = label == k
                edges = np.concatenate([[-np.inf], a.axes[0].edges, [np.inf]])
                for power, sums in ((1, a.values(flow=True)), (2, a.variances(flow=True))):
                    values = rows.inputs["event"].numpy()[chosen, 1]
                    expected, _ = np.histogram(values, edges, weights=weight[chosen] ** power)
                    assert sums == pytest.approx(expected, rel=1e-5)
                pt = file[f"inputs/jets_pt/{part}_{name}"].to_hist()
                of_jets = np.repeat(weight, valid.sum(axis=1))[np.repeat(label, valid.sum(axis=1)) == k]
                assert pt.values(flow=True).sum() == pytest.approx(of_jets.sum(), rel=1e-5)
                of_class = jets[np.repeat(label, valid.sum(axis=1)) == k, 0]
                inside = (of_class >= 50) & (of_class < pt.axes[0].edges[-1])
                assert pt[50j::sum].value == pytest.approx(of_jets[inside].sum(), rel=0.02)
    page = (output / "report.html").read_text()
    assert "Correlation in low" in page and "<b>jets.pt.</b>" in page


def test_titles_and_labels_are_in_the_figures(trained, tmp_path, monkeypatch):
    run, _ = trained()
    titles = {"jets.pt": "Jet $p_T$ [GeV]", "low": "light $H$"}
    drawn = {}

    def keep(plots, *_):
        drawn.update({plot.name: plot.figure for plot in plots if plot.figure is not None})
        return [], []

    monkeypatch.setattr(stage.gallery, "save_all", keep)
    label = {"experiment": "Toys", "status": "Internal", "energy": 13.6}
    evaluate(run, output=tmp_path / "out", evaluation=Evaluation(titles=titles, label=label))
    words = [text.get_text() for text in drawn["input_jets_pt"].axes[0].texts]
    assert {"Toys", "Simulation Internal", "(13.6 TeV)"} <= set(words)
    assert drawn["input_jets_pt"].axes[1].get_xlabel() == "Jet $p_T$ [GeV]"
    legend = drawn["input_jets_pt"].axes[0].get_legend()
    assert legend.get_texts()[0].get_text() == "light $H$"
    with pytest.raises(UserError, match=r"evaluation.titles.jets.pt: .* cannot be drawn"):
        evaluate(run, output=tmp_path / "no", evaluation=Evaluation(titles={"jets.pt": r"$\\nothing{$"}))


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ({"a": {"files": ["a"]}}, ("CMS", "")),
        (
            {"a": {"generator": {"energy": 13600}, "xsec": 1.0}},
            ("", "59.83 fb$^{-1}$ (13.6 TeV)"),
        ),
        ({"a": {"generator": {"energy": 13600}}, "b": {"files": ["b"]}}, ("CMS", "")),
    ],
)
def test_the_experiment_is_cms_unless_all_is_generated(samples, expected):
    blocks = {name: {"generator": None, "xsec": None} | block for name, block in samples.items()}
    wording = wording_of(Evaluation(), {"samples": blocks, "lumi": 59830.0})
    assert (wording.experiment, wording.right) == expected


def test_a_regression_end_to_end(trained, tmp_path):
    run, _ = trained(regression=True)
    found = evaluate(run, output=tmp_path / "out")
    assert found["test"]["r2.z"]["value"] > 0.5
    assert found["importance"]["metric"] == "R\N{SUPERSCRIPT TWO}"
    assert (tmp_path / "out" / "plots" / "residuals_z.pdf").exists()


def test_rows_outside_of_a_range_do_not_count(trained, undrawn, tmp_path):
    run, data = trained(regression=True)
    rows = open_dataset(data).arrays("test", 0)
    truth = rows.targets.numpy()[:, 0]
    middle = float(np.median(truth))
    low, high = max(0.0, middle), float(np.quantile(truth, 0.9))
    found = evaluate(run, output=tmp_path / "out", evaluation=Evaluation(range={"z": (low, high)}))
    scores = score(load_model(run / "fold0" / "model.pt"), {k: t.numpy() for k, t in rows.inputs.items()})[:, 0]
    inside = (truth >= low) & (truth <= high)
    weight = rows.weight.numpy()[inside]
    bias = np.average((scores - truth)[inside], weights=weight)
    assert found["test"]["bias.z"]["value"] == pytest.approx(bias, abs=1e-5)
    assert found["test"]["unresolved.z"]["value"] == pytest.approx(np.average(scores[inside] < 0, weights=weight))
    assert f"in {(~inside).sum():,} of {len(truth):,} test rows" in found["notices"][0]
    other = evaluate(run, output=tmp_path / "other")
    assert "unresolved.z" not in other["test"], "it is below 0 itself"
    with pytest.raises(UserError, match=r"evaluation.range.z: no test row of .* has a truth in it"):
        evaluate(run, output=tmp_path / "none", evaluation=Evaluation(range={"z": (1e6, 2e6)}))


TARGETS = {"regression": {"z": "z", "y": "2 * z + 91"}}


def second_target(split, columns):
    """A second target, which is known in half of the rows; both are smeared, by 0.6 and 1.2."""
    z, known = columns["target/z"], columns["event/features"][:, 0] % 2 == 0
    z += np.random.default_rng(len(split)).normal(0, 0.6, len(z)).astype("f4")
    columns["target/y"] = np.where(known, 2 * z + 91, np.nan).astype("f4")


@pytest.fixture
def quick(monkeypatch):
    """Leave out what takes seconds and is tested elsewhere: the export and MLflow."""
    monkeypatch.setattr(train_stage, "export_onnx", lambda model, path, *_: path.write_text("graph"))
    monkeypatch.setattr(train_stage, "log_training", lambda *_: {})


def test_scores_are_attributed_to_features_where_that_is_asked_for(trained, tmp_path):
    run, _ = trained(folds=2)
    found = evaluate(run, output=tmp_path / "out", evaluation=Evaluation(integrated_gradients=60))
    attribution = found["attribution"]
    assert attribution["rows"] == 60 and attribution["incomplete"] < 1e-3
    names = ["event.number", "event.a", "jets.pt", "jets.eta", "jets.mass"]
    assert list(attribution["mean"]) == names and all(v["value"] > 0 for v in attribution["mean"].values())
    assert (tmp_path / "out" / "plots" / "attribution.pdf").exists()
    assert "Integrated gradients" in (tmp_path / "out" / "report.html").read_text()


def evaluate_anew(home, model, loss=None, regression=True, change=second_target):
    target = {"target": TARGETS} if regression else {}
    training = OPTIONS | {"epochs": 20, "loss": loss}
    analysis = make_analysis(regression=regression, split=SPLIT, model=model, training=training, **target)
    write_dataset(home / "data", analysis, (1500, 300, 600), change=change if regression else None)
    train(analysis, home / "data", home / "run")
    return evaluate(home / "run")


DEEPSETS = {"type": "deepsets", "constituent": [16], "hidden": [16]}


def test_predicted_sigmas_and_unknown_targets(tmp_path, quick, capsys):
    found = evaluate_anew(tmp_path, DEEPSETS, "gaussian")
    assert found["outputs"] == ["z", "y"]
    assert found["notices"] == [
        "The target y is not known (NaN) in 300 of 600 test rows: such rows count neither in its figures of merit nor, "
        "in the training, in its loss."
    ]
    assert "note: target 'y' is NaN in 750 of 1,500 training rows" in capsys.readouterr().err
    for name in ("z", "y"):
        assert found["test"][f"r2.{name}"]["value"] > 0.5
        assert abs(found["test"][f"pull_mean.{name}"]["value"]) < 0.3
        assert 0.7 < found["test"][f"pull_width.{name}"]["value"] < 1.4
    rows = open_dataset(tmp_path / "data").arrays("test", 0)
    truth = rows.targets.numpy()
    inputs = {k: t.numpy() for k, t in rows.inputs.items()}
    mean, sigma = score(load_model(tmp_path / "run" / "fold0" / "model.pt"), inputs)[:, 2:].T
    known = ~np.isnan(truth[:, 1])
    pulls = ((mean - truth[:, 1]) / sigma)[known]
    expected = np.average(pulls, weights=rows.weight.numpy()[known])
    assert found["test"]["pull_mean.y"]["value"] == pytest.approx(expected, abs=1e-5)
    plots = {path.stem for path in (tmp_path / "run" / "evaluation" / "plots").iterdir()}
    assert {"pulls_z", "pulls_y", "residuals_y", "bins_y"} <= plots


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("model", [DEEPSETS, {"type": "lightgbm", "num_leaves": 8, "num_iterations": 60}])
def test_predicted_quantiles(tmp_path, quick, model):
    found = evaluate_anew(tmp_path, model, {"type": "quantile", "quantiles": [0.2, 0.5, 0.8]})
    for name in ("z", "y"):
        assert found["test"][f"r2.{name}"]["value"] > 0.4
        values = [found["test"][f"coverage.{name}.{level}"]["value"] for level in (20, 50, 80)]
        assert values == pytest.approx([0.2, 0.5, 0.8], abs=0.12)


KINEMATICS = {"kinematics": {"jets": {"phi": "mass"}}}
PARTICLENET = {"type": "particlenet", "embedding": 8, "convolutions": [[8], [8]], "neighbours": 2, "hidden": [8]}
TRANSFORMER = {"type": "particletransformer", "width": 8, "heads": 2, "blocks": 1, "class_blocks": 1, "pairs": [4]}
OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, inputs, outputs, width):
        super().__init__()
        size = sum((info.length or 1) * len(info.features) for info in inputs.values())
        self.layers = nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, features, masks):
        return self.layers(torch.cat([values.flatten(1) for values in features.values()], dim=1))
"""


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "model",
    [
        PARTICLENET | KINEMATICS,
        TRANSFORMER | KINEMATICS,
        {"type": "own", "options": {"width": 16}},
        {"type": "lightgbm", "num_iterations": 50},
    ],
    ids=lambda model: model["type"],
)
def test_every_model_is_evaluated(tmp_path, quick, model):
    if model["type"] == "own":
        (tmp_path / "own.py").write_text(OWN)
        model = model | {"type": f"{tmp_path / 'own.py'}:Net"}
    assert evaluate_anew(tmp_path, model, regression=False)["test"]["auc.low"]["value"] > 0.75


@pytest.mark.usefixtures("undrawn")
def test_a_target_that_no_test_row_knows_is_refused(tmp_path, quick):
    def forget(split, columns):
        columns["target/y"] = columns["target/z"] * (np.nan if split == "test" else 1)

    with pytest.raises(UserError, match="target 'y' is NaN in all test rows"):
        evaluate_anew(tmp_path, DEEPSETS, change=forget)


@pytest.mark.usefixtures("undrawn")
def test_folds_are_pooled_and_kept_apart(trained, tmp_path):
    run, data = trained(folds=2)
    found = evaluate(run, output=tmp_path / "out")
    of_folds = [fold["auc.low"]["value"] for fold in found["folds"]]
    assert of_folds == pytest.approx([expected_auc(run, data, fold) for fold in range(2)], abs=1e-6)
    assert found["spread"]["auc.low"]["value"] == pytest.approx(np.mean(of_folds))
    assert rows_of(found, "test") == 750


@pytest.mark.usefixtures("undrawn")
def test_big_parts_are_sampled_reproducibly(trained, tmp_path, monkeypatch):
    run, _ = trained()
    whole = evaluate(run, output=tmp_path / "whole")
    monkeypatch.setattr(scoring, "TRAIN_ROWS", 100)
    monkeypatch.setattr(scoring, "IMPORTANCE_ROWS", 50)
    monkeypatch.setattr(scoring, "BATCH_ROWS", 64)
    first, second = (evaluate(run, output=tmp_path / name) for name in ("first", "second"))
    assert first == second
    assert first["test"]["auc.low"]["value"] == pytest.approx(whole["test"]["auc.low"]["value"], abs=1e-6)
    assert first["train"] != whole["train"]
    books = Manifest.read(tmp_path / "first", "evaluate").accounting
    assert (books.events.used, books.rows.read, books.rows.used) == (300, 600, 100)


@pytest.mark.usefixtures("undrawn")
def test_the_default_place_is_in_the_run_and_what_is_there_is_kept(trained, tmp_path, capsys):
    run, _ = trained(own=tmp_path)
    first = evaluate(run)
    assert "test rows used" in capsys.readouterr().out
    Manifest.read(run, "train").verify(run)
    written = Manifest.read(run / "evaluation", "evaluate")
    assert evaluate(run) == first
    assert "up to date" in capsys.readouterr().err
    assert Manifest.read(run / "evaluation", "evaluate") == written
    other = write_dataset(tmp_path / "other", make(), (100, 20, 50), seed=9)
    with pytest.raises(UserError, match="--force"):
        evaluate(run, data=other)
    assert evaluate(run, data=other, force=True) != first


@pytest.mark.usefixtures("undrawn")
def test_a_dataset_that_was_made_anew_needs_to_be_named(trained, tmp_path):
    run, _ = trained(own=tmp_path)
    other = write_dataset(tmp_path / "other", make(), (100, 20, 50), seed=9)
    move_dataset(run, other)
    with pytest.raises(UserError, match=r"made anew.*--data"):
        evaluate(run)
    found = evaluate(run, data=other)
    assert len(found["notices"]) == 1 and "not the dataset of the training" in found["notices"][0]
    assert "not the dataset of the training" in (run / "evaluation" / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_another_split_is_warned_about(trained, tmp_path, capsys):
    run, _ = trained()
    other = write_dataset(tmp_path / "other", make(seed=2), (100, 20, 50), seed=9)
    found = evaluate(run, data=other, output=tmp_path / "out")
    assert "may have been trained on" in found["notices"][1]
    assert "may have been trained on" in capsys.readouterr().err


def test_a_dataset_that_is_gone_is_asked_for(trained, tmp_path):
    run, _ = trained(own=tmp_path)
    move_dataset(run, tmp_path / "gone")
    with pytest.raises(UserError, match=r"gone: no such dataset .any more.: say with --data"):
        evaluate(run)


def test_a_dataset_with_other_classes_does_not_fit(trained, tmp_path):
    run, _ = trained()
    analysis = make(target={"classes": {"low": "z < 0", "rest": "z >= 0"}})
    other = write_dataset(tmp_path / "other", analysis, (100, 20, 50))
    with pytest.raises(UserError, match=r"does not fit.*classes: \('low', 'high'\) -> \('low', 'rest'\)"):
        evaluate(run, data=other, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_empty_test_part_says_what_to_do(trained, tmp_path):
    run, _ = trained()
    other = write_dataset(tmp_path / "other", make(), (100, 20, 0))
    with pytest.raises(UserError, match=r"test part is empty: set split\.test"):
        evaluate(run, data=other, output=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_scores_that_are_not_finite_fail(trained, tmp_path, monkeypatch):
    run, _ = trained()
    monkeypatch.setattr(scoring, "score", lambda model, inputs, rows: np.full((len(inputs["event"]), 2), np.nan))
    with pytest.raises(DataError, match="NaN or infinite scores"):
        evaluate(run, output=tmp_path / "out")


@pytest.mark.parametrize("what", ["figure", "metrics"])
def test_a_full_disk_is_named_and_the_same_command_ends_right(trained, tmp_path, nanoforge, monkeypatch, what):
    """/dev/full stands for the disk: all that is written there finds no room."""
    trained(own=tmp_path)
    plot = Plot("one", "One", "A figure.", Figure())
    monkeypatch.setattr(stage.gallery, "plots", lambda *_: iter([plot]))
    save, write = stage.gallery.save, stage.write_atomically

    def save_there(figure, stem, box):
        stem.with_suffix(".pdf").symlink_to("/dev/full")
        return save(figure, stem, box)

    def write_there(path, text):
        path.with_name(f".{path.name}.{os.getpid()}").symlink_to("/dev/full")
        write(path, text)

    with monkeypatch.context() as patch:
        if what == "figure":
            patch.setattr(stage.gallery, "save", save_there)
        else:
            patch.setattr(stage, "write_atomically", write_there)
        answer = nanoforge("evaluate", "run")
    assert answer.returncode == 1 and "Traceback" not in answer.stderr
    assert answer.stderr.splitlines()[-1].startswith("error: ")
    assert ": no space left on the disk: free some, then run the same command again" in answer.stderr
    assert not (tmp_path / "run" / "evaluation").exists()
    (tmp_path / "run" / ".evaluation.unfinished" / "plots" / "one.pdf").unlink(missing_ok=True)
    answer = nanoforge("evaluate", "run")
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "run" / "evaluation" / "metrics.json").stat().st_size


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="nanoforge train"):
        evaluate(tmp_path)


def test_output_that_cannot_be_shown_is_replaced(trained, undrawn, tmp_path, monkeypatch):
    """As with PYTHONIOENCODING=ascii, or in a batch job without a locale."""
    place, data = trained(own=tmp_path / "l\u00e4ufe")
    streams = [io.TextIOWrapper(io.BytesIO(), "ascii", errors) for errors in ("strict", "backslashreplace")]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    monkeypatch.setattr(sys, "argv", ["nanoforge", "evaluate", str(place), "--data", str(data)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    out, err = (stream.buffer.getvalue().decode("ascii") for stream in streams)
    assert "log-loss" in out and "l?ufe" in out and "error" not in err
    assert (place / "evaluation" / "manifest.json").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_metric_of_the_users_is_measured_wherever_the_others_are(trained, tmp_path):
    run, data = trained()
    module = tmp_path / "mine.py"
    module.write_text(
        "def mean_score(truth, scores, weights):\n    return (scores[:, 0] * weights).sum() / weights.sum()\n"
    )
    chosen = Evaluation(functions=[f"{module}:mean_score"])
    content = evaluate(run, data=data, output=tmp_path / "out", evaluation=chosen)
    rows = open_dataset(data).arrays("test", 0)
    scores = score(load_model(run / "fold0" / "model.pt"), {k: t.numpy() for k, t in rows.inputs.items()})
    expected = np.average(scores[:, 0], weights=rows.weight)
    assert content["test"]["mean_score"]["value"] == pytest.approx(expected, rel=1e-5)
    assert "mean_score" in content["train"]
    assert "<td>mean_score</td>" in (tmp_path / "out" / "report.html").read_text()
    module.write_text("def mean_score(truth, scores, weights):\n    return scores[0, 0] / 0\n")
    with np.errstate(all="ignore"), pytest.raises(UserError, match=r"mine.py:mean_score' gives inf"):
        evaluate(run, data=data, output=tmp_path / "out", evaluation=chosen, force=True)
