"""The figure of a learning rate range test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from .style import SIX_COLOURS, cms_style, new_figure, save


def draw(rates: Sequence[float], losses: Sequence[float], chosen: float, stem: Path) -> list[Path]:
    """Draw how the loss depends on the learning rate, and save it as PDF and PNG; returns the paths."""
    return save(_curve(rates, losses, chosen), stem)


@cms_style
def _curve(rates: Sequence[float], losses: Sequence[float], chosen: float) -> Figure:
    figure = new_figure(10)
    axes = figure.add_subplot(xlabel="Learning rate", ylabel="Loss", xscale="log")
    axes.plot(rates, losses, color=SIX_COLOURS[0])
    axes.axvline(chosen, color="0.3", linestyle="--", label=f"chosen: {chosen:.2g}")
    axes.legend()
    return figure
