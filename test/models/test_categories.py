"""Categories in every model: learnt, kept in files, and the same in ONNX, whatever the values."""

from __future__ import annotations

import numpy as np
import old_runtime
import onnxruntime
import pytest
import torch
from nanoforge.config import Analysis
from nanoforge.config.inputs import Input
from nanoforge.config.models import parse_model
from nanoforge.dataset.info import InputInfo
from nanoforge.models.base import ModelSpec, score
from nanoforge.models.load import load_model
from nanoforge.models.network import NetworkModel
from nanoforge.models.onnx import export_onnx
from nanoforge.models.preparation import CategoryEmbedding, preparation_info
from nanoforge.models.rows import Rows, category_columns, flatten, with_indicators
from pydantic import ValidationError
from specimens import NETWORKS

MODE = {"decayMode": {"categories": [0, 1, 10, 11]}}
BLOCKS = {
    "event": Input(features=[{"channel": {"categories": [2, 1]}}, "met"]),
    "taus": Input(collection="Tau", length=3, features=["pt", MODE, "eta", "phi", "mass"]),
}
INPUTS = {n: InputInfo(tuple(b.feature_names), b.length, None, preparation_info(b)) for n, b in BLOCKS.items()}
SMALL = {"min_data_per_group": 1}
TREES = {
    "lightgbm": {"type": "lightgbm", "num_iterations": 20, "min_data_in_leaf": 5, "learning_rate": 0.2},
    "xgboost": {"type": "xgboost", "n_estimators": 10, "learning_rate": 0.3, "max_depth": 4},
    "histograms": {"type": "sklearn.ensemble:HistGradientBoostingClassifier", "max_iter": 8},
    "logistic": {"type": "sklearn.linear_model:LogisticRegression", "max_iter": 500},
}
ROWS = 800


def rows(number=ROWS, seed=1, modes=(0, 1, 10, 11, 5, np.nan)):
    """Taus whose first decay mode decides, in an order that no threshold tells; 5 and NaN are not in the list."""
    rng = np.random.default_rng(seed)
    taus = rng.normal((40, 0, 0, 0, 1), (10, 1, 1, 1, 0.1), (number, 3, 5)).astype("f4")
    taus[..., 1] = rng.choice(np.array(modes, "f4"), (number, 3))
    valid = np.arange(3) < rng.integers(0, 4, (number, 1))
    event = np.stack([rng.choice([1, 2, 3], number), rng.normal(50, 10, number)], axis=1).astype("f4")
    return {"event": event, "taus": np.where(valid[..., None], taus, 0), "taus_mask": valid}


def truth(columns):
    first = columns["taus"][:, 0, 1]
    return (np.isin(first, [1, 10]) & columns["taus_mask"][:, 0]) ^ (columns["event"][:, 0] == 3)


def make_network(name):
    torch.manual_seed(1)
    return NetworkModel(ModelSpec(INPUTS, ("a", "b"), "classification", NETWORKS[name])).eval()


def make_trees(name):
    spec = ModelSpec(INPUTS, ("a", "b"), "classification", parse_model(TREES[name]).model_dump(mode="json"))
    training = rows()
    weight = np.ones(ROWS, np.float32)
    weight[::9] = -0.1
    weight = np.abs(weight) if name in ("histograms", "logistic") else weight
    return spec.options.fit(spec, Rows(training, truth(training).astype("i8"), weight), None, 1, 1)[0]


@pytest.fixture(scope="module", params=["deepsets", *TREES])
def model(request):
    return (make_network if request.param in NETWORKS else make_trees)(request.param)


def test_graph_and_file_give_the_scores_of_the_model(model, tmp_path):
    model.save(tmp_path / "model.pt")
    columns = rows(60, seed=2)
    columns["taus"][..., 1][~columns["taus_mask"]] = np.nan  # what stands in padded places has no effect
    expected = score(model, columns)
    assert np.isfinite(expected).all()
    columns["taus"][..., 1][~columns["taus_mask"]] = 10
    assert np.array_equal(score(model, columns), expected)
    assert np.array_equal(score(load_model(tmp_path / "model.pt"), columns), expected)
    assert export_onnx(model, tmp_path / "model.onnx", {}, columns) < 1e-5
    feed = {name: values.astype("f4") for name, values in columns.items()}
    nothing = {name: values[:0] for name, values in feed.items()}
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    np.testing.assert_allclose(session.run(None, feed)[0], expected, atol=1e-5)
    assert session.run(None, nothing)[0].shape == (0, 2)
    single = {name: values[:1] for name, values in feed.items()}
    (found,), (first,) = old_runtime.run(tmp_path / "model.onnx", [feed, single])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(first, expected[:1], atol=1e-5)


def test_all_that_is_not_in_the_list_is_one_category(model):
    columns = rows(50, seed=3)
    scores = []
    for value in (5, -1, 1e9, np.nan, np.inf, 0.5):
        columns["taus"][..., 1] = np.where(columns["taus_mask"], value, 0)
        scores.append(score(model, columns))
    assert all(np.array_equal(found, scores[0]) for found in scores)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_takes_them(name):
    model, columns = make_network(name), rows(30)
    other = {**columns, "taus": columns["taus"].copy()}
    other["taus"][:, 0, 1] = 11
    changed = (score(model, columns) != score(model, other)).any(axis=1)
    np.testing.assert_array_equal(changed, columns["taus_mask"][:, 0] & (columns["taus"][:, 0, 1] != 11))


@pytest.mark.parametrize("name", sorted(TREES))
def test_trees_learn_what_no_threshold_tells(name):
    model, columns = make_trees(name), rows(seed=4)
    right = (score(model, columns)[:, 1] > 0.5) == truth(columns)
    assert right.mean() > (0.7 if name == "logistic" else 0.9)


@pytest.mark.parametrize("name", ["lightgbm", "xgboost"])
def test_trees_divide_categories_into_sets(name):
    members = [m for tree in make_trees(name).boosters[0].trees() for m in tree.members.values()]
    assert members and all(set(codes) <= set(range(5)) for codes in members)


def test_tables_have_numbers_of_categories_or_columns_of_0_and_1():
    spec = ModelSpec(INPUTS, ("a", "b"), "classification", NETWORKS["mlp"])
    columns = rows(40)
    table = flatten(spec, columns)
    assert category_columns(spec) == {0: 3, 3: 5, 8: 5, 13: 5}
    np.testing.assert_array_equal(table[:, 0], np.array([9, 1, 0, 2])[columns["event"][:, 0].astype(int)])
    codes = {0.0: 0, 1.0: 1, 10.0: 2, 11.0: 3}
    for row, (modes, valid) in enumerate(zip(columns["taus"][..., 1], columns["taus_mask"])):
        expected = [codes.get(float(mode), 4) if there else np.nan for mode, there in zip(modes, valid)]
        np.testing.assert_array_equal(table[row, [3, 8, 13]], expected)
    indicators = with_indicators(spec, columns, 0.0)[:, -18:]
    assert set(np.unique(indicators)) == {0, 1} and (indicators[:, :3].sum(axis=1) == 1).all()
    np.testing.assert_array_equal(indicators[:, 3:].sum(axis=1), columns["taus_mask"].sum(axis=1))


def test_networks_see_embedded_categories():
    model = make_network("deepsets")
    assert model.spec.inputs["taus"].width == 4 + 4 and model.spec.inputs["event"].width == 1 + 3
    seen = {}
    model.network.register_forward_pre_hook(lambda _, given: seen.update(given[0]))
    columns = rows(20)
    score(model, columns)
    embedding = model.preparations["taus"].embeddings[0].weight
    for code, category in enumerate((0, 1, 10, 11)):
        chosen = torch.from_numpy((columns["taus"][..., 1] == category) & columns["taus_mask"])
        assert torch.equal(seen["taus"][chosen][:, 4:], embedding[code].expand(int(chosen.sum()), 4))
    assert (seen["taus"][~torch.from_numpy(columns["taus_mask"])] == 0).all()


OWN = """
import torch

class Net(torch.nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.last = torch.nn.Linear(inputs["event"].width + inputs["taus"].width, outputs)

    def forward(self, features, masks, raw):
        assert raw["taus"].shape[2] == 5
        return self.last(torch.cat([features["event"], features["taus"].sum(dim=1)], dim=1))
"""


def test_a_network_of_ones_own_sees_them_embedded(tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    block = parse_model({"type": f"{tmp_path}/mine.py:Net"}).model_dump(mode="json")
    model = NetworkModel(ModelSpec(INPUTS, ("a", "b"), "classification", block)).eval()
    assert model.network.last.in_features == 1 + 3 + 4 + 4
    assert score(model, rows(20)).shape == (20, 2)


def test_unknown_values_begin_at_nothing_and_learn():
    embedding = CategoryEmbedding((3, 7), 2)
    out = embedding(torch.tensor([3.0, 8.0, torch.nan]))
    assert torch.equal(out[0], embedding.weight[0]) and (out[1:] == 0).all()
    out.sum().backward()
    assert torch.equal(embedding.weight.grad, torch.tensor([[1.0, 1.0], [0.0, 0.0], [2.0, 2.0]]))


def test_a_width_of_ones_own():
    block = Input(features=[{"charge": {"categories": [-1, 1], "width": 6}}, {"id": {"categories": [*range(1000)]}}])
    assert preparation_info(block).widths == (6, 50)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"categories": []}, "at least 1"),
        ({"categories": [1, 1]}, "categories: 1 is listed twice"),
        ({"categories": [1 << 25]}, "32-bit floats, which do not hold 33554432 exactly"),
        ({"categories": [1], "scale": "log"}, "'scale' is for numbers"),
        ({"width": 3}, "'width' is that of embedded 'categories'"),
        ({"categories": ["one"]}, "valid integer"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(ValidationError, match=message):
        Input(features=[{"charge": options}])


def test_categories_are_written_again_as_they_were_read():
    block = Input(features=["pt", MODE, {"iso": "a / b"}])
    assert Input.model_validate(block.model_dump(mode="json")) == block
    content = {"name": "a", "samples": {"s": {"files": "f"}}, "target": {"classes": {"a": "x > 0", "b": "x <= 0"}}}
    plain = {"event": {"features": ["pt", "decayMode", {"iso": "a / b"}]}}
    other = {"event": block.model_dump(mode="json")}
    parts = [Analysis.model_validate({**content, "inputs": inputs}).dataset_part() for inputs in (plain, other)]
    assert parts[0] == parts[1]
