"""Jets, tags, leptons, taus, vertices and missing momentum: closure, and their cross references."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from nanoforge.simulation import genparticles, jets, objects, secondary, substructure
from nanoforge.simulation.branches import COLLECTIONS, DOCS, SCALARS
from nanoforge.simulation.detector import simulate
from nanoforge.simulation.objects import reconstruct
from samples import Sample, block_of, generate, sample

TTBAR, QCD, TAUS = ("ttbar", 1000), ("qcd", 2000), ("tau", 500)


def local(values: ak.Array) -> np.ndarray:
    return np.asarray(ak.flatten(values, axis=None))


def matched_jets(s: Sample) -> dict[str, np.ndarray]:
    """Jets with a generated jet: their columns, and ``gen`` its pt."""
    jet = s.objects["Jet"]
    jet = (
        ak.with_field(jet, s.gen["GenJet"].pt[ak.where(jet.genJetIdx >= 0, jet.genJetIdx, 0)], "gen") if False else jet
    )
    has = jet.genJetIdx >= 0
    gen = s.gen["GenJet"][jet.genJetIdx[has]]
    chosen = jet[has]
    columns = {name: local(chosen[name]) for name in ("pt", "eta", "phi", "hadronFlavour")}
    d_phi = (local(chosen.phi) - local(gen.phi) + np.pi) % (2 * np.pi) - np.pi
    columns["distance"] = np.hypot(local(chosen.eta) - local(gen.eta), d_phi)
    columns |= {name: local(chosen[name]) for name in chosen.fields if name.startswith("btag")}
    return columns | {"gen": local(gen.pt)}


# -- the tables -------------------------------------------------------------------------------------------------------


def test_tables_have_the_branches_and_types_of_nanoaod() -> None:
    s = sample(*TTBAR)
    assert set(s.objects) == set(COLLECTIONS) | set(SCALARS)
    for name, columns in COLLECTIONS.items():
        table = s.objects[name]
        assert len(table) == TTBAR[1]
        assert table.fields == list(columns)
        for field, (kind, _) in columns.items():
            values = local(table[field])
            assert values.dtype == np.dtype(kind), (name, field)
            assert np.isfinite(values).all(), (name, field)
            assert f"{name}_{field}" in DOCS
    for name, (kind, _) in SCALARS.items():
        assert s.objects[name].dtype == np.dtype(kind)
        assert s.objects[name].shape == (TTBAR[1],)
        assert np.isfinite(s.objects[name]).all()
    assert all(DOCS.values())
    assert objects.DOCS is DOCS


def test_collections_are_sorted_by_pt() -> None:
    s = sample(*TTBAR)
    for name in ("Jet", "FatJet", "Muon", "Electron", "Photon", "Tau", "SV", "PFCands"):
        assert ak.all(s.objects[name].pt[:, :-1] >= s.objects[name].pt[:, 1:]), name


# -- jets -------------------------------------------------------------------------------------------------------------


def resolution(pt: np.ndarray) -> np.ndarray:
    """Of central jets: 18 % at 30 GeV, 11 % at 100, 6 % at 500, as CMS, JINST 12 (2017) P02014, section 8 (PF, AK4)."""
    return np.hypot(1.0 / np.sqrt(pt), 0.04)


@pytest.mark.parametrize(("name", "most"), [(QCD, 800), (TTBAR, 250)])
def test_jet_response_is_one_and_its_resolution_the_stated_one(name: tuple, most: float) -> None:
    j = matched_jets(sample(*name))
    central = (np.abs(j["eta"]) < 1.3) & (j["distance"] < 0.2)
    edges = [30, 50, 80, 120, 200, 400, 800]
    tested = 0
    for low, high in zip(edges[:-1], edges[1:]):
        chosen = central & (j["gen"] > low) & (j["gen"] < high)
        ratio = j["pt"][chosen] / j["gen"][chosen]
        if high > most or chosen.sum() < 100:
            continue
        error = ratio.std() / np.sqrt(len(ratio))
        assert ratio.mean() == pytest.approx(1, abs=0.03 + 2 * error), (low, high)
        expected = resolution(j["gen"][chosen]).mean()
        assert ratio.std() / ratio.mean() == pytest.approx(expected, rel=0.25 + 2 / np.sqrt(2 * len(ratio))), (
            low,
            high,
        )
        tested += 1
    assert tested >= 3


def test_forward_jets_have_a_mean_response_of_one() -> None:
    j = matched_jets(sample(*QCD))
    for low, high in ((1.3, 2.5), (2.5, 5.0)):
        chosen = (np.abs(j["eta"]) > low) & (np.abs(j["eta"]) < high) & (j["gen"] > 40) & (j["distance"] < 0.2)
        ratio = j["pt"][chosen] / j["gen"][chosen]
        assert ratio.mean() == pytest.approx(1, abs=0.03 + 2 * ratio.std() / np.sqrt(len(ratio)))


def test_correction_is_continuous_and_inverts_the_table() -> None:
    pt = np.array([5.0, 10.0, 40.0, 160.0, 5000.0])
    factor = jets.correction(pt, np.zeros(5))
    row = jets.RESPONSE[0]
    np.testing.assert_allclose(factor, [1 / row[0], 1 / row[0], 1 / row[2], 1 / row[4], 1 / row[-1]], rtol=1e-6)
    fine = jets.correction(np.geomspace(5, 3000, 5000), np.zeros(5000))
    assert np.abs(np.diff(fine)).max() < 1e-3


def test_jets_are_the_sum_of_their_candidates() -> None:
    s = sample(*TTBAR)
    jet, links, candidates = s.objects["Jet"], s.objects["JetPFCands"], s.objects["PFCands"]
    members = candidates[links.pFCandsIdx]
    for component in (np.cos, np.sin):
        part = members.pt * component(members.phi)
        whole = jet.pt * (1 - jet.rawFactor) * component(jet.phi)
        for event in range(0, 100, 7):
            summed = np.bincount(links.jetIdx[event], weights=part[event], minlength=len(whole[event]))
            np.testing.assert_allclose(summed, whole[event], atol=0.02)
    assert ak.all(ak.num(links.jetIdx) == ak.sum(ak.values_astype(jet.nConstituents, int), axis=1))
    fractions = sum(jet[name] for name in ("chHEF", "neHEF", "chEmEF", "neEmEF", "muEF", "hfHEF", "hfEmEF"))
    assert ak.mean(abs(fractions - 1) < 0.03) > 0.99  # energies of candidates against that of their sum
    assert ak.all(jet.chMultiplicity + jet.neMultiplicity == jet.nConstituents)


def test_composition_is_that_of_cms() -> None:
    """CMS, JINST 12 (2017) P10003, figure 6: about 60 % charged, 25 % photons, 10 to 15 % neutral hadrons."""
    jet = sample(*QCD).objects["Jet"]
    jet = jet[(jet.pt > 50) & (abs(jet.eta) < 1.3)]
    assert ak.mean(jet.chHEF) == pytest.approx(0.57, abs=0.08)
    assert ak.mean(jet.neEmEF) == pytest.approx(0.26, abs=0.05)
    assert ak.mean(jet.neHEF) == pytest.approx(0.14, abs=0.06)
    assert ak.mean((jet.jetId & 2) > 0) > 0.97


def test_the_spared_clustering_finds_the_same_large_jets(monkeypatch: pytest.MonkeyPatch) -> None:
    c = sample(*TTBAR).candidates
    p = jets.momenta(c)
    quick = jets.cluster(c, p, 0.8, 170.0)
    monkeypatch.setattr(jets, "_may_hold", lambda offsets, *_: np.ones(len(offsets) - 1, bool))
    full = jets.cluster(c, p, 0.8, 170.0)
    np.testing.assert_array_equal(quick.offsets, full.offsets)
    np.testing.assert_array_equal(quick.px, full.px)


def test_soft_drop_agrees_with_fastjet() -> None:
    import fastjet

    s = sample(*TTBAR)
    p = jets.momenta(s.candidates)
    found = jets.cluster(s.candidates, p, 0.8, 170.0)
    bounds = np.searchsorted(found.jet, np.arange(len(found.px) + 1))
    columns = {name: value[found.candidate] for name, value in p.items()}
    inputs = ak.unflatten(ak.zip(columns, with_name="Momentum4D"), np.diff(bounds))
    sequence = fastjet.ClusterSequence(inputs, fastjet.JetDefinition(fastjet.cambridge_algorithm, 1.5))
    expected = np.asarray(sequence.exclusive_jets_softdrop_grooming(1, 0.0, substructure.Z_CUT, R0=0.8).msoftdrop)
    whole = substructure.soft_drop(found, p).sum(axis=1)
    mass = np.sqrt(np.maximum(whole[:, 3] ** 2 - (whole[:, :3] ** 2).sum(axis=1), 0))
    two = whole[:, 3] > 0
    assert two.mean() > 0.9
    assert np.isclose(mass[two], expected[two], atol=0.01).mean() > 0.99


def test_substructure_finds_hadronic_tops_and_w() -> None:
    s = sample(*TTBAR)
    fat = s.objects["FatJet"]
    fat = fat[(abs(fat.eta) < 2) & (fat.pt > 200)]
    mass = local(fat.msoftdrop)
    assert ((mass > 65) & (mass < 95)).sum() > 1.5 * ((mass > 100) & (mass < 130)).sum()
    assert ak.all(fat.tau1 >= fat.tau2)
    assert ak.all(fat.tau2 >= fat.tau3 - 1e-6)
    quark = sample(*QCD).objects["FatJet"]
    in_peak = (fat.msoftdrop > 65) & (fat.msoftdrop < 95)
    assert ak.mean((fat.tau2 / fat.tau1)[in_peak]) < ak.mean(quark.tau2 / np.maximum(quark.tau1, 1e-6)) - 0.03


# -- flavour ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["DeepFlav", "PNet"])
def test_b_tagging_has_the_stated_working_points(name: str) -> None:
    from nanoforge.simulation.tagging import WORKING_POINTS

    j = matched_jets(sample(*TTBAR))
    use = (j["pt"] > 20) & (np.abs(j["eta"]) < 2.5)
    score, flavour = j[f"btag{name}B"][use], j["hadronFlavour"][use]
    light, charm, bottom = (score[flavour == f] for f in (0, 4, 5))
    _, medium, _ = WORKING_POINTS[name]
    assert (light > medium).mean() == pytest.approx(0.01, abs=0.006 + 4 * np.sqrt(0.01 / len(light)))
    assert (bottom > medium).mean() == pytest.approx(0.70, abs=0.06)
    assert 0.08 < (charm > medium).mean() < 0.22
    rates = [[(group > cut).mean() for group in (light, charm, bottom)] for cut in WORKING_POINTS[name]]
    assert (np.diff(rates, axis=0) < 0).all()
    assert (np.diff(rates, axis=1) > 0).all()
    c_vs_l, c_vs_b = j[f"btag{name}CvL"][use], j[f"btag{name}CvB"][use]
    assert np.median(c_vs_l[flavour == 4]) > np.median(c_vs_l[flavour == 0])
    assert np.median(c_vs_b[flavour == 4]) > np.median(c_vs_b[flavour == 5])


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


# -- leptons, photons, taus -------------------------------------------------------------------------------------------


def found_share(s: Sample, name: str, pdg: int, least: float, points: str | None = None) -> tuple[float, int]:
    """The share of prompt generated leptons that an object points to."""
    parts, table = s.gen["GenPart"], s.objects[name]
    prompt = (abs(parts.pdgId) == pdg) & (parts.status == 1) & ((parts.statusFlags & 1) > 0)
    prompt = prompt & (parts.pt > least) & (abs(parts.eta) < 2.4)
    chosen = table.genPartIdx[(table.genPartIdx >= 0) & (True if points is None else table[points])]
    index = ak.local_index(parts.pt)
    seen = ak.any(index[:, :, None] == chosen[:, None, :], axis=-1)
    return float(ak.sum(seen & prompt) / ak.sum(prompt)), int(ak.sum(prompt))


@pytest.mark.parametrize(
    ("name", "pdg", "points", "expected"),
    [
        ("Muon", 13, None, 0.98), ("Muon", 13, "tightId", 0.95), ("Electron", 11, None, 0.87),
        ("Electron", 11, "mvaNoIso_WP90", 0.78),
    ],
)  # fmt: skip
def test_prompt_leptons_are_found_with_the_cited_efficiency(
    name: str, pdg: int, points: str | None, expected: float
) -> None:
    share, number = found_share(sample(*TTBAR), name, pdg, 20.0, points)
    assert share == pytest.approx(expected, abs=0.02 + 4 * np.sqrt(expected * (1 - expected) / number))


def test_prompt_leptons_are_isolated_and_those_of_b_are_not() -> None:
    s = sample(*TTBAR)
    for name, isolation in (("Muon", "pfRelIso04_all"), ("Electron", "pfRelIso03_all")):
        table = s.objects[name][s.objects[name].pt > 10]
        prompt, bottom = (table[isolation][table.genPartFlav == f] for f in (1, 5))
        assert ak.mean(prompt < 0.15) > 0.85
        assert ak.mean(bottom < 0.15) < 0.35
        sip = table.sip3d
        assert np.median(local(sip[table.genPartFlav == 5])) > 2 * np.median(local(sip[table.genPartFlav == 1]))
    flavours = set(np.unique(local(s.objects["Muon"].genPartFlav)))
    assert {0, 1, 4, 5, 15} <= flavours <= {0, 1, 3, 4, 5, 15}


def test_muon_and_electron_momenta_are_right() -> None:
    s = sample(*TTBAR)
    for name in ("Muon", "Electron"):
        table = s.objects[name][s.objects[name].genPartFlav == 1]
        gen = s.gen["GenPart"][table.genPartIdx]
        ratio = local(table.pt) / local(gen.pt)
        assert np.median(ratio) == pytest.approx(1, abs=0.005)
        assert np.diff(np.quantile(ratio, [0.16, 0.84]))[0] / 2 < 0.03
        assert (local(table.charge) * local(gen.pdgId) < 0).mean() > 0.98
        assert (local(table.pdgId) == local(gen.pdgId)).mean() > 0.98


def test_taus_are_found_in_their_decay_mode_and_jets_fake_few() -> None:
    s = sample(*TAUS)
    visible, tau = s.gen["GenVisTau"], s.objects["Tau"]
    good = (visible.pt > 30) & (abs(visible.eta) < 2.3)
    loose = tau[(tau.idDeepTau2018v2p5VSjet >= 5) & (tau.genPartFlav == 5)]
    index = ak.local_index(visible.pt)
    efficiency = {}
    for label, table in (("all", tau[tau.genPartFlav == 5]), ("medium", loose)):
        seen = ak.any(index[:, :, None] == table.genPartIdx[:, None, :], axis=-1)
        efficiency[label] = ak.sum(seen & good) / ak.sum(good)
    assert 0.6 < efficiency["all"] < 0.95  # CMS, JINST 13 (2018) P10005, section 4: 60 to 80 %
    assert 0.4 < efficiency["medium"] < 0.8
    matched = tau[tau.genPartFlav == 5]
    true = visible[matched.genPartIdx]
    prongs = local(matched.decayMode) // 10
    assert (prongs == local(true.status) // 10).mean() > 0.9
    ratio = local(matched.pt) / local(true.pt)
    assert np.median(ratio) == pytest.approx(1, abs=0.06)
    fakes = sample(*QCD).objects
    jet = fakes["Jet"][(fakes["Jet"].pt > 30) & (abs(fakes["Jet"].eta) < 2.3)]
    medium = fakes["Tau"][(fakes["Tau"].idDeepTau2018v2p5VSjet >= 5) & (fakes["Tau"].pt > 25)]
    assert ak.sum(ak.num(medium)) / ak.sum(ak.num(jet)) < 0.02
    assert set(np.unique(local(tau.decayMode))) <= {0, 1, 2, 10, 11}


def test_photons_include_the_showers_of_electrons() -> None:
    s = sample(*TTBAR)
    photon, electron = s.objects["Photon"], s.objects["Electron"]
    of_electron = photon[photon.electronIdx >= 0]
    back = electron.photonIdx[of_electron.electronIdx]
    assert ak.all(photon.electronIdx[back] == of_electron.electronIdx)
    assert ak.mean(of_electron.electronVeto) < 0.1
    assert ak.all(photon.electronVeto[photon.electronIdx < 0])
    assert ak.all((electron.photonIdx >= 0) == (electron.pt > 10))


# -- missing momentum, vertices, references ---------------------------------------------------------------------------


def test_missing_momentum_resolution_grows_as_the_root_of_the_sum() -> None:
    s = sample(*QCD)
    total = s.objects["PuppiMET_sumEt"]
    x = s.objects["PuppiMET_pt"] * np.cos(s.objects["PuppiMET_phi"]) - s.gen["GenMET_pt"] * np.cos(s.gen["GenMET_phi"])
    edges = np.quantile(total, [0.1, 0.3, 0.5, 0.7, 0.9])
    widths, means = [], []
    for low, high in zip(edges[:-1], edges[1:]):
        chosen = (total > low) & (total < high)
        one, two = np.quantile(x[chosen], [0.1585, 0.8415])
        widths.append((two - one) / 2), means.append(np.sqrt(total[chosen].mean()))
    slope = np.asarray(widths) / np.asarray(means)
    assert slope.max() / slope.min() < 1.35
    assert 0.4 < slope.mean() < 1.1  # CMS, JINST 14 (2019) P07004, figure 9: 0.5 to 0.8 sqrt(GeV)
    assert np.abs(np.mean(x)) < 4 * x.std() / np.sqrt(len(x))


def test_missing_momentum_is_that_of_neutrinos() -> None:
    s = sample(*TTBAR)
    high = s.gen["GenMET_pt"] > 80
    ratio = s.objects["MET_pt"][high] / s.gen["GenMET_pt"][high]
    turn = (s.objects["MET_phi"] - s.gen["GenMET_phi"] + np.pi)[high] % (2 * np.pi) - np.pi
    assert np.median(ratio) == pytest.approx(1, abs=0.05)
    assert np.abs(np.median(turn)) < 0.1
    assert np.abs(np.exp(1j * s.objects["MET_phi"]).mean()) < 4 / np.sqrt(TTBAR[1])


@pytest.mark.parametrize(
    ("name", "column", "target"),
    [
        ("Jet", "genJetIdx", "GenJet"), ("Jet", "muonIdx1", "Muon"), ("Jet", "muonIdx2", "Muon"),
        ("Jet", "electronIdx1", "Electron"), ("Jet", "electronIdx2", "Electron"), ("Jet", "svIdx1", "SV"),
        ("Jet", "svIdx2", "SV"), ("Muon", "jetIdx", "Jet"), ("Electron", "jetIdx", "Jet"), ("Photon", "jetIdx", "Jet"),
        ("Tau", "jetIdx", "Jet"), ("Electron", "photonIdx", "Photon"), ("Photon", "electronIdx", "Electron"),
        ("FatJet", "genJetAK8Idx", "GenJetAK8"), ("FatJet", "subJetIdx1", "SubJet"), ("FatJet", "subJetIdx2", "SubJet"),
        ("Muon", "genPartIdx", "GenPart"), ("Electron", "genPartIdx", "GenPart"), ("Photon", "genPartIdx", "GenPart"),
        ("JetPFCands", "jetIdx", "Jet"), ("JetPFCands", "pFCandsIdx", "PFCands"),
    ],
)  # fmt: skip
def test_cross_references_are_in_range(name: str, column: str, target: str) -> None:
    s = sample(*TTBAR)
    index = s.objects[name][column]
    size = ak.num((s.objects | s.gen)[target], axis=1)
    assert ak.all(index >= -1)
    assert ak.all(index < size)
    assert ak.any(index >= 0)


def test_cross_references_agree_with_one_another() -> None:
    s = sample(*TTBAR)
    jet = s.objects["Jet"]
    for name in ("Muon", "Electron"):
        table, key = s.objects[name], name.lower()
        inside = ak.local_index(jet.pt)[:, :, None] == table.jetIdx[:, None, :]
        assert ak.all(ak.sum(inside, axis=-1) == jet[f"n{name}s"])
        first = jet[f"{key}Idx1"]
        has = first >= 0
        assert ak.all(table.jetIdx[first[has]] == ak.local_index(jet.pt)[has])
        held = table[table.jetIdx >= 0]
        near = jet[held.jetIdx]
        assert ak.all(abs(held.eta - near.eta) < 0.8)
        # the jet holds the lepton's own candidate
        links, candidates = s.objects["JetPFCands"], s.objects["PFCands"]
        members = candidates[links.pFCandsIdx]
        for event in range(0, 200, 5):
            for lepton in held[event]:
                own = members[event][links.jetIdx[event] == lepton.jetIdx]
                assert ak.any((own.pt == lepton.pt) & (own.phi == lepton.phi))
    subjets = s.objects["SubJet"]
    assert ak.all(2 * ak.sum(s.objects["FatJet"].subJetIdx1 >= 0, axis=1) == ak.num(subjets))
    for index in ("subJetIdx1", "subJetIdx2"):
        fat = s.objects["FatJet"][s.objects["FatJet"][index] >= 0]
        part = subjets[fat[index]]
        assert ak.all(abs(part.eta - fat.eta) < 1.2)


def test_each_generated_jet_is_matched_once() -> None:
    jet = sample(*TTBAR).objects["Jet"]
    index = jet.genJetIdx[jet.genJetIdx >= 0]
    assert ak.all(ak.num(index) == ak.num(ak.run_lengths(ak.sort(index))))


# -- events without, pileup, reproducibility --------------------------------------------------------------------------


def test_events_without_any_particle() -> None:
    particles = sample(*TTBAR).block.particles
    hidden = particles[:3]
    hidden = ak.with_field(hidden, ak.where(hidden.status > 0, -1, hidden.status), "status")
    for block in (block_of(hidden), block_of(ak.concatenate([particles[:2], hidden]))):
        gen = genparticles.summarise(block)
        out = reconstruct(block, gen, simulate(block, np.random.default_rng(1)), np.random.default_rng(2))
        assert all(len(values) == len(block.weight) for values in out.values())
        assert ak.all(ak.num(out["Jet"])[-3:] == 0)
        assert (out["MET_pt"][-3:] == 0).all()
        assert set(out) == set(COLLECTIONS) | set(SCALARS)


def test_the_random_numbers_determine_everything() -> None:
    s = sample("ttbar", 100)
    for _ in range(2):
        candidates = simulate(s.block, np.random.default_rng(5))
        outs = [reconstruct(s.block, s.gen, candidates, np.random.default_rng(6)) for _ in range(2)]
    for name in outs[0]:
        assert ak.to_list(outs[0][name]) == ak.to_list(outs[1][name])


def test_pileup_reaches_the_missing_momentum_and_not_the_jets() -> None:
    block, rng = generate("pileup", 60, mpi=False)
    gen = genparticles.summarise(block)
    out = reconstruct(block, gen, simulate(block, rng), rng)
    assert out["MET_sumEt"].mean() > 2 * out["PuppiMET_sumEt"].mean()
    assert out["fixedGridRhoFastjetAll"].mean() > 4
    assert ak.mean(ak.num(out["OtherPV"])) > 5
    np.testing.assert_array_equal(out["PV_npvs"], np.asarray(ak.num(out["OtherPV"])) + 1)
    hard = out["Jet"][(out["Jet"].pt > 30) & (abs(out["Jet"].eta) < 2.4)]
    assert ak.mean(hard.genJetIdx >= 0) > 0.8
