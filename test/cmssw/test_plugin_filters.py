"""Filters of plugins that the analysis file names: ours, a new file among them, and the user's own."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from nanoforge.cmssw import descriptions, gen

ANALYSIS = """
name: a
samples: {a: {label: a, generator: {process: ttbar, filters: {top: {daughters: 6}}}}}
inputs: {e: {features: [MET_pt]}}
cmssw: {era: "2022", filters: [%s]}
"""
PLUGIN = """
#include "FWCore/Framework/interface/global/EDFilter.h"

class TripletFilter : public edm::global::EDFilter<> {};

void TripletFilter::fillDescriptions(edm::ConfigurationDescriptions& descriptions) {
  edm::ParameterSetDescription desc;
  desc.add<edm::InputTag>("src");
  desc.add<std::vector<edm::InputTag>>("others", {});
  desc.add<double>("minPt", 5.0)->setComment("GeV");
  desc.add<bool>("strict", false);
  desc.add<unsigned int>("count", 3);
  descriptions.addWithDefaultLabel(desc);
}

DEFINE_FWK_MODULE(TripletFilter);
"""
OURS = "{type: GenDecayFilter, name: muons, src: 'generator:unsmeared', format: HepMC, daughters: [13], minPt: 5}"


@pytest.fixture
def cmsrun(tmp_path: Path, nanoforge: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("nanoforge.simulation.generator.event_blocks.check", lambda *_: None)  # which is slow

    def run(filters: str) -> Any:
        (tmp_path / "analysis.yaml").write_text(ANALYSIS % filters)
        return nanoforge("cmsrun", "analysis.yaml", "--sample", "a", "--step", "gen", "-o", "out")

    return run


def test_a_filter_of_ours_runs_behind_those_of_the_generator(cmsrun: Any, tmp_path: Path) -> None:
    assert cmsrun(OURS).returncode == 0
    block = gen.read(tmp_path / "out" / "a.json")
    assert block["plugins"]["muons"]["parameters"]["daughters"] == ["vint32", [13]]
    fragment = (tmp_path / "out" / "a_fragment.py").read_text()
    assert "ProductionFilterSequence = cms.Sequence(generator + topFilter + muonsFilter)" in fragment
    assert "minPt=cms.double(5)" in fragment and "src=cms.InputTag('generator:unsmeared')" in fragment
    assert "daughters=cms.vint32(13)" in fragment


def test_a_source_beside_the_analysis_file_goes_into_the_release(cmsrun: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.cc").write_text(PLUGIN)
    assert (
        cmsrun("{type: 'mine.cc:TripletFilter', name: three, src: a, others: [b, 'c:d'], strict: true}").returncode == 0
    )
    fragment = (tmp_path / "out" / "a_fragment.py").read_text()
    assert "others=cms.VInputTag(cms.InputTag('b'), cms.InputTag('c:d'))" in fragment and "cms.bool(True)" in fragment
    (archive,) = (tmp_path / "out").glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        assert "PhysicsTools/NanoForge/plugins/mine.cc" in packed.getnames()
    (tmp_path / "mine.cc").write_text(PLUGIN.replace("5.0", "6.0"))
    answer = cmsrun("{type: 'mine.cc:TripletFilter', name: three, src: a, others: [b, 'c:d'], strict: true}")
    assert answer.returncode == 2, "another source is another result"


def test_a_source_in_the_folder_is_a_filter(cmsrun: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "TripletFilter.cc").write_text(PLUGIN)
    monkeypatch.setattr(descriptions, "PLUGINS", tmp_path / "plugins")
    assert cmsrun("{type: TripletFilter, name: three, src: a}").returncode == 0
    content = json.loads((tmp_path / "out" / "a.json").read_text())
    assert content["plugins"] == {"three": {"type": "TripletFilter", "parameters": {"src": ["InputTag", "a"]}}}


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ("{type: GenDecayFiltr, name: a}", "filters.0.type: there is no filter 'GenDecayFiltr'; known: GenDecayFilter"),
        ("{type: SimAcceptanceFilter, name: a}", "it is the filter of cmssw.acceptance"),
        (
            "{type: GenDecayFilter, name: a, minPT: 3}",
            "minPT: GenDecayFilter has no such parameter; did you mean 'minPt'",
        ),
        ("{type: GenDecayFilter, name: a, minPt: high}", "filters.0.minPt: should be of the type double: got 'high'"),
        (
            "{type: GenDecayFilter, name: a, daughters: [a]}",
            "filters.0.daughters: should be a list of int32: got ['a']",
        ),
        ("{type: GenDecayFilter, name: top}", "filters.0.name: 'top' is the name of another filter"),
        ("{type: GenDecayFilter}", "cmssw.filters.0.name: this key is required"),
        ("{type: 'mine.cc:TripletFilter', name: a}", "filters.0.src: TripletFilter needs this parameter (InputTag)"),
        ("{type: 'mine.cc:TripltFilter', name: a}", "did you mean 'TripletFilter'"),
        ("{type: 'none.cc:A', name: a}", "none.cc: No such file or directory"),
        (f"{OURS}, {OURS}", "cmssw: filters: two filters are called 'muons'"),
    ],
)
def test_what_is_wrong_with_one_is_named(cmsrun: Any, tmp_path: Path, filters: str, message: str) -> None:
    (tmp_path / "mine.cc").write_text(PLUGIN)
    answer = cmsrun(filters)
    assert answer.returncode == 2 and answer.stderr.count("error:") == 1 and message in answer.stderr, answer.stderr
