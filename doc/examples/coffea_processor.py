"""A coffea processor that scores events with a trained model, and fills a histogram of the scores."""

from __future__ import annotations

from functools import cache

import awkward as ak
import hist
import nanoforge
from coffea import processor

load_model = cache(nanoforge.load_model)  # once for each worker, not for each chunk


class ScoreProcessor(processor.ProcessorABC):
    """Scores the events of every dataset.

    Parameters
    ----------
    run
        What ``nanoforge train`` or ``nanoforge export`` made: a path, which travels to the workers.
    output
        The score to look at: a class of the analysis.
    """

    def __init__(self, run: str, output: str) -> None:
        self.run = run
        self.output = output

    def process(self, events: ak.Array) -> dict:
        """Return the number of events that pass the cuts, and the histogram of their score, by dataset."""
        scores = load_model(self.run)(events)[self.output]
        scores = scores[scores >= 0]  # -1 is what the cuts of the analysis reject
        histogram = hist.Hist.new.Reg(20, 0, 1, name="score").Double()
        histogram.fill(ak.to_numpy(scores))
        return {events.metadata["dataset"]: {"selected": len(scores), "score": histogram}}

    def postprocess(self, accumulator: dict) -> dict:
        """Leave the sums as they are."""
        return accumulator
