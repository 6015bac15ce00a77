"""What training rows weigh: distributions come out as wanted, by weight as by drawing, wherever the rows come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import toys
from datasets import make_analysis, write_dataset
from fitting import make_fit, run
from nanoforge.balance.balancer import Balancer, compute_factors
from nanoforge.balance.weight_factors import WeightFactors, class_factors, shape_factors, sign_factors
from nanoforge.config import Analysis
from nanoforge.config.balance import Balance, Shape
from nanoforge.dataset import source, tensors
from nanoforge.dataset.batch import Batch
from nanoforge.dataset.open import open_dataset
from nanoforge.dataset.pools import PoolReader
from nanoforge.dataset.source import TrainingData
from nanoforge.errors import DataError, UserError
from nanoforge.events import reader
from nanoforge.models.base import ModelSpec
from nanoforge.stages.convert import convert
from nanoforge.training.estimators import fit_estimator
from nanoforge.training.fit import Fit

CLASSES = ("signal", "background")
COUNTS, SUMS = np.array([100, 300]), np.array([8.0, 2.0])
A, PT = [1.0, 2.5, 3.5, 5.0], [20.0, 30.0, 60.0, 200.0]
AXES = {"a": A, "pt": PT}


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch):
    monkeypatch.setattr(tensors, "SLAB_ROWS", 200)
    monkeypatch.setattr(source, "POOL_ROWS", 500)
    monkeypatch.setattr(reader.EventFile.chunks, "__defaults__", (100, None))


def spectrum(split, columns):
    """A falling pt, steeper for one class, that the dataset keeps; every seventh weight is negative."""
    rng = np.random.default_rng(len(split))
    rows = len(columns["weight"])
    scale = 30 if "target/label" not in columns else np.where(columns["target/label"], 30, 20)
    columns["keep/pt"] = 15 + rng.exponential(scale, rows)
    columns["weight"][::7] *= -0.5


def with_pt(**training):
    """A training of a small network on a dataset with pt."""
    quick = {"learning_rate": 0.01, "accelerator": "cpu", "patience": 9}
    return make_analysis(keep=["pt"], model={"type": "mlp", "hidden": [8]}, training=quick | training)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(
        tmp_path_factory.mktemp("plain") / "data", make_analysis(keep=["pt"]), (4000, 500, 0), change=spectrum
    )


def opened(source, in_memory="always", folder=None):
    found = open_dataset(source, in_memory=in_memory)
    if folder is not None:
        folder.mkdir(exist_ok=True)
        found.prepare(folder)
    return found


def balancer(rows: TrainingData, fold=0, **block):
    balance = Balance.model_validate(block)
    rows.load_columns(balance.columns)
    factors = compute_factors(balance, rows, fold)
    return Balancer(factors, rows), factors


def histogram(rows: TrainingData, batch: Batch, label: int, axes=AXES):
    """Σw of a class, by numpy; what is beyond the edges counts to the bins at the end."""
    own = np.full(len(batch), True) if batch.label is None else (batch.label == label).numpy()
    values = [np.clip(rows.column(batch, n).numpy()[own], e[0], e[-1]) for n, e in axes.items()]
    return np.histogramdd(values, list(axes.values()), weights=batch.weight.numpy()[own].astype("f8"))[0]


# --- closure ---


@pytest.mark.parametrize("in_memory", ["always", "never"])
@pytest.mark.parametrize("to", ["flat", "high"])
@pytest.mark.parametrize("negative", ["keep", "absolute", "drop", "rescale"])
def test_weighted_distributions_agree(data, in_memory, to, negative):
    rows = opened(data, in_memory)
    balance, _ = balancer(rows, negative=negative, shape={"variables": AXES, "to": to})
    whole = Batch.join([balance.weighted(b) for b in rows.batches("train", 0, 300)])
    low, high = (histogram(rows, whole, label) for label in (0, 1))
    assert low == pytest.approx(high, rel=1e-4)
    assert low.sum() == pytest.approx(high.sum(), rel=1e-5)
    if to == "flat":
        assert low == pytest.approx(np.full_like(low, low.mean()), rel=1e-4)
    else:
        assert np.ptp(low) > low.mean()


def test_the_reference_keeps_its_shape(data):
    rows = opened(data)
    balance, _ = balancer(rows, classes="none", shape={"variables": AXES, "to": "high"})
    before, after = rows.arrays("train", 0), balance.weighted(rows.arrays("train", 0))
    assert after.weight[after.label == 1] == pytest.approx(before.weight[before.label == 1], rel=1e-5)
    for label in (0, 1):
        assert histogram(rows, after, label).sum() == pytest.approx(histogram(rows, before, label).sum(), rel=1e-4)


def test_a_regression_target_is_made_flat(tmp_path):
    analysis = make_analysis(regression=True)
    rows = opened(write_dataset(tmp_path / "data", analysis, (3000, 400, 0), change=spectrum))
    axes = {"z": [-3, -1.5, -0.5, 0, 0.5, 1.5, 3]}
    balance, factors = balancer(rows, shape={"variables": axes})
    found = histogram(rows, balance.weighted(rows.arrays("train", 0)), 0, axes)
    assert found == pytest.approx(np.full(6, rows.class_weights(0)[1].sum() / 6), rel=1e-4)
    assert factors.classes == ("all",)


@pytest.mark.parametrize("in_memory", ["always", "never"])
@pytest.mark.parametrize("to", ["flat", "high"])
def test_drawn_distributions_agree_within_their_errors(data, in_memory, to):
    rows = opened(data, in_memory)
    balance, factors = balancer(rows, shape={"variables": AXES, "to": to, "by": "resample"})
    expected = Batch.join([balance.weighted(b) for b in rows.batches("train", 0, 300)])
    epochs, found = 12, []
    for epoch in range(epochs):
        batches = rows.batches("train", 0, 300, shuffle=True, seed=1, epoch=epoch, sampler=balance.resampling(1, epoch))
        found.append(Batch.join([balance.trained(b) for b in batches]))
        assert len(found[-1]) == 4000
    assert len({batch.weight.sum().item() for batch in found}) == epochs
    for label in (0, 1):
        wanted = histogram(rows, expected, label)
        epoch = np.array([histogram(rows, batch, label) for batch in found])
        scale = epoch.sum() / epochs / wanted.sum()
        error = np.maximum(epoch.std(axis=0, ddof=1) / np.sqrt(epochs), 1e-3 * wanted.max() * scale)
        assert np.abs((epoch.mean(axis=0) - wanted * scale) / error).max() < 6  # of 18 bins, t with 11 degrees
    totals = [sum(float(b.weight[b.label == k].sum()) for b in found) for k in (0, 1)]
    assert totals[0] == pytest.approx(totals[1], rel=0.02)
    assert factors.slab_sums.sum() > 0


# --- the same rows for all ---


def content(batches):
    """Rows of some batches in an order of their own."""
    whole = Batch.join(list(batches))
    table = torch.cat([t.double().reshape(len(whole), -1) for t in whole.tensors()], dim=1).numpy()
    return table[np.lexsort(table.T)]


def test_memory_and_processes_do_not_change_what_is_drawn(data):
    block = {"negative": "drop", "shape": {"variables": AXES, "by": "resample"}}
    found = []
    for in_memory, world in (("always", 1), ("never", 1), ("always", 2), ("never", 2)):
        rows = opened(data, in_memory)
        balance, _ = balancer(rows, **block)
        draw = balance.resampling(3, 4)
        parts = [
            list(rows.batches("train", 0, 100, shuffle=True, seed=3, epoch=4, rank=r, world=world, sampler=draw))
            for r in range(world)
        ]
        assert {sum(map(len, part)) for part in parts} == {4000 // world}
        found.append(content(batch for part in parts for batch in part))
    assert all(np.array_equal(found[0], other) for other in found[1:])
    assert (Batch.join(parts[0]).weight > 0).all()


def test_streaming_does_not_keep_what_is_not_drawn(data, monkeypatch):
    """Where few rows of each slab are drawn, a pool needs many slabs; where many are, it needs a part of one."""
    rows = opened(data, "never")
    balance, _ = balancer(rows, shape={"variables": {"pt": [15, 200, 1000]}, "by": "resample"})
    largest = []
    original = PoolReader._pool
    monkeypatch.setattr(
        PoolReader,
        "_pool",
        lambda self, pieces, held, rng: (
            largest.append(sum(len(h if isinstance(h, Batch) else h._batch) for h in held.values()))
            or original(self, pieces, held, rng)
        ),
    )
    for batch in rows.batches("train", 0, 100, shuffle=True, sampler=balance.resampling(1, 1)):
        assert len(batch) == 100
    assert max(largest) <= 500 + 3 * 200


def test_all_sources_give_the_same_factors_and_draws(tmp_path):
    for name, signal, rows in (("tt", True, 900), ("dy", False, 700)):
        toys.write(tmp_path / f"{name}.root", toys.nano_events(rows, signal), sumw=float(rows))
    found = []
    for kind in ("hdf5", "parquet", "direct"):
        analysis = Analysis.model_validate(
            {
                "name": "toy",
                "samples": {
                    n: {"files": str(tmp_path / f"{n}.root"), "label": n, "xsec": x} for n, x in (("tt", 8), ("dy", 60))
                },
                "weight": "genWeight",
                "inputs": {"event": {"features": ["MET_pt", "event"]}},
                "keep": ["MET_phi"],
                "split": {"train": 0.8, "val": 0.2, "test": 0, "folds": 2},
                "dataset": {"format": "parquet" if kind == "parquet" else "hdf5"},
            }
        )
        if kind != "direct":
            convert(analysis, tmp_path / kind)
        rows = opened(analysis if kind == "direct" else tmp_path / kind, "never", tmp_path / kind)
        variables = {"MET_pt": [0, 20, 40, 1000], "MET_phi": {"bins": 4, "range": [-3.2, 3.2]}}
        balance, factors = balancer(rows, 1, shape={"variables": variables, "by": "resample"})
        batches = list(rows.batches("train", 1, 100, shuffle=True, seed=1, sampler=balance.resampling(1, 0)))
        assert sum(map(len, batches)) == rows.rows("train", 1)
        found.append((factors, content(rows.batches("train", 1, 500))))
    for factors, stored in found[1:]:
        assert np.array_equal(stored, found[0][1])
        assert factors.whole == pytest.approx(found[0][0].whole, rel=1e-5)
        assert factors.content == pytest.approx(found[0][0].content, rel=1e-5)


@pytest.mark.parametrize("by", ["weight", "resample"])
def test_an_interrupted_training_draws_the_same_rows(data, tmp_path, monkeypatch, by):
    balance = {"negative": "absolute", "shape": {"variables": AXES, "by": by}}
    analysis = with_pt(balance=balance, epochs=2, batch_size=512)
    weights, _ = run(analysis, data, tmp_path / "whole")
    original, steps = Fit._step, []

    def stop(self, batch, *where):
        if where == (2, 3) and not steps:
            steps.append(where)
            self._state.step = 2
            self._save()
            raise KeyboardInterrupt
        return original(self, batch, *where)

    monkeypatch.setattr(Fit, "_step", stop)
    with pytest.raises(KeyboardInterrupt):
        run(analysis, data, tmp_path / "stopped")
    again, history = run(analysis, data, tmp_path / "stopped")
    assert steps and len(history) == 2
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_the_validation_loss_has_weights_and_no_draws(data, tmp_path, monkeypatch):
    monkeypatch.setattr(Fit, "_loss", lambda self, network, batch: (batch.weight.sum(), torch.tensor(1.0)))
    found = []
    for by in ("weight", "resample"):
        balance = {"shape": {"variables": AXES, "by": by}}
        fit = make_fit(with_pt(balance=balance), data, tmp_path / by)
        found.append(fit._validate(1))
    rows = opened(data)
    balance, _ = balancer(rows, shape={"variables": AXES})
    assert found == pytest.approx([float(balance.weighted(rows.arrays("val", 0)).weight.sum())] * 2, rel=1e-4)


def test_trees_have_weights_even_where_rows_would_be_drawn(data, monkeypatch):
    rows = opened(data)
    balance, _ = balancer(rows, shape={"variables": AXES, "by": "resample"})
    seen = []

    def fit(options, spec, train, val, *_):
        seen.extend([train, val])
        raise KeyboardInterrupt

    analysis = make_analysis(model={"type": "lightgbm"})
    monkeypatch.setattr(type(analysis.model), "fit", fit)
    spec = ModelSpec(rows.info.inputs, rows.info.classes, "classification", analysis.model.model_dump(mode="json"))
    with pytest.raises(KeyboardInterrupt):
        fit_estimator(analysis.training, rows, spec, 0, 1, 1, balance)
    for part, found in zip(("train", "val"), seen):
        expected = balance.weighted(rows.arrays(part, 0)).weight.numpy()
        assert np.array_equal(found.weight, expected) and len(found.weight) == rows.rows(part, 0)


# --- what the factors are ---


def test_balanced_classes_weigh_the_same():
    assert class_factors("none", "mean", CLASSES, COUNTS, SUMS).tolist() == [1, 1]
    assert COUNTS * class_factors("counts", "mean", CLASSES, COUNTS, SUMS) == pytest.approx([200, 200])
    assert SUMS * class_factors("weights", "mean", CLASSES, COUNTS, SUMS) == pytest.approx([5, 5])
    assert class_factors("weights", "min", CLASSES, COUNTS, SUMS) == pytest.approx([1, 4])


@pytest.mark.parametrize("balance", ["none", "counts", "weights"])
def test_a_class_without_events_is_named(balance):
    with pytest.raises(UserError, match=r"'background' has no events.*nanoforge convert"):
        class_factors(balance, "mean", CLASSES, np.array([5, 0]), np.array([5.0, 0.0]))


@pytest.mark.parametrize("balance", ["none", "counts", "weights"])
def test_a_class_of_negative_weight_is_named_with_its_sum(balance):
    with pytest.raises(UserError, match=r"weights of class 'signal' sum to -1 .*balance\.negative to 'absolute'"):
        class_factors(balance, "mean", CLASSES, COUNTS, np.array([-1.0, 2.0]))
    with pytest.raises(UserError, match=r"weights of class 'background' sum to 0 .*correct 'weight'"):
        class_factors(balance, "mean", CLASSES, COUNTS, np.array([1.0, 0.0]))


def test_negative_weights_alone_teach_no_regression(tmp_path):
    def negate(_, columns):
        columns["weight"] *= -1

    rows = opened(write_dataset(tmp_path / "data", make_analysis(regression=True), (50, 10, 0), change=negate))
    with pytest.raises(UserError, match=r"the weights sum to -\d+.* in the training part"):
        compute_factors(Balance(), rows, 0)
    assert balancer(rows, negative="absolute")[0].weighted(rows.arrays("train", 0)).weight.min() > 0


@pytest.mark.parametrize("negative", ["keep", "absolute", "drop", "rescale"])
def test_negative_weights_leave_the_sums_that_are_promised(data, negative):
    rows = opened(data)
    whole = rows.arrays("train", 0)
    balance, _ = balancer(rows, classes="none", negative=negative)
    found = balance.weighted(whole).weight.double()
    weight = whole.weight.double()
    for own in (whole.label == 0, whole.label == 1):
        w = weight[own]
        expected = {
            "keep": w,
            "absolute": w.abs(),
            "drop": w.clamp(min=0),
            "rescale": w.abs() * w.sum() / w.abs().sum(),
        }
        assert torch.allclose(found[own], expected[negative], rtol=1e-6)
    assert (found < 0).any() == (negative == "keep")


def test_a_sum_that_is_not_positive_cannot_be_kept():
    with pytest.raises(UserError, match=r"balance\.negative: the weights of class 'signal' sum to -1.*'absolute'"):
        sign_factors("rescale", CLASSES, np.array([[1.0, 2.0], [-2.0, -1.0]]))


def shape(**changes):
    return Shape.model_validate({"variables": {"x": [0, 1, 2, 3]}} | changes)


def test_bins_without_weight_or_reference_get_nothing():
    sums = np.array([[4.0, 2.0, 0.0], [8.0, -2.0, 6.0]])
    assert shape_factors(shape(), CLASSES, sums) == pytest.approx(np.array([[0.75, 1.5, 0], [0.75, 0, 1]]))
    to_signal = shape_factors(shape(to="signal"), CLASSES, sums)
    assert to_signal == pytest.approx(np.array([[1, 1, 0], [1.5, 0, 0]]))
    with pytest.raises(UserError, match=r"'background' has no bin of positive weight where 'signal' has one"):
        shape_factors(shape(to="signal"), CLASSES, np.array([[1.0, 0, 0], [0, 1.0, 1.0]]))


def test_a_cap_keeps_the_sum():
    sums = np.array([[98.0, 1.0, 1.0]])
    free, capped = (shape_factors(shape(cap=cap), ("all",), sums) for cap in (None, 5))
    assert free.max() == pytest.approx(100 / 3)
    assert capped.max() / capped.min() == pytest.approx(5 / (100 / 3 / 98))
    assert (capped * sums).sum() == pytest.approx(100)


def test_what_a_reweighting_leaves_out_is_said(data, tmp_path, capsys):
    def spoil(split, columns):
        spectrum(split, columns)
        columns["keep/pt"][:5] = np.nan
        columns["keep/pt"][(columns["keep/pt"] > 60) & (columns["target/label"] == 1)] = 50

    rows = opened(write_dataset(tmp_path / "data", make_analysis(keep=["pt"]), change=spoil))
    balance, factors = balancer(rows, classes="none", shape={"variables": {"pt": PT}, "to": "high"})
    said = capsys.readouterr().err.replace("\n", " ")
    lost = int(factors.content[0, :, 0, 2].sum())
    assert lost > 0 and f"{lost} rows of 'low' get 0, in bins of no positive weight or without 'high'" in said
    assert "'high' has no rows in 1 of 3 filled bins" in said
    assert "5 rows have a variable that is NaN and keep their weights" in said
    whole = rows.arrays("train", 0)
    assert torch.equal(balance.weighted(whole).weight[:5], whole.weight[:5])


def test_factors_come_back_from_their_file_as_they_were(data, tmp_path):
    _, factors = balancer(opened(data), shape={"variables": AXES, "by": "resample"})
    factors.write(tmp_path / "balance.json")
    again = WeightFactors.read(tmp_path / "balance.json")
    assert (again.classes, again.edges) == (factors.classes, factors.edges)
    for name in ("content", "signs", "shape", "slab_sums", "whole"):
        assert np.array_equal(getattr(again, name), getattr(factors, name)), name
    (tmp_path / "balance.json").write_text("{}")
    with pytest.raises(DataError, match=r"balance\.json: cannot be read"):
        WeightFactors.read(tmp_path / "balance.json")
