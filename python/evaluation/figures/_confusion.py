"""The drawing that the two confusion matrices share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from .. import statistics
from ..statistics import Array
from ..style import canvas, cms_style, shortened

_MOST_WRITTEN = 12  # classes whose confusion matrix still has room for numbers


@cms_style
def confusion(matrix: Array, classes: Sequence[str], axis: int) -> Figure:
    """Draw a confusion matrix of sums of weights, normalised by truth (``axis`` 1) or by prediction (``axis`` 0)."""
    figure, axes = canvas("Predicted class", "True class")
    shares = statistics.normalised(matrix, axis)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, origin="upper")
    names = [shortened(name) for name in classes]
    axes.set_xticks(range(len(names)), names, rotation=0 if max(map(len, names)) * len(names) < 36 else 45)
    axes.set_yticks(range(len(names)), names, rotation=90 if len(names) < 4 else 0, va="center")
    axes.minorticks_off()
    axes.tick_params(length=0)
    if len(classes) <= _MOST_WRITTEN:
        size = float(np.clip(80 / len(classes), 12, 32))
        for (row, column), share in np.ndenumerate(shares):
            colour = "white" if share > 0.5 else "black"
            axes.text(column, row, _share(share), ha="center", va="center", fontsize=size, color=colour)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("Fraction of the true class" if axis == 1 else "Fraction of the predicted class")
    return figure


def _share(share: float) -> str:
    return "-" if not np.isfinite(share) else f"{share:.3f}" if share < 0.9995 else f"{share:.0%}"
