"""Networks of the user's own that would fail late, or give other scores elsewhere, are refused before the training."""

from __future__ import annotations

import pytest
import torch
from datasets import INPUTS
from nanoforge.dataset.batch import Batch
from nanoforge.errors import UserError
from nanoforge.models.base import ModelSpec
from nanoforge.models.check import check_export, check_network, explained_network
from nanoforge.models.network import NetworkModel
from nanoforge.models.tracing import takes_one_length

BODIES = {
    "fine": "return self.head(x)",
    "flat": "return self.head(x)[:, 0]",
    "listed": "return [self.head(x)]",
    "squeezed": "return self.head(x).squeeze(0)",
    "counted": "return self.head(x).argmax(dim=1, keepdim=True).expand(-1, 2)",
    "means": "return self.head(features['jets'].sum(dim=1) / masks['jets'].sum(dim=1, keepdim=True))",
    "padded": "return self.head(features['jets'].mean(dim=1))",
    "dice": "return self.head(torch.nn.functional.dropout(x))",
    "batch": "return self.head(x - x.mean(dim=0))",
    "inplace": "raw['event'].add_(1.0); return self.head(x)",
    "unused": "return self.other(x).detach() + self.head(x)",
    "rooted": "return self.head((self.scale * features['jets']).square().sum(dim=1).sqrt())",
    "fails": "return self.head(x[:, :2])",
    "normed": "return self.norm(self.head(x))",
    "late": "return self.head(x) if len(x) != 5 else self.missing",
    "branching": "return self.head(x) if x.sum() > 0 else self.head(-x)",
}
HEAD = """
import torch
class {name}(torch.nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.head = torch.nn.Linear(3, outputs)
        self.other = torch.nn.Linear(3, outputs) if "{name}" == "unused" else None
        self.norm = torch.nn.BatchNorm1d(outputs) if "{name}" == "normed" else None
        self.scale = torch.nn.Parameter(torch.ones(3)) if "{name}" == "rooted" else None
    def forward(self, features, masks, raw):
        x = features["jets"].sum(dim=1)
        {body}
"""


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")

    def make(name):
        (folder / f"{name}.py").write_text(HEAD.format(name=name, body=BODIES[name]))
        block = {"type": "custom", "network": f"{folder / name}.py:{name}", "options": {}}
        torch.manual_seed(2)
        return NetworkModel(ModelSpec(INPUTS, ("a", "b"), "classification", block))

    return make


def batch(rows=8):
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(4) < torch.randint(0, 5, (rows, 1), generator=generator)
    jets = torch.randn(rows, 4, 3, generator=generator) * mask[..., None]
    inputs = {"event": torch.randn(rows, 2, generator=generator), "jets": jets, "jets_mask": mask}
    return Batch(inputs, torch.arange(rows) % 2, None, torch.ones(rows))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flat", r"flat\.forward returns the shape \(8,\) for 8 rows and 2 outputs: return \(8, 2\)"),
        ("listed", "listed.forward returns a list: return a tensor"),
        ("squeezed", r"squeezed\.forward returns the shape \(2,\) for a single row: .*without squeeze"),
        ("counted", "counted.forward returns torch.int64"),
        ("means", r"means\.forward gives NaN or infinity for a row without constituents: .*clamp\(min=1\)"),
        ("dice", r"dice\.forward gives other scores for the same rows .*torch\.nn\.Dropout"),
        ("batch", r"batch\.forward gives other scores for a row alone than among others"),
        ("inplace", r"inplace\.forward changes the features that it is given"),
        ("rooted", r"the gradient of rooted's network\.scale is NaN or infinite: sqrt"),
        ("fails", r"fails\.forward fails at fails\.py:12 on a batch of 8 rows \(RuntimeError: "),
        ("unused", r"unused\.forward does not use network\.other\.weight, .*: several processes"),
        ("normed", r"normed\.forward fails at normed\.py:12 on a batch of one row, as the last one"),
    ],
)
def test_what_would_go_wrong_later_is_refused_in_words(make, name, message):
    with pytest.raises(UserError, match=message):
        check_network(make(name), batch(), processes=2, last_batch=1)


def test_a_good_network_stays_as_it_is_and_odd_ones_are_told(make, capsys):
    model = make("fine")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    check_network(model, batch(), processes=2, last_batch=1)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters()) and not capsys.readouterr().err
    check_network(make("padded"), batch(), processes=1, last_batch=8)
    check_network(make("unused"), batch(), processes=1, last_batch=8)
    said = " ".join(capsys.readouterr().err.split())
    assert "scores of padded change with the number of padded places" in said
    assert "unused.forward does not use network.other.weight, network.other.bias" in said


def test_an_error_in_the_middle_of_a_training_names_class_and_line(make):
    model, rows = make("late"), batch(5)
    with (
        pytest.raises(UserError, match=r"late\.forward fails at late\.py:12 \(AttributeError: "),
        explained_network(model),
    ):
        model.logits(*rows.inputs.values())


def test_what_cannot_be_exported_is_known_before_the_training(make):
    with pytest.raises(UserError, match=r"model\.type: branching cannot be exported: torch cannot write .*branches on"):
        check_export(make("branching"))
    found = [takes_one_length(model, model.logits) for model in map(make, ("padded", "fine"))]
    assert found == [True, False]
