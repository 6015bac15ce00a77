"""How far a distribution is from that of the training: sizes of effects, and what chance would make of them.

Sizes decide, for with a million events what matters to nobody is significant. They are

- the population stability index, Σ (q - p) ln(q/p) over bins that hold equally much of the training,
- the Kolmogorov-Smirnov distance, the largest difference of the cumulative distributions at the edges of the bins,
- the difference of the shares below and above the training's range, of NaN, and of each special value.

All follow from sums of weights of either sign and of their squares. An effect counts where it is larger than what
chance exceeds in one case of a thousand, which matters where there are few events.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .counts import BINS, BinCounts
from .reference import Distribution, Distributions
from .variable import Variable

OK, FEW, WARNING, ALARM = "ok", "few", "warning", "alarm"
STATES = (OK, FEW, WARNING, ALARM)
FEW_EVENTS = 100
"""Fewer effective values say nothing."""
SHARE_WARNING, SHARE_ALARM = 0.001, 0.01
_SIGMAS = 5.0
_UNLIKELY = 3.09
"""One case of a thousand lies beyond so many standard deviations of a normal distribution."""
_KS_UNLIKELY = 1.95
_BETWEEN_EDGES = 0.5826
"""How far a Brownian path rises above its values at m times, in units of m^-½ (Broadie, Glasserman, Kou, Math. Finance
7 (1997) 325): so much larger is the Kolmogorov-Smirnov distance of the values than that at the edges of the bins."""
_VALUES_IN_A_BIN = 50
_LEAST = 1e-4
"""An empty bin counts as one with this share, as usual for the index."""


@dataclass(frozen=True)
class Thresholds:
    """From which size on an index or distance is a warning, or an alarm."""

    warning: float = 0.1
    alarm: float = 0.25

    def state(self, size: float, noise: float) -> str:
        """Judge an effect by its size, and by what chance exceeds in one case of a thousand."""
        if size < self.warning or size <= noise:
            return OK
        return ALARM if size >= self.alarm else WARNING


@dataclass(frozen=True)
class ShareChange:
    """The share of some values, in the training and now, and their difference in standard deviations."""

    name: str
    reference: float
    observed: float
    sigmas: float

    @property
    def state(self) -> str:
        """Judge the difference of the shares."""
        size = abs(self.observed - self.reference)
        if size < SHARE_WARNING or abs(self.sigmas) < _SIGMAS:
            return OK
        return ALARM if size >= SHARE_ALARM else WARNING


@dataclass(frozen=True)
class Drift:
    """The drift of a variable.

    Attributes
    ----------
    variable
        Which.
    values, effective
        The number of values that were compared with the training, and of values of weight 1 that fluctuate as much.
    psi, ks
        Population stability index and Kolmogorov-Smirnov distance; NaN where there is too little to compare.
    psi_noise, ks_noise
        What chance exceeds in one case of a thousand.
    bins
        The number of bins of the distance.
    chi2, degrees
        The sum of squared differences of the bins in units of their errors, and its expectation without drift.
    shares
        Those that are tested on their own.
    state
        The worst of all.
    """

    variable: Variable
    values: int
    effective: float
    psi: float
    ks: float
    psi_noise: float
    ks_noise: float
    bins: int
    chi2: float
    degrees: int
    shares: tuple[ShareChange, ...]
    state: str

    @property
    def size(self) -> float:
        """How bad it is, to put variables in order."""
        worst = max((abs(s.observed - s.reference) for s in self.shares if s.state != OK), default=0.0)
        return max(0.0, *(x for x in (self.psi, self.ks) if x == x), 10 * worst)

    def p_values(self) -> tuple[float, float]:
        """Return those of χ² and of the Kolmogorov-Smirnov distance; NaN where there is none."""
        from scipy.special import chdtrc, kolmogorov  # not in a server's memory

        chi2 = float(chdtrc(self.degrees, self.chi2)) if self.degrees else math.nan
        between = _BETWEEN_EDGES / math.sqrt(self.bins)
        ks = float(kolmogorov(math.sqrt(self.effective) * self.ks + between)) if self.ks == self.ks else math.nan
        return chi2, ks

    @property
    def share_reasons(self) -> list[str]:
        """Which shares are to be looked at, in words."""
        return [
            f"{s.name}: {100 * s.observed:.3g} % (training {100 * s.reference:.3g} %)"
            for s in self.shares
            if s.state != OK
        ]

    @property
    def reasons(self) -> list[str]:
        """What is to be looked at, in words; empty where that is nothing."""
        if self.state not in (WARNING, ALARM):
            return []
        sizes = [] if self.psi != self.psi else [f"PSI {self.psi:.2g}, KS distance {self.ks:.2g}"]
        return [*sizes, *self.share_reasons]


def drifts(reference: Distributions, observed: Distributions, thresholds: Thresholds) -> list[Drift]:
    """Compare all variables, in their order."""
    return [drift(one, observed[one.variable].counts, thresholds) for one in reference]


def worst_state(states: Sequence[str]) -> str:
    """Return the worst of some states."""
    return max(states, key=STATES.index, default=OK)


def drift(reference: Distribution, observed: BinCounts, thresholds: Thresholds) -> Drift:
    """Compare a variable with its distribution in the training."""
    counts = reference.counts
    numbers = [
        sums[0].sum() ** 2 / sums[1].sum() if sums[1].sum() > 0 else 0.0 for sums in (counts.bins, observed.bins)
    ]
    positive = counts.bins[0].sum() > 0 and observed.bins[0].sum() > 0
    effective = float(1 / sum(1 / n for n in numbers)) if min(numbers) > 0 else 0.0
    shares = tuple(_shares(reference, observed))
    states = [share.state for share in shares]
    psi = ks = psi_noise = ks_noise = chi2 = math.nan
    degrees = 0
    if positive and effective >= FEW_EVENTS:
        ks_noise = _KS_UNLIKELY / math.sqrt(effective)
        before, now = (np.cumsum(sums[0]) / sums[0].sum() for sums in (counts.bins, observed.bins))
        ks = float(np.max(np.abs(before - now)))
        first, second = _merged(counts.bins, observed.bins, effective)
        psi = _stability_index(first[0], second[0])
        degrees = first.shape[1] - 1
        chi2 = _chi_square(first, second)
        psi_noise = _unlikely_chi_square(degrees) / effective
        states += [thresholds.state(psi, psi_noise), thresholds.state(ks, ks_noise)]
    else:
        states.append(FEW)
    state = worst_state(states)
    bins, effects = counts.bins.shape[1], (psi, ks, psi_noise, ks_noise)
    return Drift(reference.variable, observed.values, effective, *effects, bins, chi2, degrees, shares, state)


def _merged(reference: np.ndarray, observed: np.ndarray, effective: float) -> tuple[np.ndarray, np.ndarray]:
    """Join neighbouring bins, (2, B), so that each holds a share of the training that so few values can fill."""
    bins = max(2, min(BINS, int(effective / _VALUES_IN_A_BIN)))
    reached = np.cumsum(reference[0]) / reference[0].sum()
    target = np.minimum((reached * bins * (1 - 1e-9)).astype(int), bins - 1)
    group = np.unique(np.maximum.accumulate(np.maximum(target, 0)), return_inverse=True)[1]
    size = int(group[-1]) + 1
    first, second = (np.stack([np.bincount(group, row, size) for row in sums]) for sums in (reference, observed))
    filled = (first[1] > 0) | (second[1] > 0)
    return first[:, filled], second[:, filled]


def _stability_index(reference: np.ndarray, observed: np.ndarray) -> float:
    p, q = (np.maximum(sums / sums.sum(), _LEAST) for sums in (reference, observed))
    return float(np.sum((q - p) * np.log(q / p)))


def _chi_square(reference: np.ndarray, observed: np.ndarray) -> float:
    """Compare two weighted histograms by their shapes (Gagunashvili, Nucl. Instrum. Meth. A 614 (2010) 287)."""
    (w, w2), (v, v2) = reference, observed
    difference = (w * v.sum() - v * w.sum()) ** 2
    variance = w2 * v.sum() ** 2 + v2 * w.sum() ** 2
    return float(np.sum(np.divide(difference, variance, out=np.zeros_like(difference), where=variance > 0)))


def _unlikely_chi_square(degrees: int) -> float:
    """Return what χ² exceeds in one case of a thousand (Wilson, Hilferty, Proc. Natl. Acad. Sci. 17 (1931) 684)."""
    if not degrees:
        return 0.0
    spread = 2 / (9 * degrees)
    return float(degrees * (1 - spread + _UNLIKELY * math.sqrt(spread)) ** 3)


def _shares(reference: Distribution, observed: BinCounts) -> Iterator[ShareChange]:
    """Compare the shares of all values; where the training has none, as if it had one."""
    counts = reference.counts
    if not (counts.total[0] > 0 and observed.total[0] > 0):
        return
    for number, name in enumerate(reference.binning.shares):
        before, now = (c.shares[0, number] / c.total[0] for c in (counts, observed))
        variance = sum(_variance(c, number) for c in (counts, observed))
        sigmas = (now - before) / math.sqrt(variance) if variance > 0 else 0.0
        yield ShareChange(name, float(before), float(now), float(sigmas))


def _variance(counts: BinCounts, number: int) -> float:
    """Return the squared error of a share, at least that of one value."""
    share, squares = counts.shares[0, number] / counts.total[0], counts.shares[1, number]
    variance = (1 - share) ** 2 * squares + share**2 * (counts.total[1] - squares)
    return float(max(variance, counts.total[1] / max(counts.values, 1)) / counts.total[0] ** 2)
