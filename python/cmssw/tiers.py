"""Which tier of CMS's data has hits of the calorimeters, and under which labels."""

from __future__ import annotations

from typing import Any

CALO_HITS: dict[str, dict[str, Any]] = {
    "aod": {
        "EcalHit": ("reducedEcalRecHitsEB", "reducedEcalRecHitsEE"), "HcalHit": "reducedHcalRecHits:hbhereco",
        "CaloTrack": "generalTracks",
    },
    "mini": {
        "EcalHit": ("reducedEgamma:reducedEBRecHits", "reducedEgamma:reducedEERecHits"),
        "HcalHit": "reducedEgamma:reducedHBHEHits",
    },
}  # fmt: skip
"""Where a tier has the hits, by the name of their table."""
MINI_KEEPS = "MiniAOD keeps hits near electrons and photons only: they are no images of jets or of whole events"
