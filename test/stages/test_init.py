"""Init writes an analysis file that loads, converts as it is, and proposes nothing that a model must not see."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml
from nanoforge import cli
from nanoforge.config import load
from nanoforge.errors import FileError, UserError
from nanoforge.stages.convert import convert
from typer.testing import CliRunner

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
real = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real files are not here: {SHARED}")


def init(*words):
    result = CliRunner().invoke(cli.app, ["init", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def write(path, tree="Events", seed=1, events=200, **more):
    """Write a NanoAOD-like file the way uproot does, with a counter for every branch of lists."""
    random = np.random.default_rng(seed)
    counts = random.poisson(2, events)
    columns = {
        "run": np.ones(events, np.uint32),
        "luminosityBlock": np.ones(events, np.uint32),
        "event": np.arange(events, dtype=np.uint64),
        "genWeight": random.normal(1, 0.1, events),
        "genHT": random.exponential(50, events),
        "MET_pt": random.exponential(50, events),
        "HLT_IsoMu24": random.integers(0, 2, events).astype(bool),
        "Jet_pt": ak.unflatten(random.exponential(50, counts.sum()), counts),
        "Jet_eta": ak.unflatten(random.normal(0, 2, counts.sum()), counts),
        "Jet_genJetIdx": ak.unflatten(random.integers(-1, 5, counts.sum()), counts),
        "Jet_hadronFlavour": ak.unflatten(random.integers(0, 6, counts.sum()), counts),
        "GenPart_pt": ak.unflatten(random.exponential(50, counts.sum()), counts),
    } | more
    types = {n: c.type.content if isinstance(c, ak.Array) else c.dtype for n, c in columns.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with uproot.recreate(path) as file:
        file.mktree(tree, types)
        file[tree].extend(columns)
    return path


def features(analysis):
    return {name: block.feature_names for name, block in analysis.inputs.items()}


def test_the_file_runs_as_it_is(tmp_path):
    output = tmp_path / "out" / "analysis.yaml"
    text = init(write(tmp_path / "tt.root"), write(tmp_path / "dy.root", seed=2), "-o", output)
    assert f"nanoforge convert {output}" in text
    analysis = load(output)
    assert {n: s.label for n, s in analysis.samples.items()} == {"tt": "signal", "dy": "background"}
    assert features(analysis) == {"event": ["MET_pt"], "jets": ["pt", "eta"]}
    assert (analysis.weight, analysis.keep) == ("genWeight", ["run", "luminosityBlock", "event"])
    assert (analysis.model.type, analysis.inputs["jets"].sort) == ("deepsets", "-pt")
    assert analysis.inputs["jets"].length in (6, 7)
    manifest = convert(analysis, tmp_path / "dataset")
    assert manifest.accounting.events.used == 400


def test_every_key_has_a_comment_and_alternatives_are_shown(tmp_path):
    init(write(tmp_path / "a.root"), write(tmp_path / "b.root", seed=2), "-o", tmp_path / "a.yaml")
    text = (tmp_path / "a.yaml").read_text()
    for key in ("xsec", "data", "define", "select", "target", "nan", "accelerator", "model"):
        assert re.search(rf"^ *# {key}:", text, re.MULTILINE), key
    blocks = re.split(r"\n\n", text)
    assert all("#" in block for block in blocks)


def test_the_commented_alternatives_are_valid_too(tmp_path):
    init(write(tmp_path / "a.root"), "-o", tmp_path / "a.yaml")
    text = (tmp_path / "a.yaml").read_text()
    assert "needs a second class" in text
    with_target = text.replace("# target: {classes", "target: {classes").replace("# define:", "define:")
    with_target = with_target.replace("#   example:", "  example:")
    (tmp_path / "b.yaml").write_text(with_target)
    analysis = load(tmp_path / "b.yaml")
    assert list(analysis.classes) == ["signal", "background"]
    assert convert(analysis, tmp_path / "dataset").accounting.events.used == 200


def test_an_existing_file_is_left_alone(tmp_path, capsys, monkeypatch):
    output = tmp_path / "analysis.yaml"
    output.write_text("mine")
    monkeypatch.setattr(sys, "argv", ["nanoforge", "init", str(write(tmp_path / "a.root")), "-o", str(output)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "exists and is not overwritten" in capsys.readouterr().err
    assert output.read_text() == "mine"


def test_a_full_disk_leaves_no_half_file_behind(tmp_path):
    path = write(tmp_path / "a.root")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    try:
        with pytest.raises(UserError, match=r"a\.yaml: cannot be written"):
            init(path, "-o", tmp_path / "a.yaml")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.glob("*.yaml*"))
    init(path, "-o", tmp_path / "a.yaml")
    assert load(tmp_path / "a.yaml").tree == "Events"


def test_usual_errors(tmp_path):
    path = write(tmp_path / "a.root", tree="dir/Events")
    with pytest.raises(FileError, match="no tree 'Events'; it has dir/Events"):
        init(path, "-o", tmp_path / "a.yaml")
    with pytest.raises(UserError, match="no file matches"):
        init(tmp_path / "none*.root", "-o", tmp_path / "a.yaml")
    assert not (tmp_path / "a.yaml").exists()
    init(path, "-o", tmp_path / "a.yaml", "--tree", "dir/Events")
    assert load(tmp_path / "a.yaml").tree == "dir/Events"


def test_nothing_in_common(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n2\n")
    (tmp_path / "b.csv").write_text("y\n1\n2\n")
    with pytest.raises(UserError, match="share no column of numbers"):
        init(tmp_path / "a.csv", tmp_path / "b.csv", "-o", tmp_path / "a.yaml")


NASTY = ["we${ird}", "a[1]", "'q\" #: é", "no", "123", "~x/t", "line\nbreak", "sub/no", "back\\${x}", "- {a}", "\x85%"]


def test_any_file_name_and_branch_name_is_safe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = np.random.default_rng(3).normal(size=(3, 200))
    odd = {"a-b\n- c": numbers[0], "yes": numbers[1], "we: ird #": numbers[2]}
    paths = [write(Path(f"{name}.root"), seed=i, **odd) for i, name in enumerate(NASTY)]
    patterns = [re.sub(r"([\[])", "[[]", str(path)) for path in paths]
    for output in ("a.yaml", "deep/er/b.yaml"):
        init("-o", output, "--", *patterns)
        analysis = load(output)
        assert len(analysis.samples) == len(NASTY)
        assert sorted(features(analysis)["event"]) == ["MET_pt"]
        manifest = convert(analysis, Path(f"{output}.data"))
        assert [source.path for source in manifest.inputs] == [str(path.absolute()) for path in paths]
        assert set(yaml.safe_load(Path(output).read_text())) == {
            "name", "tree", "samples", "row", "inputs", "weight", "keep", "split", "dataset", "model", "training",
        }  # fmt: skip


def test_awkward_column_names(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text('yes,on,a-b,"x: # y",e1,null\n' + "1,2,3,4,5,6\n2,3,4,5,6,7\n" * 60)
    init(tmp_path / "a.csv", tmp_path / "b.csv", "-o", tmp_path / "a.yaml")
    analysis = load(tmp_path / "a.yaml")
    assert features(analysis) == {"event": ["yes", "on", "e1", "null"]}
    assert '# names that no expression can mention: "a-b", "x: # y"' in (tmp_path / "a.yaml").read_text()
    assert convert(analysis, tmp_path / "dataset").accounting.events.used == 240


def test_constants_and_columns_of_single_files_are_mentioned_not_used(tmp_path):
    a = write(tmp_path / "a.root", sampleTag=np.full(200, 1.0), constant=np.full(200, 5.0), only=np.arange(200.0))
    b = write(tmp_path / "b.root", sampleTag=np.full(200, 2.0), constant=np.full(200, 6.0))
    init(a, b, "-o", tmp_path / "a.yaml")
    used = {f for names in features(load(tmp_path / "a.yaml")).values() for f in names}
    assert not used & {"sampleTag", "constant", "only"}
    text = (tmp_path / "a.yaml").read_text()
    assert "# only one value in each file: constant" in text
    assert "# not in every file: only" in text


def test_nan_is_filled_where_it_was_seen(tmp_path):
    values = np.where(np.arange(200) % 9, 1.0 + np.arange(200), np.nan)
    init(write(tmp_path / "a.root", MET_phi=values), write(tmp_path / "b.root", seed=2, MET_phi=values),
         "-o", tmp_path / "a.yaml")  # fmt: skip
    analysis = load(tmp_path / "a.yaml")
    assert analysis.inputs["event"].nan.fill == 0
    assert analysis.inputs["event"].missing == []
    assert analysis.inputs["jets"].nan == "error"
    convert(analysis, tmp_path / "dataset")


@real
def test_the_htautau_skims(tmp_path):
    output = tmp_path / "analysis.yaml"
    init(SHARED / "HTT12_TTbarSkim.root", SHARED / "HTT12_DYJetsToLLSkim.root", "-o", output)
    analysis = load(output)
    used = analysis.inputs["event"].feature_names
    assert {"pt_1", "eta_1", "m_vis", "mjj", "pt_met"} <= set(used)
    assert not {"run", "weight", "gen_match"} & set(used)
    assert analysis.inputs["event"].missing == [-999]
    assert analysis.inputs["event"].nan.fill == 0
    assert (analysis.model.type, analysis.weight, analysis.keep) == ("mlp", "1", [])
    manifest = convert(analysis, tmp_path / "dataset")
    assert manifest.accounting.events.used == 3783 + 6971


@real
def test_real_nanoaod_as_tree_and_as_ntuple(tmp_path):
    output = tmp_path / "analysis.yaml"
    init(SHARED / "NanoAODv5_sample.root", SHARED / "nano_dy_rntuple.root", "-o", output)
    analysis = load(output)
    assert analysis.inputs.keys() >= {"event", "jets", "fatjets", "electrons", "muons", "taus", "photons", "vertices"}
    for name, block in analysis.inputs.items():
        assert len(block.features) <= (10 if block.collection else 20), name
        if block.collection:
            assert block.feature_names[:4] == ["pt", "eta", "phi", "mass"]
        assert not re.search(r"[gG]en|LHE|HTXS|Pileup|Flavour|Idx|HLT|Flag|[wW]eight|run|event", str(block.features))
    assert analysis.weight == "genWeight"
    manifest = convert(analysis, tmp_path / "dataset")
    assert manifest.accounting.events.used == 1040


@real
def test_real_data_has_no_generator_weight(tmp_path):
    init(SHARED / "nano_dimuon.root", "-o", tmp_path / "analysis.yaml")
    analysis = load(tmp_path / "analysis.yaml")
    assert (analysis.weight, analysis.keep) == ("1", ["run", "luminosityBlock", "event"])


@pytest.mark.parametrize(
    ("names", "written"),
    [
        (["run", "lumi", "event"], "identity: [run, lumi, event]"),
        (["RunNumber", "ls", "EventNumber"], "identity: [RunNumber, ls, EventNumber]"),
        (["event_no"], "identity: [event_no]"),
        (["run", "luminosityBlock", "event"], None),
        (["run", "lumi"], "# identity: [run, luminosityBlock, event]"),
    ],
    ids=str,
)
def test_the_columns_that_identify_an_event_are_named(tmp_path, names, written):
    random = np.random.default_rng(1)
    columns = {"x": random.normal(size=50), "k": np.arange(50)} | dict.fromkeys(names, np.arange(50))
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("Events", {n: c.dtype for n, c in columns.items()})
        file["Events"].extend(columns)
    init(tmp_path / "a.root", "-o", tmp_path / "a.yaml")
    found = [line for line in (tmp_path / "a.yaml").read_text().splitlines() if "identity: [" in line]
    assert found == ([] if written is None else [written])
    analysis = load(tmp_path / "a.yaml")
    assert features(analysis)["event"] == ["x", "k"], "what identifies an event is no feature"
    assert analysis.keep == ([] if written and written.startswith("#") else names)


def test_lists_of_equal_lengths_are_grouped(tmp_path):
    """QuarkNet's muons: lists without a counter, of names that say nothing of a collection."""
    for i, name in enumerate(("a.root", "b.root")):
        random = np.random.default_rng(i)
        counts, others = random.poisson(2, 300), random.poisson(1, 300)
        columns = {"lone": ak.to_regular(ak.unflatten(random.normal(size=900), 3))}
        for member in ("mu_pt", "mu_eta", "mu_phi"):
            columns[member] = ak.unflatten(random.normal(size=counts.sum()), counts)
        columns["energy"] = ak.unflatten(random.normal(size=others.sum()), others)
        with uproot.recreate(tmp_path / name) as file:
            file.mktree("Events", {n: c.type.content for n, c in columns.items()}).extend(columns)
    text = init(tmp_path / "a.root", tmp_path / "b.root", "-o", tmp_path / "a.yaml")
    assert "mus (3 features)" in text
    analysis = load(tmp_path / "a.yaml")
    assert analysis.inputs["mus"].collection == "mu" and not analysis.collections
    for name in ("a.root", "b.root"):
        with uproot.open(tmp_path / name) as file:
            renamed = {n.removeprefix("mu_"): file["Events"][n].array() for n in ("mu_pt", "mu_eta", "mu_phi")}
        with uproot.recreate(tmp_path / name) as file:
            file.mktree("Events", {n: c.type.content for n, c in renamed.items()}).extend(renamed)
    init(tmp_path / "a.root", tmp_path / "b.root", "-o", tmp_path / "b.yaml")
    analysis = load(tmp_path / "b.yaml")
    assert analysis.collections == {"Object": {"pt": "pt", "eta": "eta", "phi": "phi"}}
    assert features(analysis) == {"event": ["nObject"], "objects": ["pt", "eta", "phi"]}
    assert convert(analysis, tmp_path / "dataset").accounting.events.used == 600


def test_lone_lists_are_explained(tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("Events", {"lone": np.dtype(("f4", (3,)))}).extend({"lone": np.zeros((9, 3), "f4")})
    with pytest.raises(UserError, match=r"but lists \(lone\) that form no collection: .*, lone\[0\], sums"):
        init(tmp_path / "a.root", "-o", tmp_path / "a.yaml")


def test_recorded_data_and_one_file_alone(tmp_path):
    """Data have a run number and no generator branches; one file alone does not run as it is."""
    truth = ("genWeight", "genHT", "Jet_genJetIdx", "Jet_hadronFlavour", "GenPart_pt")
    init(write(tmp_path / "mc.root"), "-o", tmp_path / "mc.yaml")
    text = (tmp_path / "mc.yaml").read_text()
    assert "    data: true" not in text and "It runs as it is" not in text and "runs with a second sample" in text
    with uproot.open(tmp_path / "mc.root") as file:
        columns = {n: b.array() for n, b in file["Events"].items() if n not in truth and not n.startswith("n")}
    columns["run"] = ak.full_like(columns["run"], 315267)
    with uproot.recreate(tmp_path / "data.root") as file:
        file.mktree("Events", {n: c.type.content for n, c in columns.items()}).extend(columns)
    init(tmp_path / "mc.root", tmp_path / "data.root", "-o", tmp_path / "both.yaml")
    assert {n: s.data for n, s in load(tmp_path / "both.yaml").samples.items()} == {"mc": False, "data": True}


def test_small_integers_without_an_order_are_proposed_as_categories(tmp_path):
    modes, ids = np.array([0, 1, 10, 11] * 50), np.array([0, 1, 2, -999] * 50)
    numbers = {"Tau_decayMode": modes, "Tau_charge": 2 * (modes % 2) - 1, "Tau_ntracks": modes, "Tau_jetId": ids}
    taus = {name: ak.unflatten(values.astype("i4"), np.ones(200, int)) for name, values in numbers.items()}
    taus["Tau_pt"] = ak.unflatten(np.arange(200.0), np.ones(200, int))
    for name in ("a", "b"):
        write(tmp_path / f"{name}.root", event_pdgId=np.arange(200) * 7, **taus)
    init(tmp_path / "a.root", tmp_path / "b.root", "-o", tmp_path / "analysis.yaml")
    options = load(tmp_path / "analysis.yaml").inputs["taus"].feature_options
    categories = {name: option.categories for name, option in options.items()}
    assert categories["decayMode"] == [0, 1, 10, 11] and categories["charge"] == [-1, 1]
    assert categories["pt"] is None and categories.get("ntracks") is None and categories.get("jetId") is None
