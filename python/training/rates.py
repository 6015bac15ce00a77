"""The learning rate range test (Smith, arXiv:1506.01186)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..errors import UserError

LOWEST, HIGHEST, STEPS = 1e-7, 1.0, 100
SMOOTHING = 0.9
"""What the running average of the loss keeps at each step."""


@dataclass(frozen=True)
class RangeTest:
    """Learning rates of successive steps, the smoothed loss before each, and what follows from them."""

    rates: list[float]
    losses: list[float]

    @property
    def suggestion(self) -> float:
        """A tenth of the learning rate at which the loss is least: where it still falls, with a margin.

        Raises
        ------
        UserError
            When the loss falls at none of them.
        """
        least = min(range(len(self.losses)), key=self.losses.__getitem__)
        if not least:
            raise UserError("training.learning_rate: 'auto' finds none with which the loss falls: give a number")
        return self.rates[least] / 10


def range_test(step: Callable[[float], float], rates: Iterable[float] | None = None) -> RangeTest:
    """Train with rising learning rates until the loss explodes.

    Parameters
    ----------
    step
        Makes one step with the given learning rate and returns the loss before it.
    rates
        The learning rates.
    """
    result = RangeTest([], [])
    average = 0.0
    for number, rate in enumerate(rates or _geometric(), 1):
        loss = step(rate)
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smooth = average / (1 - SMOOTHING**number)
        first = result.losses[0] if result.losses else smooth
        if not math.isfinite(smooth) or smooth > first + 3 * abs(first):
            break
        result.rates.append(rate)
        result.losses.append(smooth)
    return result


def _geometric() -> list[float]:
    return [LOWEST * (HIGHEST / LOWEST) ** (n / (STEPS - 1)) for n in range(STEPS)]
