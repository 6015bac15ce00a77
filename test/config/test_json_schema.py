"""The JSON schema takes what the loader takes, and refuses what it refuses in any one key."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml
from nanoforge.config import Analysis, load
from nanoforge.config.json_schema import descriptions, json_schema
from nanoforge.config.reference import markdown
from nanoforge.errors import UserError
from omegaconf import OmegaConf
from pydantic import BaseModel

jsonschema = pytest.importorskip("jsonschema", reason="'make test' installs it")
EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "doc" / "examples").glob("*.yaml"))
BASE: dict[str, Any] = {
    "name": "test",
    "samples": {"a": {"files": "a.root", "label": "a"}, "b": {"files": ["b.root"], "label": "b"}},
    "inputs": {"event": {"features": ["MET_pt"]}, "jets": {"collection": "Jet", "length": 4, "features": ["pt"]}},
}


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def with_value(path: str, value: Any) -> dict[str, Any]:
    content: dict[str, Any] = copy.deepcopy(BASE)
    *parents, key = path.split("/")
    block = content
    for parent in parents:
        block = block.setdefault(parent, {})
    block[key] = value
    return content


def loads(content: dict[str, Any], folder: Path) -> bool:
    path = folder / "analysis.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    try:
        load(path)
    except UserError:
        return False
    return True


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_right_for_loader_and_schema(path: Path, validator: Any) -> None:
    assert load(path).name
    validator.validate(OmegaConf.to_container(OmegaConf.load(path)))


SHORTHANDS = [
    ("samples/a/files", ["a.root", "b.root"]),
    ("samples/a/weight", 1),
    ("define", {"x": 2.5}),
    ("identity", "event_number"),
    ("redirectors", "root://server/"),
    ("inputs/event/features", ["MET_pt", {"ht": "sum(Jet_pt)"}]),
    ("inputs/event", {"features": ["x"], "missing": -999, "nan": {"fill": 0}}),
    ("training/loss", "focal"),
    ("training/loss", {"type": "focal", "gamma": 1}),
    ("training/schedule", "cosine"),
    ("training/learning_rate", "auto"),
    ("training/init", {"run": "other", "freeze": "first.*"}),
    ("model", {"type": "mine:Net", "options": {"width": 64}}),
    ("model", {"type": "deepsets", "hidden": [8]}),
    ("batch/memory", "2 GB"),
    ("batch/memory", 2000),
    ("batch/runtime", "8 h"),
    ("batch/train", {"gpu": 1, "checkpoint": "30 min"}),
    ("batch/convert", {"split": 20}),
    ("batch/convert", {"split": {"events": 1000}}),
    ("batch/environment", "local"),
    ("batch/environment", {"lcg": {"view": "LCG_107"}}),
    ("batch/environment", {"venv": "/a/venv"}),
    ("batch/environment", {"mine:Conda": {"prefix": "/a/conda"}}),
    ("samples/a", {"label": "a", "generator": {"gun": {"pdgId": 13, "pt": [1, 2]}}}),
    ("samples/a", {"label": "a", "generator": {"settings": "SoftQCD:all = on"}}),
    ("samples/a", {"label": "a", "generator": {"process": "ttbar", "filters": {"b": {"daughters": 5}}}}),
    ("lumi", "${oc.env:LUMI,1}"),
    ("keep", "${identity}"),
    ("name", "${oc.env:NAME,abc}"),
]


@pytest.mark.parametrize(("path", "value"), SHORTHANDS, ids=lambda value: json.dumps(value)[:40])
def test_what_the_loader_takes_the_schema_takes(path: str, value: Any, validator: Any, tmp_path: Path) -> None:
    content = with_value(path, value)
    if value == "${identity}":
        content["identity"] = ["x"]
    assert loads(content, tmp_path)
    validator.validate(content)


MISTAKES = [
    ("sampels", {}),
    ("name", "2022"),
    ("samples/a/label", "not a name"),
    ("samples/a/xsec", -1),
    ("samples/a/dataset", "TTTo2L2Nu"),
    ("samples", {}),
    ("define", {"not a name": "1"}),
    ("inputs/jets/length", 0),
    ("inputs/jets/feature", ["pt"]),
    ("inputs/jets/nan", "ignore"),
    ("split/train", 1.5),
    ("dataset/layout", "tensor"),
    ("model", "mlp"),
    ("model", {"type": "mpl"}),
    ("model", {"type": "mlp", "heads": 3}),
    ("training/epochs", 0),
    ("training/epochs", 1.5),
    ("training/loss", "hinge"),
    ("training/loss", {"type": "focal", "gama": 1}),
    ("skim/keep", ["keepJet_*"]),
    ("batch/memory", "2 gigabytes"),
    ("batch/environment", "conda"),
    ("batch/environment", {"conda": {"prefix": "/a"}}),
    ("batch/environment", {"lcg": {"wiev": "LCG_107"}}),
    ("batch/environment", {"lcg": {"view": "LCG_107"}, "venv": "/a"}),
    ("batch/train", {"gpu": {"number": 1}}),
    ("batch/crab", {"site": "CERN", "output": "/store/user/x/y"}),
    ("keep", "run"),
]


@pytest.mark.parametrize(("path", "value"), MISTAKES, ids=lambda value: json.dumps(value)[:40])
def test_what_the_loader_refuses_the_schema_refuses(path: str, value: Any, validator: Any, tmp_path: Path) -> None:
    content = with_value(path, value)
    assert not loads(content, tmp_path)
    assert not validator.is_valid(content)


def test_every_key_of_a_block_says_what_it_means() -> None:
    def blocks(base: type[BaseModel]) -> list[type[BaseModel]]:
        return [c for child in base.__subclasses__() for c in (child, *blocks(child))]

    for block in blocks(Analysis.__bases__[0]):
        if not block.__module__.startswith("nanoforge.") or block.__module__ not in sys.modules:  # of another test
            continue
        silent = set(block.model_fields) - set(descriptions(block)) - {"type"}
        assert not silent, f"{block.__name__}: {silent}"


def test_the_command_prints_the_schema_and_the_tables(nanoforge: Callable[..., Any]) -> None:
    assert json.loads(nanoforge("schema").stdout) == json_schema()
    assert nanoforge("schema", "--markdown").stdout == markdown()


def test_editors_see_what_a_key_means(validator: Any) -> None:
    split = validator.schema["$defs"]["Split"]["properties"]["folds"]
    assert "models are trained" in split["description"] and split["default"] == 1
