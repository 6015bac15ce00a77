"""``nanoforge list``: every registry, ours and the user's own, with options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from nanoforge.listing import entries
from nanoforge.registry import REGISTRIES

SOURCES = Path(__file__).resolve().parents[1] / "python"
MINE = '''
from nanoforge.models.loss_options import ClassificationLossOptions
from nanoforge.models.options import NetworkOptions
class Net(NetworkOptions):
    """A net of mine.

    And more of it."""
    width: int = 8
    def build(self, inputs, outputs): ...
class Loss(ClassificationLossOptions):
    """A loss of mine."""
    def weighted(self, logits, label, weight): ...
def purity(truth, scores, weights):
    """A metric of mine."""
'''


def test_every_registry_is_listed():
    places = {one.path for one in REGISTRIES.values()}
    registries = {
        f"{'.'.join(path.relative_to(SOURCES).with_suffix('').parts).removesuffix('.__init__')}:{name}"
        for path in SOURCES.rglob("*.py")
        for name in re.findall(r"^([A-Z]+)\b[^=\n]*= Registry\(", path.read_text(), re.MULTILINE)
    }
    assert {"config.models:MODELS", "batch.targets:TARGETS"} <= registries <= places


@pytest.mark.parametrize("kind", REGISTRIES)
def test_everything_is_listed_with_a_line(kind):
    listed = list(entries(kind))
    assert len(listed) > 2 and len({entry.name for entry in listed}) == len(listed)
    assert [entry.name for entry in listed if not entry.meaning or "\n" in entry.meaning] == []


def test_options_are_listed_with_their_defaults(nanoforge):
    answer = nanoforge("list", "models")
    assert answer.returncode == 0, answer.stderr
    _, _, trees = answer.stdout.partition("\nlightgbm ")
    assert re.match(r" .*LightGBM.*\n +num_iterations: integer above 0 \[1000\]\n +learning_rate: number", trees)
    assert "quantiles: list of number above 0 below 1 [[0.16, 0.5, 0.84]]" in nanoforge("list", "losses").stdout


def test_a_users_own_are_listed_too(nanoforge, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    content = {
        "name": "toy",
        "samples": {name: {"files": "x.root", "label": name} for name in "ab"},
        "inputs": {"event": {"features": ["x"]}},
        "model": {"type": "mine:Net"},
        "training": {"loss": {"type": "mine:Loss"}},
        "evaluation": {"functions": ["mine:purity"]},
    }
    (tmp_path / "analysis.yaml").write_text(yaml.safe_dump(content))
    for kind, name, line in (
        ("models", "Net", "A net"),
        ("losses", "Loss", "A loss"),
        ("metrics", "purity", "A metric"),
    ):
        answer = nanoforge("list", kind, "analysis.yaml")
        assert answer.returncode == 0, answer.stderr
        assert re.search(rf"^\S*mine\.py:{name}  {line} of mine\.$", answer.stdout, re.MULTILINE), answer.stdout
        assert ("width: integer [8]" in answer.stdout) == (kind == "models")


def test_a_kind_that_is_none_is_one_line(nanoforge):
    answer = nanoforge("list", "model")
    assert answer.returncode == 2
    assert answer.stderr == "error: list: there is no kind 'model'; did you mean 'models'?\n"
