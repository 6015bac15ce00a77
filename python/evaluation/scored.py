"""Scores of rows beside the truth: of all outputs, of one class against the rest, of one target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import statistics
from .statistics import Array, Estimate


@dataclass(frozen=True)
class Scored:
    """Scores of N rows beside the truth.

    ``scores`` is (N, C): one probability per class, or one prediction per target. ``truth`` is the (N,) class number,
    or the (N, C) true values, NaN where they are not known. ``weight`` (N,) is the physics weight, ``prior_weight``
    (N,) that weight with the classes balanced as in the training, to whose priors the probabilities refer.

    ``others`` is what else is predicted of each target, (N, C, K). With ``levels``, (K + 1,), prediction and others are
    quantiles of these levels; without, K is 1 and it is the sigma of the prediction, or 0.
    """

    scores: Array
    truth: Array
    weight: Array
    prior_weight: Array
    others: Array | None = None
    levels: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def of_class(self, number: int) -> Array:
        """Return the (N,) mask of the rows of a true class."""
        return np.asarray(self.truth == number)

    def against_rest(self, number: int) -> OneAgainstRest:
        """Return the score of a class, which is the signal, and whose rows are of it."""
        return OneAgainstRest(self.scores[:, number], self.of_class(number), self.weight, self.prior_weight)

    def of_pair(self, first: int, second: int) -> OneAgainstRest:
        """Return the rows of two classes, the first of which is the signal.

        The score is p_first/(p_first + p_second), and 1/2 where both are 0.
        """
        chosen = (self.truth == first) | (self.truth == second)
        a, b = (self.scores[chosen, k].astype(np.float64) for k in (first, second))
        score = np.divide(a, a + b, out=np.full(len(a), 0.5), where=a + b > 0)
        return OneAgainstRest(score, self.truth[chosen] == first, self.weight[chosen], self.prior_weight[chosen])

    def of_target(self, number: int) -> Prediction:
        """Return the rows of which a target is known."""
        valid = ~np.isnan(self.truth[:, number])
        others = np.empty((len(self), 0)) if self.others is None else self.others[:, number]
        true, predicted = self.truth[valid, number], self.scores[valid, number]
        return Prediction(true, predicted, self.weight[valid], others[valid], self.levels)

    @property
    def none(self) -> Scored:
        """The same without rows."""
        others = None if self.others is None else self.others[:0]
        return Scored(self.scores[:0], self.truth[:0], self.weight[:0], self.prior_weight[:0], others, self.levels)

    @classmethod
    def pool(cls, parts: Sequence[Scored]) -> Scored:
        """Join the rows of several parts, e.g. of the folds."""
        names = ("scores", "truth", "weight", "prior_weight", *(["others"] if parts[0].others is not None else []))
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls(**joined, levels=parts[0].levels)


@dataclass(frozen=True)
class Prediction:
    """Truth and prediction, (N,) each, of one target in the rows where it is known; see :class:`Scored`."""

    true: Array
    predicted: Array
    weight: Array
    others: Array
    levels: tuple[float, ...]

    @property
    def residual(self) -> Array:
        """Prediction minus truth, (N,)."""
        return np.asarray(self.predicted - self.true)

    @property
    def pull(self) -> Array | None:
        """Residual in units of the predicted sigma, (N,); None where no sigma is predicted."""
        return None if self.levels or not self.others.shape[1] else np.asarray(self.residual / self.others[:, 0])

    @property
    def crossings(self) -> int:
        """Number of rows in which a lower predicted quantile is above a higher one."""
        if not self.levels:
            return 0
        rising = np.column_stack([self.predicted, self.others])[:, np.argsort(self.levels)]
        return int(np.any(np.diff(rising, axis=1) < 0, axis=1).sum())

    @property
    def coverage(self) -> dict[float, Estimate]:
        """Fraction of the truth that is not above each predicted quantile, by rising level."""
        below = self.true[:, np.newaxis] <= np.column_stack([self.predicted, self.others])
        fractions = {level: statistics.average(below[:, k], self.weight) for k, level in enumerate(self.levels)}
        return dict(sorted(fractions.items()))


@dataclass(frozen=True)
class OneAgainstRest:
    """The scores of one class, (N,), and which rows are of it, (N,) bool; weights are those of :class:`Scored`."""

    score: Array
    signal: Array
    weight: Array
    prior_weight: Array
