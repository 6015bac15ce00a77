"""The analysis file: what it may say, how it is overridden, and how every mistake is named."""

from __future__ import annotations

import copy
import inspect
import itertools
import re
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from nanoforge.config import Analysis, load, parse_overrides
from nanoforge.config.mistakes import explain, is_model
from nanoforge.config.typed import Typed
from nanoforge.errors import UserError
from pydantic import BaseModel, ValidationError

BASE: dict[str, Any] = {
    "name": "test",
    "samples": {
        "tt": {"files": "data/tt*.root", "label": "signal"},
        "dy": {"files": ["dy1.root", "/abs/dy2.root", "root://server//dy3.root"], "label": "background"},
    },
    "inputs": {
        "event": {"features": ["MET_pt", {"ht": "sum(Jet_pt)"}]},
        "jets": {"collection": "Jet", "length": 4, "features": ["pt", "eta"]},
    },
}


def write(folder: Path, text: str | None = None, **changes: Any) -> Path:
    path = folder / "analysis.yaml"
    path.write_text(yaml.safe_dump({**copy.deepcopy(BASE), **changes}, sort_keys=False) if text is None else text)
    return path


def read(folder: Path, *overrides: str, **changes: Any) -> Analysis:
    return load(write(folder, **changes), overrides)


def refusal(folder: Path, *overrides: str, text: str | None = None, **changes: Any) -> str:
    """Return the message without the name of the file, which it must begin with."""
    path = write(folder, text, **changes)
    with pytest.raises(UserError) as caught:
        load(path, overrides)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and caught.value.exit_code == 2
    return message.removeprefix(f"{path}: ")


# --- what is loaded ---


def test_defaults_and_order(tmp_path: Path) -> None:
    analysis = read(tmp_path)
    assert (analysis.tree, analysis.row, analysis.weight, analysis.model.type) == ("Events", "event", "1", "mlp")
    assert list(analysis.samples) == ["tt", "dy"] and list(analysis.inputs) == ["event", "jets"]
    assert analysis.inputs["event"].feature_expressions == {"MET_pt": "MET_pt", "ht": "sum(Jet_pt)"}
    assert analysis.classes == {"signal": "label == 'signal'", "background": "label == 'background'"}


def test_local_names_become_absolute_to_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    samples = {
        "tt": {"files": "../data/tt*.root", "label": "signal"},
        "dy": {"files": ["dy.root", "/abs/dy2.root", "root://server//dy3.root", "~/dy4.root", "~nobody-here/dy5.root"]},
        "data": {"files": "list.txt", "data": True},
        "das": {"dataset": "/A/B/NANOAODSIM"},
    }
    path = write(tmp_path / "deep", samples=samples, golden_json="cert.json", target={"regression": {"m": "mass"}})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    analysis = load(path.relative_to(tmp_path))
    assert analysis.samples["tt"].files == [str(tmp_path / "data/tt*.root")]
    deep = str(tmp_path / "deep")
    assert analysis.samples["dy"].files == [
        f"{deep}/dy.root",
        "/abs/dy2.root",
        "root://server//dy3.root",
        "/home/me/dy4.root",
        f"{deep}/~nobody-here/dy5.root",
    ]
    assert analysis.samples["data"].files == [f"{deep}/list.txt"]
    assert analysis.samples["das"].files is None
    assert analysis.golden_json == f"{deep}/cert.json"


def test_a_range_of_an_evaluation_stays_as_it_is(tmp_path: Path) -> None:
    block = {"range": {"mass": [0, 1]}, "functions": ["mine:metric"]}
    (tmp_path / "mine.py").touch()
    analysis = read(tmp_path, evaluation=block, target={"regression": {"mass": "MET_pt"}})
    assert analysis.evaluation.range == {"mass": (0, 1)}
    assert analysis.evaluation.functions == [f"{tmp_path / 'mine.py'}:metric"]
    message = refusal(tmp_path, evaluation=block, target={"regression": {"masse": "MET_pt"}})
    assert "evaluation.range.mass: is no target of a regression; did you mean 'masse'?" in message


def test_a_module_beside_the_file_is_found_from_everywhere(tmp_path: Path) -> None:
    (tmp_path / "mine.py").touch()
    mine = read(tmp_path, functions=["mine:f", "numpy:sin"], model={"type": "mine:Net", "options": {"width": 3}})
    own = f"{tmp_path}/mine.py"
    assert mine.functions == [f"{own}:f", "numpy:sin"]
    assert mine.model.model_dump() == {"type": "custom", "network": f"{own}:Net", "options": {"width": 3}}
    assert Analysis.model_validate(mine.model_dump(mode="json")) == mine
    assert read(tmp_path, model={"type": "package.module:Net"}).model.network == "package.module:Net"


def test_interpolation_of_keys_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE", "/eos/me")
    analysis = read(
        tmp_path,
        samples={"tt": {"files": "${oc.env:STORE}/tt.root", "label": "${name}_signal"}},
        training={"epochs": 7, "patience": "${training.epochs}"},
        inputs={"a": {"features": ["x", "y"]}, "b": {"features": "${inputs.a.features}"}},
    )
    assert analysis.samples["tt"].files == ["/eos/me/tt.root"]
    assert analysis.samples["tt"].label == "test_signal"
    assert analysis.training.patience == 7
    assert analysis.inputs["b"].features == ["x", "y"]


def test_an_override_is_seen_by_interpolations(tmp_path: Path) -> None:
    analysis = read(tmp_path, "training.epochs=3", training={"epochs": 7, "patience": "${training.epochs}"})
    assert analysis.training.patience == 3


def test_numbers_are_expressions(tmp_path: Path) -> None:
    changes = {"weight": 1, "select": {"all": 1.5}, "define": {"one": -2}, "inputs": {"e": {"features": [{"c": 3}]}}}
    analysis = read(tmp_path, **changes)
    assert (analysis.weight, analysis.select, analysis.define) == ("1", {"all": "1.5"}, {"one": "-2"})
    assert analysis.inputs["e"].feature_expressions == {"c": "3"}


def test_a_block_takes_the_place_of_another(tmp_path: Path) -> None:
    model = {"type": "deepsets", "constituent": [8]}
    assert read(tmp_path, "model={type: mlp, hidden: [5]}", model=model).model.hidden == [5]


@pytest.mark.parametrize(
    ("overrides", "keys", "expected"),
    [
        (["training.epochs=5"], "training.epochs", 5),
        (["name=other"], "name", "other"),
        (["select.two=nJet >= 2 & MET_pt > 3"], "select.two", "nJet >= 2 & MET_pt > 3"),
        (["weight=genWeight == 1"], "weight", "genWeight == 1"),
        (["weight=2"], "weight", "2"),
        (["inputs.jets.features=[pt,mass]"], "inputs.jets.features", ["pt", "mass"]),
        (["inputs.jets.features=[{r: pt / MET_pt}]"], "inputs.jets.features", [{"r": "pt / MET_pt"}]),
        (["inputs.jets.features.1=phi"], "inputs.jets.features", ["pt", "phi"]),
        (["inputs.jets.features[0]=phi"], "inputs.jets.features", ["phi", "eta"]),
        (["inputs.jets.nan.fill=-1"], "inputs.jets.nan.fill", -1),
        (["model.type=deepsets", "model.hidden=[8]"], "model.hidden", [8]),
        (["target.classes={a: x > 1, b: x <= 1}"], "target.classes", {"a": "x > 1", "b": "x <= 1"}),
        (["training.epochs=5", "training.epochs=6"], "training.epochs", 6),
        (["name=${samples.tt.label}"], "name", "signal"),
    ],
)
def test_overrides(tmp_path: Path, overrides: list[str], keys: str, expected: Any) -> None:
    found: Any = read(tmp_path, *overrides)
    for key in keys.split("."):
        found = found[key] if isinstance(found, dict) else getattr(found, key)
    assert found == expected


def test_overridden_files_are_relative_to_the_file_too(tmp_path: Path) -> None:
    assert read(tmp_path, "samples.tt.files=a.root").samples["tt"].files == [str(tmp_path / "a.root")]
    assert read(tmp_path, "samples.dy.files.2=a.root").samples["dy"].files[2] == str(tmp_path / "a.root")


@pytest.mark.parametrize("word", ["training.epochs", "=5", "", "--force"])
def test_an_override_needs_key_and_value(word: str) -> None:
    with pytest.raises(UserError, match=r"is not an override: write key=value, e.g. training.epochs=5"):
        parse_overrides(["a=1", word])


@pytest.mark.parametrize(
    "word", ["name=[", "select.x={", "inputs.jets.features.7=x", "inputs.jets.features.last=x", "[=1"]
)
def test_an_impossible_override_is_named(tmp_path: Path, word: str) -> None:
    path = write(tmp_path)
    with pytest.raises(UserError) as caught:
        load(path, ["training.epochs=1", word])
    assert str(caught.value).startswith(f"override {word!r}: ") and "\n" not in str(caught.value)


def test_select_for_changes_the_cuts_of_one_stage(tmp_path: Path) -> None:
    analysis = read(tmp_path, select={"a": "x > 1"}, select_for={"predict": {}})
    assert analysis.cuts("convert") == {"a": "x > 1"} and analysis.cuts("predict") == {}
    assert read(tmp_path, select={"a": "x > 1"}).dataset_part() == analysis.dataset_part()


def test_the_dataset_part_leaves_out_only_what_a_dataset_does_not_depend_on(tmp_path: Path) -> None:
    part = read(tmp_path).dataset_part()
    for same in ("name=other", "training.epochs=1", "model.type=deepsets"):
        assert read(tmp_path, same).dataset_part() == part
    for other in ("weight=2", "split.seed=2", "inputs.jets.length=5", "select.a=x > 1", "tree=T", "keep=[run]"):
        assert read(tmp_path, other).dataset_part() != part


# --- what is refused ---

JETS = {"collection": "Jet", "length": 4, "features": ["pt"]}
WRONG_VALUES = [
    ({"sampels": {}}, "sampels: unknown key; did you mean 'samples'?"),
    ({"samples": {"tt": {"file": "x"}}}, "samples.tt.file: unknown key; did you mean 'files'?"),
    ({"inputs": {"jets": {**JETS, "colection": 1}}}, "inputs.jets.colection: unknown key; did you mean 'collection'?"),
    ({"model": {"type": "deepsets", "hiden": [1]}}, "model.hiden: unknown key; did you mean 'hidden'?"),
    (
        {"model": {"type": "mlp", "constituent": [1]}},
        "model.constituent: unknown key; known here: type, hidden, dropout",
    ),
    ({"model": {"type": "deepset"}}, "model.type: 'deepset' is unknown; did you mean 'deepsets'"),
    ({"model": {"type": "xyz"}}, "model.type: 'xyz' is unknown; known: custom, deepsets, lightgbm, mlp"),
    ({"model": {"hidden": [1]}}, "model.type: this key is required"),
    ({"model": {"type": "mlp", "hidden": [64, "x"]}}, "model.hidden.1: should be an integer (given: 'x') (line 27)"),
    ({"inputs": {"jets": {**JETS, "nan": {"fil": 0}}}}, "inputs.jets.nan.fil: unknown key; did you mean 'fill'?"),
    (
        {"inputs": {"jets": {**JETS, "nan": {"fill": "a"}}}},
        "inputs.jets.nan.fill: should be a number (given: 'a') (line ",
    ),
    ({"inputs": {"jets": {**JETS, "nan": {"fill": float("nan")}}}}, "inputs.jets.nan.fill: should be a finite number"),
    (
        {"inputs": {"jets": {**JETS, "nan": "eror"}}},
        "inputs.jets.nan: should be 'error' or 'keep' or a block of 'key: value' lines; did you mean",
    ),
    ({"inputs": {"jets": {**JETS, "features": ["pt", "pt"]}}}, "inputs.jets: feature 'pt' is listed twice"),
    ({"inputs": {"jets": {**JETS, "features": ["pt", {"pt": "x"}]}}}, "inputs.jets: feature 'pt' is listed twice"),
    ({"inputs": {"jets": {**JETS, "features": []}}}, "inputs.jets.features: is empty: give at least 1"),
    ({"inputs": {"jets": {**JETS, "features": [{}]}}}, "inputs.jets.features.0: "),
    ({"inputs": {"jets": {**JETS, "features": [""]}}}, "inputs.jets.features.0: is empty: give at least 1"),
    (
        {"inputs": {"jets": {**JETS, "features": [{"a b": "x"}]}}},
        "inputs.jets.features.0.a b: should be a name of letters, digits and _ that begins with",
    ),
    ({"inputs": {"jets": {"collection": "Jet", "features": ["pt"]}}}, "inputs.jets: 'collection' needs a 'length'"),
    ({"inputs": {"jets": {"features": ["pt"], "sort": "-pt"}}}, "inputs.jets: 'sort' needs a 'collection'"),
    ({"inputs": {"jets": {**JETS, "length": 0}}}, "inputs.jets.length: should be greater than 0 (given: 0)"),
    (
        {"inputs": {"jets": {**JETS, "match": "delta_r < 1"}}},
        "inputs.jets: 'index', 'match' and 'all' attach constituents",
    ),
    (
        {"row": "Jet", "inputs": {"a": {**JETS, "match": "x", "index": "y"}}},
        "inputs.a: give one of 'index', 'match' and 'all'",
    ),
    ({"inputs": {"jets": {**JETS, "missing": -999}}}, "inputs.jets: 'missing' values become NaN: say what they are"),
    (
        {"inputs": {"jets": {**JETS, "nan": "keep"}}},
        "inputs.jets.nan: only trees (model.type: lightgbm) take NaN as it",
    ),
    ({"inputs": {"weight": {"features": ["x"]}}}, "inputs: 'weight' is a name of the dataset itself"),
    ({"inputs": {"jets_mask": {"features": ["x"]}}}, "inputs: 'jets_mask' is a name of the dataset itself"),
    (
        {"inputs": {"1jet": {"features": ["x"]}}},
        "inputs.1jet: should be a name of letters, digits and _ that begins with a letter",
    ),
    ({"inputs": {}}, "inputs: is empty: give at least 1"),
    ({"inputs": None}, "inputs: should be a block of 'key: value' lines (it is empty)"),
    ({"split": {"train": 0.5}}, "split: train + val + test is 0.8, not 1"),
    ({"split": {"train": 0.8, "val": 0.1, "test": 0.1, "folds": 5}}, "split: with folds every event is tested"),
    ({"define": {"event": "run"}}, "define.event: event identifies the event: name the columns that do so"),
    ({"golden_json": "cert.json"}, "'golden_json' masks data only, and no sample says 'data: true'"),
    (
        {"samples": {"a": {"files": "a", "xsec": 1}, "b": {"files": "b"}}},
        "samples.b: has no 'xsec' while others have: their weights would not compare",
    ),
    ({"samples": {"a": {"files": "a", "data": True, "xsec": 1}}}, "samples.a: data has no cross section"),
    ({"samples": {"a": {"files": "a", "sumw": 1}}}, "samples.a: 'sumw' does nothing without 'xsec'"),
    ({"samples": {"a": {}}}, "samples.a: give exactly one of 'files', 'dataset' and 'generator'"),
    ({"samples": {"a": {"files": []}}}, "samples.a.files: is empty: give at least 1"),
    (
        {"samples": {"a": {"files": "x", "label": "it's"}}},
        'samples.a.label: should be a name of letters, digits and _ that begins with a letter (given: "it\'s")',
    ),
    ({"samples": {"a": {"dataset": "A/B"}}}, "samples.a.dataset: should be a dataset of DAS, /primary/processed/TIER"),
    ({"samples": {"a": None}}, "samples.a: should be a block of 'key: value' lines (it is empty)"),
    ({"target": {}}, "target: give exactly one of 'classes' and 'regression'"),
    ({"target": {"classes": {"a": "x"}}}, "target.classes: needs at least 2 entries"),
    ({"weight": True}, "weight: should be a text (given: true, which YAML reads as true: quote it, 'true')"),
    ({"weight": ""}, "weight: is empty: give at least 1"),
    ({"select": {"a b": "x > 1"}}, "select.a b: should be a name of letters"),
    ({"select_for": {"train": {}}}, "select_for.train: should be 'skim', 'convert' or 'predict'"),
    ({"training": {"epoch": 1}}, "training.epoch: unknown key; did you mean 'epochs'?"),
    ({"functions": ["module.name"]}, "functions.0: should be module:function"),
    ({"dataset": {"format": "parquet", "layout": "salt"}}, "dataset: 'layout: salt' and 'compression' are for HDF5"),
    ({"lumi": 0}, "lumi: should be greater than 0 (given: 0)"),
    ({"name": "${nothing}"}, "name: Interpolation key 'nothing' not found"),
    ({"name": "${name}"}, "name: Recursive interpolation detected"),
    ({"name": "${oc.env:NO_SUCH_VARIABLE}"}, "name: KeyError raised while resolving interpolation"),
    ({"name": "${"}, "name: "),
    ({"name": "???"}, "name: Missing mandatory value: name"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG_VALUES, ids=[m[:50] for _, m in WRONG_VALUES])
def test_mistakes_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert refusal(tmp_path, **changes).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nname: b\n", "name: this key is there twice, in lines 1 and 2: remove one"),
        ("name: a\nsamples: [\n", "not valid YAML: line 3, column 1: "),
        ("name: a\n  tree: b\n", "not valid YAML: line 2, column 7: mapping values are not allowed"),
        ("name: a\n\ttree: b\n", "not valid YAML: line 2, column 1: "),
        ("name: a\nselect: {a: *x}\n", "not valid YAML: line 2, column 13: "),
        ("name: !!python/object:os.system x\n", "not valid YAML: line 1, column 7: could not determine a constructor"),
        ("lumi: !!int many\n", "not valid YAML: invalid literal for int()"),
        ("a: &x [*x]\n", "blocks within blocks without end: that is no analysis"),
        ("", "name: this key is required (and 2 more)"),
        ("# nothing yet\n", "name: this key is required (and 2 more)"),
        ("- name\n- samples\n", "expected 'key: value' lines, found a list"),
        ("nonsense", "nonsense: unknown key; known here: name, tree, samples, include,"),
    ],
)
def test_a_broken_text_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text=text).startswith(message)


def test_only_real_mistakes_are_counted(tmp_path: Path) -> None:
    assert refusal(tmp_path, inputs={"a": {"features": ["x"], "nan": "eror"}}).endswith("(given: 'eror') (line 16)")
    assert refusal(tmp_path, lumi=0, keep="run").endswith("(and 1 more)")


def test_an_unknown_override_key_is_named_with_the_nearest(tmp_path: Path) -> None:
    assert refusal(tmp_path, "training.epoch=5") == "training.epoch: unknown key; did you mean 'epochs'?"
    assert refusal(tmp_path, "training=5").startswith("training: should be a block of 'key: value' lines (given: 5)")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.yaml: no such file; 'nanoforge init FILES' writes an analysis file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="cannot be read as a text file"):
        load(tmp_path)
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00root")
    with pytest.raises(UserError, match=r"a.yaml: cannot be read as a text file"):
        load(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("samples:\n  no: {files: a.root}\n", "samples.no: YAML reads this key as false: quote it, 'no' (line 2)"),
        ("samples:\n  on: {files: a.root}\n", "samples.on: YAML reads this key as true: quote it, 'on' (line 2)"),
        ("samples:\n  null: {files: a}\n", "samples.null: YAML reads this key as nothing: quote it, 'null' (line 2)"),
        ("samples:\n  2016: {files: a.root}\n", "samples.2016: a name begins with a letter: write s2016, say (line 2)"),
        ("samples:\n  1e3: {files: a.root}\n", "samples.1e3: a name begins with a letter: write s1e3, say (line 2)"),
        ("select:\n  a: x\n\n  'a': y\n", "select.a: this key is there twice, in lines 2 and 4: remove one"),
        ("? [a, b]\n: c\n", "a key has to be a name, and this is a list or block (line 1)"),
        ("lumi: 0123\n", "lumi: YAML reads 0123 as 83: write it without leading zeros or colons, or quote it (line 1)"),
        ("lumi: 1:30\n", "lumi: YAML reads 1:30 as 90: write it without leading zeros or colons, or quote it (line 1)"),
        (
            "name: a\n\ttree: b\n",
            "not valid YAML: line 2, column 1: found a tab character that violates indentation: the line begins",
        ),
        ("name: a\nselect: {a: *x}\n", "not valid YAML: line 2, column 13: found undefined alias: a text that begins"),
    ],
)
def test_words_that_yaml_reads_otherwise_are_shown_as_they_stand(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text=text).startswith(message)


def test_values_are_shown_as_they_stand_with_their_line(tmp_path: Path) -> None:
    label = "name: a\nsamples:\n  a: {files: a.root,\n    label: no}\ninputs: {event: {features: [x]}}\n"
    assert (
        refusal(tmp_path, text=label)
        == "samples.a.label: should be a text (given: no, which YAML reads as false: quote it, 'no') (line 4)"
    )
    comma = refusal(tmp_path, text=label.replace("label: no", "xsec: 1,5"))
    assert comma == "samples.a.5: a comma begins the next key: write numbers with a point, as 1.5 (line 4)"
    comma = refusal(tmp_path, samples={"a": {"files": "a.root", "xsec": "1,5"}})
    assert comma == "samples.a.xsec: should be a number: write 1.5, with a point (given: '1,5') (line 5)"
    date = refusal(tmp_path, text=label.replace("name: a", "name: 2026-11-30").replace("no}", "n}"))
    assert date.startswith(
        "name: should be a name of letters, digits and _ that begins with a letter (given: '2026-11-30')"
    )
    other = refusal(tmp_path, text=label.replace("label: no}", "xsec: 1}\n  b: {files: b.root}"))
    assert other.startswith("samples.b: has no 'xsec' while others have") and other.endswith("(line 5)")


def test_what_says_the_same_as_before_is_still_loaded(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + yaml.safe_dump({**BASE, "lumi": 100.5}).encode())  # what some editors write
    assert load(path).lumi == 100.5
    path.write_text(
        yaml.safe_dump(BASE).replace("name: test", "name: test\nlumi: 1e3\ntraining: {compile: on, seed: 0}")
    )
    assert (load(path).lumi, load(path).training.compile) == (1000.0, True)


def test_another_type_leaves_the_options_of_the_old_one(tmp_path: Path) -> None:
    notes: list[str] = []
    changes = {
        "model": {"type": "deepsets", "constituent": [8], "dropout": 0.1},
        "training": {"loss": {"type": "focal", "gamma": 1}},
    }
    path = write(tmp_path, **changes)
    analysis = load(
        path, ["model.type=lightgbm", "training.loss.type=cross_entropy", "model.num_leaves=7"], notes.append
    )
    assert analysis.model.model_dump(exclude_unset=True) == {"type": "lightgbm", "num_leaves": 7}
    assert notes == [
        "note: model.type=lightgbm leaves out what the file says for another type: constituent, dropout",
        "note: training.loss.type=cross_entropy leaves out what the file says for another type: gamma",
    ]
    assert load(path, ["model.type=mlp"], notes.append).model.dropout == 0.1  # an option of both
    with pytest.raises(UserError, match=r"model.constituent: unknown key"):  # what is asked for here is checked
        load(path, ["model.constituent=[8]", "model.type=lightgbm"])
    with pytest.raises(UserError, match=r"model.type: 'lightgmb' is unknown; did you mean 'lightgbm'"):
        load(path, ["model.type=lightgmb"])


WRONG = [
    None,
    "",
    "a b!",
    "'",
    True,
    -1,
    1.5,
    1e400,
    10**30,
    [],
    {},
    [[]],
    [None],
    [1, 2, 3],
    ["x", 1],
    {"no name": {}},
]
WRONG += [{"a": None}, {"a": []}, {"a": {"b": {}}}, [{"type": "x"}], {"type": "x"}, {"type": None}, "a:b:c", [["a", 1]]]


def blocks(annotation: Any, seen: set[type[BaseModel]]) -> set[type[BaseModel]]:
    """All blocks of the analysis file, by the types of their keys, and all that registries have for one."""
    choices = [options for _, options in annotation.registry.all()] if isinstance(annotation, Typed) else []
    for inner in (*typing.get_args(annotation), *choices):
        blocks(inner, seen)
    if is_model(annotation) and not inspect.isabstract(annotation) and annotation not in seen:
        seen.add(annotation)
        for field in annotation.model_fields.values():
            for part in (field.annotation, *field.metadata):
                blocks(part, seen)
    return seen


def test_every_key_refuses_wrong_values_in_plain_words() -> None:
    found = blocks(Analysis, set())
    assert {"MLPOptions", "LightGBMOptions", "QuantileOptions"} <= {model.__name__ for model in found}
    names = "|".join(model.__name__ for model in found)
    python = re.compile(
        rf"regex|pattern|[Ii]nput should|`|\[type=|\(\d+, |\('|valid (string|integer|number)|cannot stand|\b({names})\b"
    )
    messages = set()
    for model, value in itertools.product(sorted(found, key=str), WRONG):
        try:
            model.model_validate(dict.fromkeys(model.model_fields, value))
        except ValidationError as error:
            problems = sorted(error.errors(), key=lambda problem: str(problem["loc"][:1]))
            keys = itertools.groupby(problems, key=lambda problem: problem["loc"][:1])
            messages |= {explain(list(group), model) for key, group in keys if key}
    assert len(messages) > 1000
    assert not [message for message in messages if python.search(message) or "\n" in message]


# --- whatever is written, the answer is an analysis or a UserError ---

TEXT = st.one_of(
    st.sampled_from(
        ["", "event", "${", "${name}", "${a.b}", "${oc.env:X}", "???", "~", "mlp", "a b", "x > 1", "1e999"]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=6),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT, st.dates(), st.binary(max_size=3))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.integers(), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from([*Analysis.model_fields, "nonsense"])
PLACES = st.sampled_from([
    (), ("samples", "tt"), ("samples", "dy", "files"), ("inputs", "jets"), ("inputs", "event", "features"), ("inputs",),
])  # fmt: skip
FIELDS = st.sampled_from([
    "files", "label", "xsec", "sumw", "data", "features", "collection", "where", "length", "missing", "nan", "x",
])  # fmt: skip


def survives(folder: Path, content: Any, overrides: list[str]) -> None:
    path = folder / "any.yaml"
    path.write_text(yaml.dump(content, allow_unicode=True), encoding="utf-8")
    try:
        analysis = load(path, overrides)
    except UserError as error:
        assert str(error).startswith((str(path), "override ")) and "\n" not in str(error)
    else:
        assert isinstance(analysis, Analysis)


@settings(max_examples=30, deadline=None)
@given(content=st.dictionaries(KEYS | TEXT | st.integers(), VALUES, max_size=4))
def test_any_dictionary_is_loaded_or_refused(tmp_path_factory: pytest.TempPathFactory, content: dict) -> None:
    survives(tmp_path_factory.getbasetemp(), content, [])


@settings(max_examples=40, deadline=None)
@given(place=PLACES, key=KEYS | FIELDS, value=VALUES, word=TEXT)
def test_any_change_of_a_good_file_is_loaded_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[str, ...], key: str, value: Any, word: str
) -> None:
    content = copy.deepcopy(BASE)
    spot: Any = content
    for step in place:
        spot = spot[step]
    if isinstance(spot, list):
        spot.append(value)
    else:
        spot[key] = value
    override = ".".join([*place, key]) + "=" + word
    survives(tmp_path_factory.getbasetemp(), content, [])
    survives(tmp_path_factory.getbasetemp(), BASE, [override])
