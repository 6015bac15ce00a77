"""Histograms of what was counted, and ROOT files of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import hist
import numpy as np
import uproot

from .axis import Range


def weighted_histogram(drawn: Range, sums: np.ndarray, label: str) -> hist.Hist:
    """Return a histogram with these bins.

    Parameters
    ----------
    drawn
        The D equal bins.
    sums
        Of weights and of their squares, (2, D + 2); what is beyond both ends is in the first and the last.
    label
        Of its axis.
    """
    axis = hist.axis.Regular(drawn.bins, drawn.low, drawn.high, name="x", label=label)
    filled = hist.Hist(axis, storage=hist.storage.Weight())
    contents = filled.view(flow=True)
    contents["value"], contents["variance"] = sums
    return filled


def write_histograms(path: Path, histograms: Mapping[str, hist.Hist]) -> None:
    """Write a ROOT file with histograms, by the path of each in it."""
    with path.open("w+b") as opened, uproot.recreate(opened) as file:  # a path may hold what uproot would split at
        for name, histogram in histograms.items():
            file[name] = histogram
