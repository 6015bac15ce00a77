"""Flavour tags and secondary vertices."""

from __future__ import annotations

from typing import Callable

import awkward as ak
import numpy as np
import pytest
import uproot
from nanoforge.simulation.objects import secondary
from nanoforge.simulation.objects.tagging import WORKING_POINTS
from samples import TTBAR, local, matched_jets, sample


@pytest.mark.parametrize("name", ["DeepFlav", "PNet"])
def test_b_tagging_has_the_stated_working_points(name: str) -> None:
    j = matched_jets(sample(*TTBAR))
    use = (j["pt"] > 20) & (np.abs(j["eta"]) < 2.5)
    score, flavour = j[f"btag{name}B"][use], j["hadronFlavour"][use]
    light, charm, bottom = (score[flavour == f] for f in (0, 4, 5))
    _, medium, _ = WORKING_POINTS[name]
    assert (light > medium).mean() == pytest.approx(0.01, abs=0.006 + 4 * np.sqrt(0.01 / len(light)))
    assert (bottom > medium).mean() == pytest.approx(0.70, abs=0.06)
    assert (charm > medium).mean() == pytest.approx(0.13, abs=0.02 + 4 * np.sqrt(0.13 * 0.87 / len(charm)))
    rates = [[(group > cut).mean() for group in (light, charm, bottom)] for cut in WORKING_POINTS[name]]
    assert (np.diff(rates, axis=0) < 0).all()
    assert (np.diff(rates, axis=1) > 0).all()
    c_vs_l, c_vs_b = j[f"btag{name}CvL"][use], j[f"btag{name}CvB"][use]
    assert np.median(c_vs_l[flavour == 4]) > np.median(c_vs_l[flavour == 0])
    assert np.median(c_vs_b[flavour == 4]) > np.median(c_vs_b[flavour == 5])


@pytest.mark.parametrize("name", ["DeepFlav", "PNet"])
def test_b_tagging_is_near_that_of_cms(name: str, shared: Callable) -> None:
    """The rates of CMS's DeepJet in a real sample of top pairs, at equal rates of light jets; CMS's is the better."""
    events = uproot.open(shared("NanoAODv5_sample.root"))["Events"].arrays(filter_name="Jet_*")
    columns = ("pt", "eta", "genJetIdx", "hadronFlavour", "btagDeepFlavB")
    pt, eta, matched, *real = (ak.flatten(events[f"Jet_{column}"]).to_numpy() for column in columns)
    real_flavour, real_score = (values[(pt > 20) & (np.abs(eta) < 2.5) & (matched >= 0)] for values in real)
    j = matched_jets(sample(*TTBAR))
    use = (j["pt"] > 20) & (np.abs(j["eta"]) < 2.5)
    flavour, score = j["hadronFlavour"][use], j[f"btag{name}B"][use]
    for light in (0.10, 0.01):
        rates = []
        for f, s in ((real_flavour, real_score), (flavour, score)):
            cut = np.quantile(s[f == 0], 1 - light)
            rates.append([(s[f == kind] > cut).mean() for kind in (4, 5)])
        error = np.sqrt(0.25 / (flavour == 4).sum() + 0.25 / (real_flavour == 4).sum())
        assert rates[1][0] == pytest.approx(rates[0][0], abs=0.03 + 2 * error)
        assert rates[0][1] - 0.15 < rates[1][1] < rates[0][1] + 0.03


def test_secondary_vertices_are_where_heavy_hadrons_decay() -> None:
    s = sample(*TTBAR)
    sv, jet = s.objects["SV"], s.objects["Jet"]
    assert ak.all(sv.dlenSig > 3)
    assert ak.all(sv.ntracks >= 2)
    primary = np.stack([s.objects[f"PV_{k}"] for k in "xyz"])
    path = np.stack([local(sv[k]) for k in "xyz"]) - np.repeat(primary, np.asarray(ak.num(sv)), axis=1)
    np.testing.assert_allclose(np.sqrt((path**2).sum(axis=0)), local(sv.dlen), rtol=1e-3, atol=1e-4)
    assert np.median(local(sv.pAngle)) < 0.1
    with_vertex = jet.nSVs > 0
    tagged = {
        f: ak.mean(with_vertex[(jet.hadronFlavour == f) & (jet.pt > 30) & (abs(jet.eta) < 2.4)]) for f in (0, 4, 5)
    }
    assert tagged[5] > 0.55 > 0.45 > tagged[4] > tagged[0]
    assert tagged[0] < 0.12
    first = sv[jet.svIdx1[jet.svIdx1 >= 0]]
    assert ak.all(abs(first.eta - jet.eta[jet.svIdx1 >= 0]) < secondary.FINDER.max_radius)
