"""Derive the calibrations of the embedded detector from its own events.

Writes ``python/simulation/objects/calibration.py``.

Run it after any change of the detector's response: ``python test/bench/simulation_calibration.py``, then format the
result with ruff. It takes about ten minutes. Jet energy: multijets, flat in pt-hat. Flavour: top pairs. Taus:
Z' -> tau tau and multijets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from nanoforge.config.generator import Generator
from nanoforge.simulation.detector import candidates as detector
from nanoforge.simulation.flat import counts, flat, offsets_of
from nanoforge.simulation.generator import genparticles
from nanoforge.simulation.generator.event_blocks import generate_block
from nanoforge.simulation.objects import jets, secondary, tagging, taus
from nanoforge.simulation.objects.isolation import Surroundings
from nanoforge.simulation.objects.matching import GenTruth
from sklearn.linear_model import LogisticRegression

TARGET = Path(__file__).parents[2] / "python" / "simulation" / "calibration.py"
BLOCK = 250
BIASED = ["PhaseSpace:bias2Selection = on", "PhaseSpace:bias2SelectionPow = 4.5"]
ENERGY = {"process": "qcd", "pthat": [8.0, 3000.0], "settings": BIASED}
FLAVOUR = {"process": "ttbar"}
FAKES = {"process": "qcd", "pthat": [15.0, 300.0], "settings": BIASED}
TAUS = {"process": "zprime_tautau", "settings": ["32:m0 = 250", "PhaseSpace:mHatMin = 150"]}
LIGHT_SHARES = (0.10, 0.01, 0.001)
TAU_POINTS = (0.98, 0.95, 0.90, 0.80, 0.70, 0.60, 0.50, 0.40)


def events(
    settings: dict[str, Any], blocks: int
) -> Iterator[tuple[dict[str, Any], detector.Candidates, np.random.Generator]]:
    generator = Generator.model_validate(settings)
    for number in range(blocks):
        block, rng = generate_block(generator, "calibration", number, BLOCK)
        yield genparticles.summarise(block), detector.simulate(block, rng), rng


def gen_pt(found: jets.Clusters, gen_jets: Any, cone: float) -> np.ndarray:
    """The pt of each jet's generated jet, NaN without."""
    index, _, _ = jets.truth(found, gen_jets, cone)
    if not len(index):
        return np.zeros(0)
    place = (index + offsets_of(counts(gen_jets))[found.event]).clip(0)
    return np.where(index >= 0, flat(gen_jets, "pt")[place], np.nan)


def energy(blocks: int) -> list[list[float]]:
    raw, eta, true = [], [], []
    for gen, candidates, _ in events(ENERGY, blocks):
        found = jets.cluster(candidates, jets.momenta(candidates), 0.4, 5.0)
        raw.append(found.pt), eta.append(np.abs(found.eta)), true.append(gen_pt(found, gen["GenJet"], 0.2))
    raw, eta, true = (np.concatenate(values) for values in (raw, eta, true))
    nodes = np.asarray(jets.RESPONSE_PT)
    edges = np.concatenate([[10.0], np.sqrt(nodes[1:-1] * nodes[2:]), [4000.0]])
    rows = []
    for low, high in zip((0.0, *jets.RESPONSE_EDGES), (*jets.RESPONSE_EDGES, 5.0)):
        place, response = [], []
        for first, last in zip(edges[:-1], edges[1:]):
            chosen = (eta >= low) & (eta < high) & (true >= first) & (true < last)
            ratio = raw[chosen] / true[chosen]
            if chosen.sum() > 100:
                ratio = np.clip(ratio, 0, 3)
                place.append(np.log(raw[chosen].mean())), response.append(ratio.mean())
                print(f"|eta| {low}-{high} pt {first:.0f}: {chosen.sum()} {ratio.mean():.3f} +- {ratio.std():.3f}")
        rows.append([round(float(v), 4) for v in np.interp(np.log(nodes), place, response)])
    return rows


def flavour(blocks: int) -> dict[str, Any]:
    x, y = [], []
    for gen, candidates, rng in events(FLAVOUR, blocks):
        found = jets.cluster(candidates, jets.momenta(candidates), 0.4, 20.0)
        seen = tagging.inputs(found, candidates, secondary.find(candidates, rng))
        index, hadron, _ = jets.truth(found, gen["GenJet"], 0.4)
        pt = found.pt * jets.correction(found.pt, found.eta)
        chosen = (index >= 0) & (np.abs(found.eta) < 2.5)
        x.append(tagging.features(seen, pt, found.eta)[chosen]), y.append(hadron[chosen])
    x, y = np.concatenate(x), np.concatenate(y)
    out: dict[str, Any] = {}
    for name, keep in (("DeepFlav", tagging.TRACKS_AND_VERTICES), ("PNet", np.arange(x.shape[1]))):
        weights = np.zeros((2, x.shape[1] + 1))
        centre, scale = x[:, keep].mean(axis=0), x[:, keep].std(axis=0) + 1e-9
        fit = LogisticRegression(max_iter=5000, C=0.3).fit((x[:, keep] - centre) / scale, y)  # 0, 4, 5
        slope = (fit.coef_ / scale)[1:] - (fit.coef_ / scale)[:1]
        offset = (fit.intercept_ - (fit.coef_ / scale) @ centre)[1:] - (fit.intercept_ - (fit.coef_ / scale) @ centre)[
            0
        ]
        for row, code in enumerate((1, 0)):  # b, then c
            weights[row, 0], weights[row, 1 + keep] = offset[code], slope[code]
        bottom, charm = weights[:, 1:] @ x.T + weights[:, :1]
        logit = tagging.b_logit(bottom, charm)
        cuts = np.quantile(logit[y == 0], 1 - np.asarray(LIGHT_SHARES))
        for share, cut in zip(LIGHT_SHARES, cuts):
            print(name, f"light {share}: b {(logit[y == 5] > cut).mean():.3f} c {(logit[y == 4] > cut).mean():.3f}")
        out[name] = (weights.round(4).tolist(), cuts.round(4).tolist())
    return out


def tau(blocks: int) -> tuple[list[float], list[float]]:
    x, y = [], []
    taus.BUILDER = replace(taus.BUILDER, loosest=-1.0)  # type: ignore[misc]
    for settings in (TAUS, FAKES):
        for gen, candidates, rng in events(settings, blocks):
            found = jets.cluster(candidates, jets.momenta(candidates), 0.4, 15.0)
            visible = gen["GenVisTau"]
            near = (offsets_of(counts(visible)), flat(visible, "eta"), flat(visible, "phi"))
            made = taus.build(
                found, Surroundings.of(candidates), jets.momenta(candidates), GenTruth.of(gen), near, rng
            ).columns
            lepton = np.isin(made["genPartFlav"], (1, 2, 3, 4))
            x.append(taus.jet_features(made)[~lepton]), y.append((made["genPartFlav"] == 5)[~lepton])
    x, y = np.concatenate(x), np.concatenate(y)
    fit = LogisticRegression(max_iter=5000, class_weight="balanced").fit(x, y)
    score = fit.predict_proba(x)[:, 1]
    cuts = np.quantile(score[y], 1 - np.asarray(TAU_POINTS))
    for point, cut in zip(TAU_POINTS, cuts):
        print(f"tau {point}: jets {(score[~y] > cut).mean():.4f}  ({y.sum()} taus, {(~y).sum()} jets)")
    return [round(float(v), 4) for v in (fit.intercept_[0], *fit.coef_[0])], [round(float(v), 4) for v in cuts]


def main() -> None:
    response = energy(80)
    tags = flavour(80)
    weights, points = tau(24)
    lines = [
        '"""Calibrations of this detector, written by ``test/bench/simulation_calibration.py``."""', "",
        "from __future__ import annotations", "",
        "# Mean response of uncorrected jets: rows for jets.RESPONSE_EDGES, columns for jets.RESPONSE_PT.",
        f"RESPONSE = {tuple(map(tuple, response))}", "",
        "# Log-odds of b and of c against light: intercept and the weight of each of tagging.features.",
        f"TAG_WEIGHTS = {{{', '.join(f'{name!r}: {tuple(map(tuple, w))}' for name, (w, _) in tags.items())}}}",
        "# The b logit above which 10, 1 and 0.1 % of the light jets of top pairs are.",
        f"TAG_CUTS = {{{', '.join(f'{name!r}: {tuple(c)}' for name, (_, c) in tags.items())}}}", "",
        "# Log-odds of a tau against a jet: intercept and the weight of each of taus.jet_features.",
        f"TAU_WEIGHTS = {tuple(weights)}",
        "# The score above which 98, 95, 90, 80, 70, 60, 50 and 40 % of the taus are.",
        f"TAU_POINTS = {tuple(points)}", "",
    ]  # fmt: skip
    TARGET.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
