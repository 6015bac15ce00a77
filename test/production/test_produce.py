"""``nanoforge produce`` with the stand-in of CMS's software: whole chains, their sums, and how they fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import pytest
import uproot
import yaml
from cms_software import ANALYSIS, GUN, analysis, events
from nanoforge import workflow
from nanoforge.config import Analysis, load
from nanoforge.errors import UserError
from nanoforge.events.files import sample_files
from nanoforge.pipeline import graph
from nanoforge.pipeline.stage import Stage
from nanoforge.production import pileup
from nanoforge.production.plan import plan
from nanoforge.provenance import Manifest
from nanoforge.stages.convert import convert
from nanoforge.stages.produce import produce

Command = Callable[..., Any]
ONE = {"samples": {"other": ANALYSIS["samples"]["other"]}}
FILTERED = {"samples": {"signal": ANALYSIS["samples"]["signal"]}}
SKIM = [{"name": "jets", "src": "slimmedJets", "min": 2}]


def made(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def triples(path: Path) -> list[tuple[int, int, int]]:
    return [tuple(event[:3]) for event in events(path)]


def test_a_whole_chain_counts_its_events_from_the_generator_to_the_skim(cms: Path, tmp_path: Path) -> None:
    cmssw = {"skim": SKIM, "acceptance": {"signal": {"daughters": 36, "hcal": 1.0}}}
    path = analysis(tmp_path, {"keep": ["gensim"]}, cmssw=cmssw, **FILTERED)
    manifest = produce(load(path), tmp_path / "out")
    manifest.verify(tmp_path / "out")
    folder = tmp_path / "out" / "signal"
    simulated = [json.loads((folder / f"gensim-{lumi:05}.root").read_text()) for lumi in (1, 2)]
    tried, passed = (sum(content[key] for content in simulated) for key in ("tried", "passed"))
    accepted = [event for content in simulated for event in content["events"]]
    kept = [tuple(event[:3]) for event in accepted if event[4]]
    assert len(accepted) == 10 and 0 < len(kept) < 10, "the stand-in draws otherwise: take another seed"
    columns = [uproot.open(folder / f"nano-{lumi:05}.root")["Events"].arrays(library="np") for lumi in (1, 2)]
    found = [tuple(map(int, row)) for c in columns for row in zip(c["run"], c["luminosityBlock"], c["event"])]
    assert found == kept and len(set(found)) == len(found)
    assert manifest.accounting is not None
    ledger = manifest.accounting.events
    assert (ledger.read, ledger.used) == (tried, len(kept))
    assert ledger.rejected == {
        "signal.pairFilter": tried - passed, "signal.acceptance": passed - 10, "signal.skim": 10 - len(kept),
    }  # fmt: skip
    block = (tmp_path / "out" / "samples.yaml").read_text()
    assert f"efficiency {10 / tried:.4g}" in block and "without pile-up: a test" in block
    sums = [r["trials"] for r in manifest.details["lumis"]["signal"]]
    assert sum(t["sumw"] for t in sums) == pytest.approx(2.0 * tried, rel=1e-6)
    assert sum(t["passed_sumw"] for t in sums) == pytest.approx(20.0)
    steps = manifest.details["lumis"]["signal"][0]["steps"]
    assert [step["name"] for step in steps] == ["gensim", "digi", "reco", "mini", "nano"]
    assert {(step["seconds"], step["memory"]) for step in steps} == {(4.5, 1234.5)}
    read = load(path, [f"samples.signal.files={tmp_path}/out/files/signal.txt"])
    assert [Path(name).name for name in sample_files(read, "signal")] == ["nano-00001.root", "nano-00002.root"]
    assert produce(load(path), tmp_path / "out").created == manifest.created, "up to date"


def test_an_extension_has_lumi_sections_and_random_numbers_of_its_own(cms: Path, tmp_path: Path) -> None:
    path = analysis(tmp_path, {"chain": "gensim", "events": 7}, **FILTERED)
    first, second = (produce(load(path), tmp_path / name) for name in ("first", "second"))
    numbers = [[record["lumi"] for record in m.details["lumis"]["signal"]] for m in (first, second)]
    assert numbers == [[1, 2], [3, 4]]
    files = [
        tmp_path / n / "signal" / f"gensim-{lumi:05}.root"
        for n, lumi in zip(("first",) * 2 + ("second",) * 2, range(1, 5))
    ]
    assert [len(triples(file)) for file in files] == [5, 2, 5, 2]
    assert len({triple for file in files for triple in triples(file)}) == 14
    assert len({tuple(e[2] for e in events(file)[:2]) for file in files}) > 2, "each draws other numbers"
    entries = [json.loads(line) for line in (tmp_path / "lumis.jsonl").read_text().splitlines()]
    assert [(e["first"], e["last"], Path(e["folder"]).name) for e in entries] == [(1, 2, "first"), (3, 4, "second")]
    again = produce(load(path, ["cmssw.produce.keep=[gensim]"]), tmp_path / "first", force=True)
    assert [record["lumi"] for record in again.details["lumis"]["signal"]] == [1, 2], "the folder's own"
    same = tmp_path / "first" / "signal" / "gensim-00001.root"
    assert triples(same) == triples(files[0])


def test_it_goes_on_where_it_was_interrupted(cms: Path, tmp_path: Path, nanoforge: Command) -> None:
    analysis(tmp_path, {"chain": "gensim"}, **ONE)
    (cms / "faults" / "gensim-2").write_text("1")
    failed = nanoforge("produce", "analysis.yaml", "-o", "out")
    assert failed.returncode == 1 and "other, lumi section 2, step gensim: cmsRun ended with 1" in failed.stderr
    (cms / "faults" / "gensim-2").unlink()
    (cms / "faults" / "gensim-1").write_text("1")  # which is not made again
    assert nanoforge("produce", "analysis.yaml", "-o", "out").returncode == 0
    assert len(made(tmp_path / "out")["details"]["lumis"]["other"]) == 2


def test_tries_without_an_accepted_event_count(cms: Path, tmp_path: Path) -> None:
    path = analysis(tmp_path, {"events": 6, "events_per_job": 1, "tries_per_job": 1}, **FILTERED)
    manifest = produce(load(path), tmp_path / "out", jobs=2)
    assert manifest.accounting is not None
    ledger = manifest.accounting.events
    assert ledger.read == 6 and 0 < ledger.used < 6
    lines = (tmp_path / "out" / "files" / "signal.txt").read_text().splitlines()
    assert len(lines) == 6, "files without events tell of what was tried"
    block = yaml.safe_load((tmp_path / "out" / "samples.yaml").read_text())
    assert block["samples"]["signal"]["sumw"] == pytest.approx(2.0 * 6), "all weigh as much as those that are left"


class ProduceAndConvert:
    """Does these two stages of a pipeline."""

    def __init__(self, output: Path) -> None:
        self.output = output

    def run(self, stage: Stage, analysis: Analysis, results: Mapping[str, Any]) -> Any:
        if stage is graph.PRODUCE:
            produce(analysis, stage.output(self.output))
            return {name: [str(self.output / "produced" / "files" / f"{name}.txt")] for name in analysis.samples}
        return convert(analysis, stage.output(self.output)) if stage is graph.CONVERT else None

    def sums(self) -> Path:
        return self.output / "produced" / "samples.yaml"


def test_a_pipeline_normalises_to_all_events_that_were_tried(cms: Path, tmp_path: Path) -> None:
    changes = {"target": {"regression": {"x": "MET_pt"}}, "weight": "genWeight", "lumi": 10.0}
    path = analysis(tmp_path, {"events": 8, "events_per_job": 2, "tries_per_job": 2}, **FILTERED, **changes)
    loaded = load(path, ["split={train: 1, val: 0, test: 0}"])
    graph.walk(loaded, ProduceAndConvert(tmp_path))
    workflow._keep_other_settings(loaded, tmp_path)  # as 'nanoforge run' does, which would go on here
    with pytest.raises(UserError, match="holds results of other settings"):
        workflow._keep_other_settings(load(path, ["lumi=11.0"]), tmp_path)
    tried, used = made(tmp_path / "produced")["accounting"]["events"]["read"], len(triples_of(tmp_path / "produced"))
    assert tried == 8 and 0 < used < 8
    with h5py.File(tmp_path / "dataset" / "train.h5") as file:
        assert file["weight"][:].sum() == pytest.approx(2.0 * 10.0 * used / tried), "xsec * lumi * efficiency"


def triples_of(produced: Path) -> list[Any]:
    return [row for path in (produced / "signal").glob("nano-*.root")
            for row in uproot.open(path)["Events"]["event"].array(library="np")]  # fmt: skip


FAULTS = [
    ("digi", "once 8021", 0, ""),
    ("digi", "8020", 1, "could not read an input: cmsRun ended with 8020"),
    (
        "gensim",
        "8009",
        2,
        "its configuration is wrong: cmsRun ended with 8009 (Broken): An exception of category Broken",
    ),
    ("gensim", "once signal 11", 0, ""),
    (
        "gensim",
        "signal 11",
        2,
        "lumi section 1, step gensim: crashed twice with the same random numbers, so this section",
    ),
    ("gensim", "8004", 1, "needed more memory"),
    ("gensim", "signal 9", 1, "needed more memory: cmsRun ended with 137"),
    ("digi", "short", 1, "read 5 events and wrote 4"),
]


@pytest.mark.parametrize(("step", "fault", "code", "message"), FAULTS, ids=[f"{s} {f}" for s, f, _, _ in FAULTS])
def test_exit_codes_decide_what_is_tried_again(
    step: str, fault: str, code: int, message: str, cms: Path, tmp_path: Path, nanoforge: Command
) -> None:
    names = [f"/store/mc/premix/{i}.root" for i in range(200)]
    (tmp_path / "pileup.txt").write_text("\n".join(names))
    produce_ = {"chain": step, "events": 5, "pileup": {"files": "pileup.txt"}}
    analysis(tmp_path, produce_, **ONE)
    (cms / "faults" / f"{step}-1").write_text(fault)
    done = nanoforge("produce", "analysis.yaml", "-o", "out")
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert done.stderr.count("error:") == (code != 0)
    if code == 0 and step == "digi":
        [record] = made(tmp_path / "out")["details"]["lumis"]["other"]
        mixed = json.loads((tmp_path / "out/other/digi-00001.root").read_text())["pileup"]
        assert record["steps"][1]["pileup"] == 1, "the second choice of files"
        expected = pileup.share(names, GUN["seed"], 1, 1)
        assert mixed == [f"root://cms-xrd-global.cern.ch/{name}" for name in expected] and len(mixed) == 50


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, False),
        ({"inputs": {"particles": {"collection": "PFCands", "length": 4, "features": ["pt"]}}}, True),
        ({"define": {"n": "num(JetPFCands_jetIdx == 0)"}}, True),
        ({"inputs": {"event": {"features": ["nPFCandsOfMine"]}}}, False),
    ],
)
def test_what_the_analysis_reads_decides_about_particles(changes: dict[str, Any], wanted: bool, tmp_path: Path) -> None:
    path = analysis(tmp_path, **ONE, **changes)
    production = plan(load(path))["other"]
    assert production.candidates is wanted and ("candidates" in production.made_from()) is wanted


def test_pileup_is_chosen_by_lumi_section() -> None:
    names = [f"/store/{i}.root" for i in range(1000)]
    shares = [pileup.share(names, 5, lumi, 0) for lumi in (1, 2)]
    assert shares[0] == pileup.share(names, 5, 1, 0) and len(set(shares[0])) == 50
    assert shares[0] != shares[1] != pileup.share(names, 5, 2, 1)
    assert sorted(pileup.share(names[:3], 5, 1, 0)) == names[:3]


MISTAKES = [
    ({"chain": "hlt"}, {}, "2022 has no step 'hlt'"),
    ({"chain": "digi", "keep": ["mini"]}, {}, "keep: the chain ends with 'digi', before 'mini'"),
    ({"samples": ["sgnal"]}, {}, "cmssw.produce.samples: there is no sample 'sgnal'; did you mean 'signal'"),
    ({"samples": ["data"]}, {}, "samples.data has no 'generator'"),
    ({"first_lumi": 2}, {}, "lumi sections 1 to 3 of signal were given to"),
    ({"journal": "gone/lumis.jsonl"}, {}, "there is no such folder"),
    ({"pileup": "premix"}, {}, "dasgoclient is not here"),
    ({"tries_per_job": 1}, {}, "fewer tries than events"),
    ({}, {"cmssw": {"era": "2021"}}, "cmssw.era: '2021' is unknown"),
    ({}, {"samples": {"a": {"files": "a.root", "label": "a"}}}, "no sample has a 'generator'"),
]


@pytest.mark.parametrize(("block", "changes", "message"), MISTAKES, ids=[m for _, _, m in MISTAKES])
def test_mistakes_are_one_line(
    block: dict[str, Any], changes: dict[str, Any], message: str, cms: Path, tmp_path: Path, nanoforge: Command
) -> None:
    samples = {**ANALYSIS["samples"], "data": {"files": "d.root", "label": "b", "xsec": 1.0}}
    entry = {"sample": "signal", "first": 1, "last": 3, "folder": "/somewhere"}
    (tmp_path / "lumis.jsonl").write_text(json.dumps(entry) + "\n")
    analysis(tmp_path, {"chain": "digi", **block}, **{"samples": samples, **changes})
    submit = ["submit", "local", "analysis.yaml", "batch.site=generic", "--stage", "produce", "-o", "out"]
    for words in (["produce", "analysis.yaml", "-o", "out"], submit):
        done = nanoforge(*words)
        assert done.returncode == 2 and done.stderr.count("error:") == 1, done.stderr
        assert message in done.stderr
        assert not (tmp_path / "out").exists()


def test_a_machine_without_the_software_says_so(
    tmp_path: Path, nanoforge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMS_PATH", str(tmp_path / "nothing"))
    analysis(tmp_path, {"chain": "gensim"}, **ONE)
    done = nanoforge("produce", "analysis.yaml", "-o", "out")
    assert done.returncode == 1 and "is CVMFS mounted?" in done.stderr


def test_the_manifest_of_a_damaged_journal_is_not_guessed(cms: Path, tmp_path: Path, nanoforge: Command) -> None:
    analysis(tmp_path, {"chain": "gensim"}, **ONE)
    (tmp_path / "lumis.jsonl").write_text('{"sample": "other"}\n')
    done = nanoforge("produce", "analysis.yaml", "-o", "out")
    assert done.returncode == 1 and "lumis.jsonl: is damaged" in done.stderr


def test_manifests_of_parts_are_no_wholes(cms: Path, tmp_path: Path) -> None:
    path = analysis(tmp_path, {"chain": "gensim"}, **ONE)
    part = produce(load(path), tmp_path / "part", part="other:1")
    assert part.stage == "produce part" and part.details["part"] == {"sample": "other", "first": 1, "last": 1}
    assert Manifest.read(tmp_path / "part", "produce part").outputs[-1].path == "other/gensim-00002.root"
