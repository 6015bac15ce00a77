"""``reference.json``: what the training part of a fold looks like, from a dataset or from the files themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
import yaml
from nanoforge.config import Analysis, load
from nanoforge.dataset.open import open_dataset
from nanoforge.distributions.reference import Reference
from nanoforge.distributions.variable import FEATURE, LENGTH, SCORE, Variable
from nanoforge.stages.convert import convert
from nanoforge.training import reference as module
from nanoforge.training.folds import model_spec
from nanoforge.training.reference import write_reference
from nanoforge.training.start import new_model

CONTENT: dict[str, Any] = {
    "name": "toy",
    "weight": "genWeight",
    "lumi": 100.0,
    "inputs": {
        "event": {"features": ["MET_pt", {"lead": "where(nMuon > 0, Muon_pt[0], -5)"}], "missing": -5,
                  "nan": {"fill": -7}},
        "jets": {"collection": "Jet", "length": 4, "features": ["pt", "eta"]},
    },
}  # fmt: skip


def analysis(folder: Path, **changes: Any) -> Analysis:
    samples = {}
    for number, name in enumerate(("signal", "background")):
        toys.write(folder / f"{name}.root", toys.nano_events(900, not number, first=1000 * number), sumw=1440.0)
        samples[name] = {"files": str(folder / f"{name}.root"), "label": name, "xsec": 1.0 + 3 * number}
    (folder / "a.yaml").write_text(yaml.safe_dump({"samples": samples, **CONTENT, **changes}))
    return load(folder / "a.yaml")


def references(config: Analysis, source: Any, folder: Path) -> list[Reference]:
    dataset = open_dataset(source)
    folder.mkdir()
    dataset.prepare(folder)
    spec = model_spec(config, dataset.info)
    for fold in range(dataset.info.folds):
        (folder / f"fold{fold}").mkdir(parents=True)
        write_reference(new_model(spec, dataset, fold).eval(), config, dataset, fold, folder)
    return [Reference.read(folder / f"fold{fold}" / "reference.json") for fold in range(dataset.info.folds)]


@pytest.mark.parametrize("direct", [False, True], ids=["dataset", "files"])
def test_all_training_rows_are_counted_with_their_weights(tmp_path: Path, direct: bool) -> None:
    config = analysis(tmp_path)
    convert(config, tmp_path / "data")
    (reference,) = references(config, config if direct else tmp_path / "data", tmp_path / "run")
    rows = open_dataset(tmp_path / "data").arrays("train", 0)
    weight, mask = rows.weight.numpy().astype("f8"), rows.inputs["jets_mask"].numpy()
    label = rows.label.numpy()
    assert reference.distributions.rows == len(rows) and (weight < 0).any()
    for number, name in enumerate(config.classes):
        count, total = reference.classes[name]
        assert (count, total) == ((label == number).sum(), pytest.approx(weight[label == number].sum(), rel=1e-5))
    met, lead = rows.inputs["event"].numpy().T
    one = reference.distributions[Variable(FEATURE, "event", "MET_pt")]
    cells = np.searchsorted(one.binning.edges, met, side="right")
    np.testing.assert_allclose(one.counts.bins[0], np.bincount(cells, weight, 50), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(one.counts.bins[1], np.bincount(cells, weight**2, 50), rtol=1e-5, atol=1e-9)
    assert (one.binning.low, one.binning.high) == (met.min(), met.max())
    filled = reference.distributions[Variable(FEATURE, "event", "lead")]
    share = filled.counts.shares[0, filled.binning.shares.index("-7")]
    assert share == pytest.approx(weight[lead == -7].sum(), rel=1e-5) and (lead == -7).any()
    pt = reference.distributions[Variable(FEATURE, "jets", "pt")].counts
    assert pt.values == mask.sum()
    lengths = reference.distributions[Variable(LENGTH, "jets", "")].counts
    np.testing.assert_allclose(lengths.bins[0], np.bincount(mask.sum(axis=1), weight), rtol=1e-5, atol=1e-7)
    assert reference.distributions[Variable(SCORE, "", "signal")].counts.values == len(rows)
    assert reference.factors == pytest.approx(np.full(2, 1 / 0.7), rel=1e-5)


def test_folds_have_the_bins_of_the_first_and_a_subset_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS", 300)
    monkeypatch.setattr(module.training_rows, "__defaults__", (300,))
    config = analysis(tmp_path, split={"train": 0.8, "val": 0.2, "test": 0, "folds": 2})
    convert(config, tmp_path / "data")
    parts = references(config, tmp_path / "data", tmp_path / "run")
    assert [p.distributions.rows for p in parts] == [300, 300]
    classes = {name: [p.classes[name] for p in parts] for name in parts[0].classes}
    both = Reference.of_folds(parts)
    assert both.share == pytest.approx(0.8) and both.distributions.rows == 600
    for name, each in classes.items():
        assert both.classes[name] == (sum(n for n, _ in each), pytest.approx(sum(w for _, w in each)))
