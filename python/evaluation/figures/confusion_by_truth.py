"""Where the rows of each true class go."""

from __future__ import annotations

from collections.abc import Iterator

from ..figure import Plot, ReportFigure
from ..results import Results
from ._confusion import confusion


class ConfusionByTruth(ReportFigure):
    """Where the rows of each true class go."""

    task = "classification"
    title = "Confusion matrix by truth"
    meaning = "Where the rows of each true class go when the class of the highest score is chosen: each line sums to 1."
    position = 50

    def draw(self, results: Results) -> Iterator[Plot]:
        """Draw the figure; see :class:`.ReportFigure`."""
        yield self.plot("confusion_by_truth", confusion(results.confusion, results.outputs, 1))
