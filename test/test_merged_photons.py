"""``doc/examples/merged_photons.yaml``, from the guns to the mass of held-out pairs: images, and sets of hits.

It takes minutes: ``NANOFORGE_TEST_PHOTONS=1`` asks for it. The bounds are near what the page names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import nanoforge as package
import numpy as np
import pytest
import uproot
import yaml

EVENTS, EPOCHS = (20_000, 5_000), 20
EXAMPLE = Path(__file__).resolve().parents[1] / "doc" / "examples" / "merged_photons.yaml"
SETS = {"type": "deepsets", "constituent": [128, 128, 128], "pool": ["mean", "sum", "max"], "hidden": [128, 128]}


@dataclass(frozen=True)
class HeldOut:
    """Pairs and single photons of other seeds; masses in MeV."""

    pairs: ak.Array
    photons: ak.Array

    @property
    def mass(self) -> np.ndarray:
        chosen = self.pairs.GenPart_mass[self.pairs.GenPart_pdgId == 36]
        return 1e3 * np.asarray(ak.flatten(chosen[:, :1]), np.float64)

    @property
    def formula(self) -> np.ndarray:
        """The mass of the hits about the hottest one, less the width of a single photon's shower."""
        squared, energy = hits_mass(self.pairs)
        of_photons, their_energy = hits_mass(self.photons)
        width = np.median(of_photons / their_energy**2)
        return 1e3 * np.sqrt(np.maximum(squared - width * energy**2, 0))


def hits_mass(events: ak.Array) -> tuple[np.ndarray, np.ndarray]:
    """The squared mass and the energy of the hits that are on the image."""
    hottest = ak.argmax(events.EcalHit_energy, axis=1, keepdims=True)
    d_eta = events.EcalHit_eta - ak.flatten(events.EcalHit_eta[hottest])
    d_phi = (events.EcalHit_phi - ak.flatten(events.EcalHit_phi[hottest]) + np.pi) % (2 * np.pi) - np.pi
    near = (abs(d_eta) < 0.14) & (abs(d_phi) < 0.14)
    e, eta, phi = (events[f"EcalHit_{name}"][near] for name in ("energy", "eta", "phi"))
    parts = (e, *(e / np.cosh(eta) * f for f in (np.cos(phi), np.sin(phi), np.sinh(eta))))
    energy, *p = (np.asarray(ak.sum(part, axis=1), np.float64) for part in parts)
    return energy**2 - sum(x**2 for x in p), energy


def content(events: tuple[int, int], seed: int = 0) -> dict[str, Any]:
    analysis = yaml.safe_load(EXAMPLE.read_text())
    for number, sample in zip(events, analysis["samples"].values()):
        sample["generator"] |= {"events": number, "seed": sample["generator"]["seed"] + seed}
    analysis["training"] |= {"epochs": EPOCHS, "batch_size": 256}
    return analysis


def read(path: Path) -> ak.Array:
    events = uproot.open(path)["Events"].arrays(filter_name=["/n?(EcalHit|GenPart)(_.*)?/", "run", "lumi*", "event"])
    return events[events.nEcalHit > 0]


def half_width(residuals: np.ndarray) -> float:
    low, high = np.percentile(residuals, [16, 84])
    return (high - low) / 2


@pytest.mark.skipif(
    not os.environ.get("NANOFORGE_TEST_PHOTONS"), reason="minutes: NANOFORGE_TEST_PHOTONS=1 asks for it"
)
def test_masses_of_merged_photons(nanoforge: Any, tmp_path: Path) -> None:
    def run(*command: str) -> None:
        answer = nanoforge(*command)
        assert answer.returncode == 0, answer.stderr

    for name, analysis in (("a", content(EVENTS)), ("held", content((4000, 1500), 10))):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(analysis))
        run("generate", f"{name}.yaml", "-o", f"{name}_events")
    pairs, photons = (read(tmp_path / "held_events" / f"{name}.root") for name in ("pairs", "photons"))
    held = HeldOut(pairs[ak.any(pairs.GenPart_pdgId == 36, axis=1)], photons)
    files = [f"samples.{name}.files=a_events/{name}.root" for name in ("pairs", "photons")]
    run("convert", "a.yaml", *files, "-o", "data")
    (tmp_path / "sets.yaml").write_text(yaml.safe_dump({**content(EVENTS), "model": SETS}))
    error = {"formula": np.abs(held.formula - held.mass).mean()}
    for name in ("a", "sets"):
        run("train", f"{name}.yaml", *files, "--data", "data", "-o", f"run_{name}")
        model = package.load_model(tmp_path / f"run_{name}")
        pairs, photons = (1e3 * np.asarray(model(events)["mass"]) for events in (held.pairs, held.photons))
        error[name] = np.abs(pairs - held.mass).mean()
        assert np.median(photons) < np.median(pairs)
        if name == "a":
            middle = (held.mass > 500) & (held.mass < 700)
            assert half_width((pairs - held.mass)[middle]) <= 90
            assert -100 <= np.median(photons) <= 50
    assert error["a"] <= 110 and error["a"] <= 0.65 * error["formula"] and error["sets"] <= 105, error
