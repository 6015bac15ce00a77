"""Generator-level objects as NanoAOD has them: pruned particles with flags, jets, missing momentum, visible taus.

Rules and names are those of CMSSW: ``prunedGenParticles_cfi`` and NanoAOD's ``genparticles_cff`` for the particles,
``MCTruthHelper`` for their flags, ``JetFlavourClustering`` for the flavours of jets, ``taus_cff`` for the visible taus.
One simplification: where CMS follows all mothers (a hadron's are all partons of its string), only the first one is
followed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from ..flat import count, descending, flat, offsets_of, records
from .history import FLAGS, History, at

if TYPE_CHECKING:
    from .pythia import GenBlock

NEUTRINOS = (12, 14, 16)
INVISIBLE = (*NEUTRINOS, 18, 39, 1000012, 1000014, 1000016, 1000022, 1000039)
LEPTONS = (11, 13, 15)
BOSONS = (23, 24, 25, 37)
OUTGOING = (23, 24, 33, 34, 43, 44, 51, 52, 62, 63, *range(71, 80))  # of Pythia's status codes
NO_MASS = (1, 2, 3, 4, 5, 11, 12, 13, 14, 15, 16, 21, 111, 211, 421, 411)
GHOST = 1e-18
"""Factor on the momentum of a ghost (CMSSW's ``ghostRescaling``)."""
JETS = {"GenJet": (0.4, 10.0), "GenJetAK8": (0.8, 80.0)}
"""Radius and least pt (GeV)."""
LEAST_TAU_PT = 10.0

_MOMENTUM = {"pt": "pt", "eta": "eta", "phi": "phi", "mass": "mass"}
_FLAVOURS = {"partonFlavour": "flavour from parton matching", "hadronFlavour": "flavour from hadron ghost clustering"}
_TITLES: dict[str, tuple[str, dict[str, str]]] = {
    "GenPart": ("interesting gen particles", _MOMENTUM | {
        "mass": "Mass stored for all particles with the exception of quarks (except top), leptons/neutrinos, "
                "photons with mass < 1 GeV, gluons, pi0(111), pi+(211), D0(421), and D+(411). For these, "
                "look it up by the PDG id",
        "genPartIdxMother": "index of the mother particle (the first one, or its nearest ancestor in this list)",
        "pdgId": "PDG id",
        "status": "Particle status. 1=stable",
        "statusFlags": "gen status flags stored bitwise, bits are: "
                       + ", ".join(f"{k} : {name}" for k, name in enumerate(FLAGS))}),
    "GenJet": ("ak4 Jets made with visible genparticles", _MOMENTUM | _FLAVOURS),
    "GenJetAK8": ("ak8 Jets made with visible genparticles", _MOMENTUM | _FLAVOURS),
    "GenVisTau": ("gen hadronic taus", _MOMENTUM | {
        "charge": "charge", "genPartIdxMother": "index of the mother particle",
        "status": "Hadronic tau decay mode. 0=OneProng0PiZero, 1=OneProng1PiZero, 2=OneProng2PiZero, "
                  "10=ThreeProng0PiZero, 11=ThreeProng1PiZero, 15=Other"}),
}  # fmt: skip
DOCS: dict[str, str] = {
    **{f"n{name}": title for name, (title, _) in _TITLES.items()},
    **{f"{name}_{field}": title for name, (_, fields) in _TITLES.items() for field, title in fields.items()},
    "GenMET_pt": "pt of the sum of invisible particles", "GenMET_phi": "phi of the sum of invisible particles",
    **{f"GenVtx_{axis}": f"gen vertex {axis}, in cm" for axis in "xyz"},
}  # fmt: skip
"""Titles of the branches."""


def summarise(block: GenBlock) -> dict[str, Any]:
    """Make the generator-level objects of a block.

    Returns
    -------
    dict
        ``GenPart``, ``GenJet``, ``GenJetAK8``, ``GenVisTau`` (n * var * record), ``GenMET_pt/phi`` and ``GenVtx_x/y/z``
        (n,), and ``gen_index`` (n * var): the position of each ``GenPart`` in the event's list of all particles.
    """
    history = History.of(block.particles)
    columns = {name: flat(block.particles, name) for name in ("pdgId", "px", "py", "pz", "e", "m", "charge")}
    kept = np.flatnonzero(keep(history, columns))
    offsets = np.searchsorted(kept, history.offsets)
    event = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    index = np.full(len(history.kind), -1)
    index[kept] = np.arange(len(kept)) - offsets[event]
    final = history.status == 1
    invisible = np.isin(history.kind, INVISIBLE)
    out: dict[str, Any] = {"GenPart": records(offsets, _gen_part(history, columns, kept, index))}
    out["gen_index"] = ak.Array(
        ak.contents.ListOffsetArray(ak.index.Index64(offsets), ak.contents.NumpyArray(kept - history.offsets[event]))
    )
    partons, hadrons = ghosts(history, columns)
    for name, (radius, least) in JETS.items():
        out[name] = gen_jets(history.offsets, columns, final & ~invisible, partons, hadrons, radius, least)
    out["GenVisTau"] = visible_taus(history, columns, index)
    missing = _sum(history.offsets, columns, final & invisible)
    out["GenMET_pt"], out["GenMET_phi"] = np.hypot(*missing).astype("f4"), np.arctan2(*missing[::-1]).astype("f4")
    first = history.offsets[:-1] + np.minimum(1, np.diff(history.offsets) - 1)
    for axis in "xyz":
        out[f"GenVtx_{axis}"] = (flat(block.particles, f"v{axis}")[first] / 10).astype("f4")
    return out


# -- GenPart ----------------------------------------------------------------------------------------------------------


def keep(history: History, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Choose the particles of ``GenPart``: MiniAOD's pruning, then NanoAOD's, on the flat content."""
    kind, status = history.kind, history.status
    pt = np.hypot(columns["px"], columns["py"])
    lepton, neutrino, tau = np.isin(kind, LEPTONS), np.isin(kind, NEUTRINOS), kind == 15
    photon = (kind == 22) & (status == 1) & (pt > 10)
    heavy = ((kind > 400) & (kind < 600)) | ((kind > 4000) & (kind < 6000))
    hard = history.hard_copy >= 0
    summary = history.hard | (hard & ((status == 1) | history.decayed | (history.next < 0)))
    boson = np.isin(kind, BOSONS) | ((kind >= 1000001) & (kind <= 1000039)) | ((kind >= 2000001) & (kind <= 2000015))
    prompt_tau = tau & history.decayed & (history.decayed_mother < 0)
    # MiniAOD: leptons with all their history, but of this not what hadrons left; taus with all that comes from them
    pruned = _with_ancestors(history, lepton) & (status != 2)
    pruned |= neutrino | photon | tau | (history.ancestor(tau) >= 0) | heavy | boson | (kind == 6) | summary
    pruned |= (_above(history, photon) | np.isin(status, (71, 72)) & ((pt > 5) | (kind == 4) | (kind == 5))) & (
        status != 4
    )
    pruned |= (status > 20) & (status < 30)
    parent = history.ancestor(pruned)
    # NanoAOD: what is followed by "first parent" or "daughters" means the nearest that MiniAOD keeps
    chosen = tau | (history.ancestor(tau & ((pt > 15) | prompt_tau)) >= 0) | at(tau, parent, False)
    followed = photon | lepton
    chosen |= followed
    chosen[parent[followed & (parent >= 0)]] = True
    chosen &= (kind != 2212) | (np.abs(columns["pz"]) <= 1000)
    chosen |= (
        heavy
        | neutrino
        | ((status > 20) & (status < 30))
        | summary
        | ((status > 70) & (status < 80) & (pt > 15))
        | boson
    )
    return chosen & pruned & (kind != 90)


def _with_ancestors(history: History, chosen: np.ndarray) -> np.ndarray:
    """Mark the chosen particles and all their ancestors."""
    out = chosen.copy()
    front = np.flatnonzero(chosen)
    while len(front):
        front = np.unique(history.mother[front])
        front = front[(front >= 0) & ~out[front]]
        out[front] = True
    return out


def _above(history: History, chosen: np.ndarray) -> np.ndarray:
    """Mark the mothers of the chosen particles."""
    out = np.zeros(len(chosen), bool)
    mothers = history.mother[chosen]
    out[mothers[mothers >= 0]] = True
    return out


def _gen_part(
    history: History, columns: dict[str, np.ndarray], kept: np.ndarray, index: np.ndarray
) -> dict[str, np.ndarray]:
    pdg_id, mass = columns["pdgId"][kept], np.maximum(columns["m"][kept], 0)
    chosen = index >= 0
    mother = at(index, history.ancestor(chosen)[kept], -1)
    light = np.isin(history.kind[kept], NO_MASS) | ((pdg_id == 22) & (mass < 1))
    px, py, pz = (columns[name][kept] for name in ("px", "py", "pz"))
    return _kinematics(px, py, pz, np.where(light, 0, mass)) | {
        "genPartIdxMother": mother.astype("i2"),
        "pdgId": pdg_id.astype("i4"),
        "status": history.status[kept].astype("i4"),
        "statusFlags": history.flags(kept),
    }


def _kinematics(px: np.ndarray, py: np.ndarray, pz: np.ndarray, mass: np.ndarray) -> dict[str, np.ndarray]:
    pt = np.hypot(px, py)
    values = {"pt": pt, "eta": np.arcsinh(pz / np.maximum(pt, 1e-12)), "phi": np.arctan2(py, px), "mass": mass}
    return {name: value.astype("f4") for name, value in values.items()}


# -- jets -------------------------------------------------------------------------------------------------------------


def ghosts(history: History, columns: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Choose what gives a jet its flavour: the last partons before the hadrons, and the b and c hadrons (masks).

    Light partons count from 5 GeV, as in MiniAOD.
    """
    kind = history.kind
    parton = (kind <= 5) | (kind == 21)
    last = np.flatnonzero(parton & ~_above(history, parton))
    last = last[np.isin(history.status[last], OUTGOING)]
    last = last[(np.hypot(columns["px"][last], columns["py"][last]) > 5) | np.isin(kind[last], (4, 5))]
    decayed = np.flatnonzero(history.decayed & (kind > 100))
    return _mask(last, len(kind)), _mask(decayed[np.isin(heaviest(kind[decayed]), (4, 5))], len(kind))


def _mask(index: np.ndarray, size: int) -> np.ndarray:
    out = np.zeros(size, bool)
    out[index] = True
    return out


def heaviest(kind: np.ndarray) -> np.ndarray:
    """Return the flavour of the heaviest quark of hadrons by their absolute PDG ids."""
    baryon, meson = kind // 1000 % 10, kind // 100 % 10
    return np.where(baryon > 0, baryon, meson)


def gen_jets(
    offsets: np.ndarray, columns: dict[str, np.ndarray], visible: np.ndarray, partons: np.ndarray, hadrons: np.ndarray,
    radius: float, least: float,
) -> ak.Array:  # fmt: skip
    """Cluster visible particles into anti-kt jets (JHEP 04 (2008) 063), with flavours by ghosts (JHEP 04 (2008) 005).

    ``visible``, ``partons`` and ``hadrons`` are masks of what is clustered and what only tells the flavour; the least
    pt is in GeV. Returns n * var * record, by falling pt.
    """
    import fastjet

    ghost = (partons | hadrons) & ~visible
    used = np.flatnonzero(visible | ghost)
    scale = np.where(ghost[used], GHOST, 1.0)
    inputs = {name: columns[name.lower()][used] * scale for name in ("px", "py", "pz", "E")}
    bounds = np.searchsorted(used, offsets)
    sequence = fastjet.ClusterSequence(
        records(bounds, inputs, "Momentum4D"), fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    )
    jets, members = sequence.inclusive_jets(min_pt=least), sequence.constituent_index(min_pt=least)
    number = np.asarray(ak.num(jets))
    px, py, pz, energy = (flat(jets, name) for name in ("px", "py", "pz", "E"))
    event = np.repeat(np.arange(len(number)), number)
    size = np.asarray(ak.num(ak.flatten(members)))
    jet = np.repeat(np.arange(len(size)), size)
    member = used[np.asarray(ak.flatten(members, axis=None)) + bounds[event[jet]]]
    mass = np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0))
    flavours = _flavours(columns, jet, member, partons, hadrons, len(size))
    order = descending(offsets_of(number), np.hypot(px, py))
    jet_columns = {name: values[order] for name, values in (_kinematics(px, py, pz, mass) | flavours).items()}
    return records(offsets_of(number), jet_columns)


def _flavours(
    columns: dict[str, np.ndarray],
    jet: np.ndarray,
    member: np.ndarray,
    partons: np.ndarray,
    hadrons: np.ndarray,
    size: int,
) -> dict[str, np.ndarray]:
    """Give jets their flavours: of the heaviest hadron; of a b, else a c, else the hardest parton."""
    hadron, parton = np.zeros(size, np.uint8), np.zeros(size, np.int16)
    is_hadron, is_parton = hadrons[member], partons[member]
    heavy = heaviest(np.abs(columns["pdgId"][member[is_hadron]]))
    np.maximum.at(hadron, jet[is_hadron], heavy.astype(np.uint8))
    jets, particle = jet[is_parton], member[is_parton]
    flavour, pt = columns["pdgId"][particle], np.hypot(columns["px"][particle], columns["py"][particle])
    heavy_parton = np.where(np.isin(np.abs(flavour), (4, 5)), np.abs(flavour), 0)
    for i in np.lexsort((pt, heavy_parton)):  # the last one that is written stays
        parton[jets[i]] = flavour[i]
    return {"partonFlavour": parton, "hadronFlavour": hadron}


# -- taus, missing momentum -------------------------------------------------------------------------------------------


def visible_taus(history: History, columns: dict[str, np.ndarray], index: np.ndarray) -> ak.Array:
    """Sum the visible products of taus that decay to hadrons; ``index`` is each particle's index in ``GenPart``."""
    decays = history.decayed & (history.kind == 15)
    products = np.flatnonzero((history.mother >= 0) & decays[history.mother])
    tau, which = np.unique(history.mother[products], return_inverse=True)
    kind = history.kind[products]
    seen = ~np.isin(kind, NEUTRINOS)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(which, weights=values, minlength=len(tau))

    px, py, pz, energy = (total(np.where(seen, columns[name][products], 0)) for name in ("px", "py", "pz", "e"))
    leptons = total(np.isin(kind, (11, 13)))
    charged, neutral = total(columns["charge"][products] != 0), total(kind == 111)
    mode = np.select([(charged == 1) & (neutral < 3), (charged == 3) & (neutral < 2)], [neutral, 10 + neutral], 15)
    mass = np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0))
    fields = _kinematics(px, py, pz, mass) | {
        "charge": np.sign(-columns["pdgId"][tau]).astype("i2"),
        "genPartIdxMother": index[tau].astype("i2"),
        "status": mode.astype("u1"),
    }
    good = np.flatnonzero((leptons == 0) & (fields["pt"] > LEAST_TAU_PT))
    event = np.searchsorted(history.offsets, tau[good], side="right") - 1
    return records(offsets_of(count(event, len(history.offsets) - 1)), {k: v[good] for k, v in fields.items()})


def _sum(offsets: np.ndarray, columns: dict[str, np.ndarray], chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum the transverse momenta of chosen particles in each event (GeV)."""
    index = np.flatnonzero(chosen)
    event = np.searchsorted(offsets, index, side="right") - 1
    x, y = (np.bincount(event, weights=columns[name][index], minlength=len(offsets) - 1) for name in ("px", "py"))
    return x, y
