"""Distributions by run, lumi section, era or file: few enough to be kept and drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Union

from ..distributions.reference import Distributions
from ..distributions.variable import RowValues

MOST = 48
"""More periods are put together with their neighbours."""
Key = tuple[Union[int, str], ...]
"""A run, a run and a lumi section, or the name of an era or a file; periods are in the order of their keys."""


@dataclass
class Period:
    """The distributions from one key to another."""

    first: Key
    last: Key
    distributions: Distributions

    @property
    def label(self) -> str:
        """What people read: ``362104``, ``1:20 to 1:29``."""
        first, last = (":".join(map(str, key)) for key in (self.first, self.last))
        return first if first == last else f"{first} to {last}"


class Periods:
    """All periods of some events.

    Parameters
    ----------
    empty
        The bins.
    """

    def __init__(self, empty: Distributions) -> None:
        self._empty = empty
        self._periods: list[Period] = []

    def __iter__(self) -> Iterator[Period]:
        return iter(self._periods)

    def __len__(self) -> int:
        return len(self._periods)

    def add(self, key: Key, rows: RowValues) -> None:
        """Count rows of a period."""
        for period in self._periods:
            if period.first <= key <= period.last:
                period.distributions.add(rows)
                return
        distributions = self._empty.empty()
        distributions.add(rows)
        self._insert(Period(key, key, distributions))

    def merge(self, other: Periods) -> None:
        """Add those of other events; periods that overlap become one."""
        for period in other:
            self._insert(period)

    @property
    def total(self) -> Distributions:
        """The distributions of all together."""
        total = self._empty.empty()
        for period in self:
            total.merge(period.distributions)
        return total

    def _insert(self, new: Period) -> None:
        apart = []
        for period in self._periods:
            if period.last < new.first or new.last < period.first:
                apart.append(period)
            else:
                new = _together(new, period)
        self._periods = sorted([*apart, new], key=lambda period: period.first)
        while len(self._periods) > MOST:
            rows = [a.distributions.rows + b.distributions.rows for a, b in zip(self._periods, self._periods[1:])]
            least = rows.index(min(rows))
            self._periods[least : least + 2] = [_together(self._periods[least], self._periods[least + 1])]


def _together(first: Period, second: Period) -> Period:
    first.distributions.merge(second.distributions)
    return Period(min(first.first, second.first), max(first.last, second.last), first.distributions)
