"""The figure of a particle gun's spectra: mass and pt as generated, and as the filters kept them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..simulation.generator.flatness import chi2_per_ndf, projection
from ..simulation.generator.gun import Occupancy
from .style import SIX_COLOURS, cms_style, new_figure, save

_STAGES = {"tried": "Generated", "passed": "Kept"}
_TITLES = {"mass": "Generated mass (GeV)", "pt": "Generated $p_T$ (GeV)"}


def draw(spectra: Occupancy, stem: Path) -> list[Path]:
    """Draw the spectra that have more than one bin, and save them as PDF and PNG; returns the paths."""
    return save(_panels(spectra), stem) if len(spectra.tried) > 1 else []


@cms_style
def _panels(spectra: Occupancy) -> Figure:
    """Draw mass and pt; below them, where both have bins, the map of what was generated and that of what was kept."""
    planes = [plane for plane in _TITLES if len(getattr(spectra, plane)) > 2]
    rows = len(planes)  # two spectra have two maps
    figure = new_figure(10 * rows)
    figure.set_size_inches(11 * len(planes), 10 * rows)
    panels = figure.subplots(rows, len(planes), squeeze=False, gridspec_kw={"hspace": 0.25, "wspace": 0.4})
    for axes, plane in zip(panels[0], planes):
        _spectrum(axes, spectra, plane)
    if rows == 2:
        for axes, stage in zip(panels[1], _STAGES):
            _map(axes, spectra, stage)
    return figure


def _spectrum(axes: Axes, spectra: Occupancy, plane: str) -> None:
    edges = getattr(spectra, plane)
    highest = 0.0
    for (stage, name), colour in zip(_STAGES.items(), SIX_COLOURS):
        counts, expected = projection(spectra, stage, plane)
        scale = 1 / (max(counts.sum(), 1) * np.diff(edges))
        label = f"{name}, {counts.sum():,}: {_quality(spectra, stage, plane)}"
        axes.errorbar(
            (edges[1:] + edges[:-1]) / 2, counts * scale, np.sqrt(counts) * scale, np.diff(edges) / 2,
            fmt="o", color=colour, markersize=6, linewidth=2, label=label,
        )  # fmt: skip
        axes.stairs(expected * scale, edges, color=colour, linestyle="--", linewidth=2)
        highest = max(highest, float(np.max(counts * scale)))
    axes.set(xlabel=_TITLES[plane], ylabel="Probability density (1/GeV)", xlim=edges[[0, -1]], ylim=(0, 1.45 * highest))
    axes.legend(loc="upper center", fontsize="small", title="Dashed: flat", title_fontsize="small")


def _map(axes: Axes, spectra: Occupancy, stage: str) -> None:
    counts, _ = projection(spectra, stage, "map")
    mesh = axes.pcolormesh(spectra.mass, spectra.pt, counts.T, cmap="cividis", vmin=0, rasterized=True)
    axes.set(xlabel=_TITLES["mass"], ylabel=_TITLES["pt"])
    axes.set_title(f"{_STAGES[stage]}: {_quality(spectra, stage, 'map')}", fontsize="small")
    axes.figure.colorbar(mesh, ax=axes, fraction=0.046, pad=0.03, label="Events")


def _quality(spectra: Occupancy, stage: str, plane: str) -> str:
    chi2 = chi2_per_ndf(spectra, stage, plane)
    return "one bin" if chi2 is None else rf"$\chi^2$/ndf to flat = {chi2:.2f}"
