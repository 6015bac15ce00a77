"""What the rows of each predicted class truly are."""

from __future__ import annotations

from collections.abc import Iterator

from ..figure import Plot, ReportFigure
from ..results import Results
from ._confusion import confusion


class ConfusionByPrediction(ReportFigure):
    """What the rows of each predicted class truly are."""

    task = "classification"
    title = "Confusion matrix by prediction"
    meaning = (
        "What the rows of each predicted class truly are, with the normalisation of the samples: each column sums to 1."
    )
    position = 60

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        yield self.plot("confusion_by_prediction", confusion(results.confusion, results.outputs, 0))
