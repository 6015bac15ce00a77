"""The images of the test rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ..figure import INPUTS, Plot, ReportFigure
from ..pictures import ImageAverages
from ..results import Results
from ..style import cms_style, new_figure, plain_text

_MOST_GROUPS = 4
_DECADES = 1e-4


class AverageImages(ReportFigure):
    """The average image of each class, and one row of it."""

    title = "Images of {}"
    meaning = "The first channel on the image, of some test rows: above the average, below one of them."
    position = 105
    section = INPUTS

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        for picture in results.folds[0].pictures:
            yield self.plot(f"images_{picture.name}", images(picture), picture.name)


@cms_style
def images(picture: ImageAverages) -> Figure:
    """Draw the averages of groups above one row of each, in eta and phi from the middle, with colours of decades."""
    groups = list(picture.groups)[:_MOST_GROUPS]
    figure = new_figure(10)
    axes = figure.subplots(2, len(groups), squeeze=False, sharex=True, sharey=True, gridspec_kw={"left": 0.17})
    eta, phi = picture.reach
    for line, values, kind in ((axes[0], picture.average, "average"), (axes[1], picture.single, "one row")):
        largest = float(np.max(values, initial=0)) or 1.0
        norm = LogNorm(vmin=_DECADES * largest, vmax=largest)
        for one, group, pixels in zip(line, groups, values):
            filled = np.ma.masked_less(pixels, _DECADES * largest)
            drawn = one.imshow(filled, norm=norm, origin="lower", extent=(-phi, phi, -eta, eta), aspect="auto")
            label = f"{plain_text(group)}, {kind}"
            one.text(0.05, 0.95, label, transform=one.transAxes, va="top", fontsize=16)
            one.locator_params(nbins=3)
        figure.colorbar(drawn, ax=list(line), label=plain_text(picture.channel))
    for one in axes[:, 0]:
        one.set_ylabel(r"$\Delta\eta$")
    for one in axes[1]:
        one.set_xlabel(r"$\Delta\phi$")
    return figure
