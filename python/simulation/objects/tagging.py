"""Flavour of jets: a likelihood of impact parameters, secondary vertices and soft leptons.

The scores follow CMS's names and ranges, not its networks: each is the posterior probability of a multinomial logistic
regression (a likelihood ratio that is log-linear in the features), with the background's logit stretched so that the
three working points of CMS's DeepJet and ParticleNet select about the same light jets as there. The weights are made
from top pair events of this simulation by test/bench/simulation_calibration.py. What the features are like: CMS,
arXiv:1712.07158. In top pairs, where 1 % of the light jets pass, 66 and 70 % of the b jets pass the two scores and 12
and 14 % of the c jets; CMS's DeepCSV has 68 % of b (there, abstract), its DeepJet 76 % of b and 11 % of c (a simulated
sample of NanoAODv5, jets above 20 GeV).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...compiled import jit
from ..detector.candidates import Candidates
from ..flat import delta_r2
from .calibration import TAG_CUTS, TAG_WEIGHTS
from .jets import Clusters
from .secondary import Secondary, significance

MIN_TRACK_PT = 0.8  # GeV
LEADING = 4  # the most significant tracks
MAX_SIGNIFICANCE = 50.0
SV_CONE = 0.4
TRACK_CUT = 3.0  # significance of a track that counts as displaced


@dataclass(frozen=True)
class JetInputs:
    """What the tagger sees of each jet.

    ``signed`` (jets, 4): significances of the tracks' impact parameters, the largest first, signed by the side of the
    jet's axis, -1 where there is no track; ``displaced`` number of tracks above 3; ``vertices`` number of secondary
    vertices and ``mass``, ``length`` (significance), ``tracks``, ``share`` (pt over the jet's) of the one that flew
    most significantly, 0 without; ``lepton`` momentum of the hardest lepton over the jet's; ``first`` and ``second``
    vertex, index in the event.
    """

    signed: np.ndarray
    displaced: np.ndarray
    vertices: np.ndarray
    mass: np.ndarray
    length: np.ndarray
    tracks: np.ndarray
    share: np.ndarray
    lepton: np.ndarray
    first: np.ndarray
    second: np.ndarray


@jit
def _leading(jet: np.ndarray, value: np.ndarray, jets: int, most: int) -> np.ndarray:
    """Return the largest values of each jet in falling order, (jets, most), -1 beyond them."""
    out = np.full((jets, most), -1.0)
    for i in range(len(jet)):
        row, v = out[jet[i]], value[i]
        for k in range(most):
            if v > row[k]:
                row[k], v = v, row[k]
    return out


@jit
def _vertices(
    offsets: np.ndarray, eta: np.ndarray, phi: np.ndarray, to: np.ndarray, sv_eta: np.ndarray, sv_phi: np.ndarray,
    length: np.ndarray, cone: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Count the vertices in each jet, and find the two that flew most significantly (index in the event or -1)."""
    number, best = np.zeros(len(eta), np.int64), np.full((len(eta), 2), -1, np.int64)
    for i in range(len(offsets) - 1):
        for a in range(offsets[i], offsets[i + 1]):
            for b in range(to[i], to[i + 1]):
                if delta_r2(eta[a], phi[a], sv_eta[b], sv_phi[b]) > cone**2:
                    continue
                number[a] += 1
                if best[a, 0] < 0 or length[b] > length[to[i] + best[a, 0]]:
                    best[a, 1], best[a, 0] = best[a, 0], b - to[i]
                elif best[a, 1] < 0 or length[b] > length[to[i] + best[a, 1]]:
                    best[a, 1] = b - to[i]
    return number, best


def inputs(clusters: Clusters, candidates: Candidates, secondary: Secondary) -> JetInputs:
    """Gather the tagger's inputs for jets."""
    size = len(clusters.px)
    eta, phi, pt = clusters.eta, clusters.phi, clusters.pt
    use = (candidates.charge[clusters.candidate] != 0) & (candidates.pt[clusters.candidate] > MIN_TRACK_PT)
    jet, at = clusters.jet[use], clusters.candidate[use]
    side = np.sign(candidates.dxy[at] * np.sin(phi[jet] - candidates.phi[at]))
    signed = np.minimum(significance(candidates, at), MAX_SIGNIFICANCE) * side
    sv = secondary.columns
    number, best = _vertices(
        clusters.offsets, eta, phi, secondary.offsets, sv["eta"], sv["phi"], sv["dlenSig"], SV_CONE
    )  # fmt: skip
    has, leading_sv = best[:, 0] >= 0, best[:, 0] + secondary.offsets[clusters.event]
    leading = {name: np.zeros(size) for name in ("mass", "dlenSig", "ntracks", "pt")}
    for name, column in leading.items():
        column[has] = sv[name][leading_sv[has]]
    pdg = np.abs(candidates.pdgId[clusters.candidate])
    lepton = (pdg == 11) | (pdg == 13)
    hardest = _leading(clusters.jet[lepton], candidates.pt[clusters.candidate[lepton]], size, 1)[:, 0]
    return JetInputs(
        signed=np.maximum(_leading(jet, signed, size, LEADING), -1.0),
        displaced=np.bincount(jet[signed > TRACK_CUT], minlength=size),
        vertices=number, mass=leading["mass"], length=leading["dlenSig"], tracks=leading["ntracks"],
        share=leading["pt"] / np.maximum(pt, 1e-9), lepton=np.maximum(hardest, 0) / np.maximum(pt, 1e-9),
        first=best[:, 0], second=best[:, 1],
    )  # fmt: skip


TRACKS_AND_VERTICES = np.arange(26)  # the features without those of leptons, which the DeepJet-like score does not use


def features(jets: JetInputs, pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Return the features, (jets, F): logarithms of significances, counts, vertex properties, their products."""
    signed = np.log1p(np.maximum(jets.signed + 1, 0))
    has = (jets.vertices > 0).astype(np.float64)
    length = np.log1p(jets.length)
    charm = has * (np.minimum(jets.mass, 6.0) - 1.0)
    log_pt = np.log(np.maximum(pt, 1.0) / 50.0)
    columns = [
        *signed.T, *(signed**2).T, np.sqrt(jets.displaced), jets.displaced / 5.0, has,
        np.minimum(jets.vertices, 3) / 3.0,
        charm, charm**2, length, length**2, np.minimum(jets.tracks, 8.0), np.minimum(jets.share, 1.5),
        np.minimum(jets.share, 1.5) * charm, length * charm,
        log_pt, log_pt**2, log_pt * signed[:, 2], log_pt * has, np.abs(eta), eta**2 * signed[:, 2],
        np.minimum(jets.lepton, 1.0), np.sqrt(np.minimum(jets.lepton, 1.0)),
    ]  # fmt: skip
    return np.stack(columns, axis=1)


# The working points of CMS that let 10, 1 and 0.1 % of the light jets pass: DeepJet's of 2018, ParticleNet's of 2022.
WORKING_POINTS = {"DeepFlav": (0.0490, 0.2783, 0.7100), "PNet": (0.047, 0.245, 0.6734)}
CHARM_WEIGHT = 10.0  # of c against light jets in the score for b, which sets how much charm passes


def b_logit(bottom: np.ndarray, charm: np.ndarray) -> np.ndarray:
    """Log-odds of b against c and light together, from those of b and of c against light."""
    return bottom - np.log1p(CHARM_WEIGHT * np.exp(np.minimum(charm, 50.0)))


def scores(jets: JetInputs, pt: np.ndarray, eta: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores in (0, 1): b against all, c against b and against light, of both likelihoods."""
    x = features(jets, pt, eta)
    out: dict[str, np.ndarray] = {}
    for name, table in TAG_WEIGHTS.items():
        weights = np.asarray(table)
        bottom, charm = weights[:, 1:] @ x.T + weights[:, :1]
        cuts, points = np.asarray(TAG_CUTS[name]), np.asarray(WORKING_POINTS[name])
        stretched = _stretch(b_logit(bottom, charm), cuts, np.log(points / (1 - points)))
        out[f"btag{name}B"] = _sigmoid(stretched)
        out[f"btag{name}CvB"] = _sigmoid(charm - bottom)
        out[f"btag{name}CvL"] = _sigmoid(charm)
    return out


def _stretch(value: np.ndarray, nodes: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Return A line through each pair of neighbouring nodes, and on beyond the outermost."""
    slopes = np.diff(to) / np.diff(nodes)
    below = to[0] + (value - nodes[0]) * slopes[0]
    above = to[-1] + (value - nodes[-1]) * slopes[-1]
    return np.where(value < nodes[0], below, np.where(value > nodes[-1], above, np.interp(value, nodes, to)))


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(value, -50, 50)))
