"""The distributions of a training: what a model saw, in a file beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..dataset.info import InputInfo
from ..errors import DataError, UserError
from ..provenance.manifest import write_atomically
from .counts import SPECIAL, BinCounts, Binning
from .variable import FEATURE, RowValues, Variable, values_of

FILE = "reference.json"
VERSION = 1
FIRST_ROWS, FIRST_BYTES = 50_000, 64_000_000
"""By so many rows at most, and by so much of them, the bins are chosen."""


@dataclass
class Distribution:
    """A variable, its bins, and what is in them."""

    variable: Variable
    binning: Binning
    counts: BinCounts


class Distributions:
    """Those of all variables of a model.

    Parameters
    ----------
    inputs, outputs
        What the model takes, and the names of its scores.
    each
        A distribution for each variable.
    rows
        The number of rows that were counted.
    """

    def __init__(
        self,
        inputs: Mapping[str, InputInfo],
        outputs: Sequence[str],
        each: Iterable[Distribution],
        rows: int = 0,
    ) -> None:
        self.inputs, self.outputs = dict(inputs), tuple(outputs)
        self._each = {one.variable: one for one in each}
        self.rows = rows

    def __iter__(self) -> Iterator[Distribution]:
        return iter(self._each.values())

    def __getitem__(self, variable: Variable) -> Distribution:
        return self._each[variable]

    def empty(self) -> Distributions:
        """Return the same bins, with nothing in them and classes not told apart."""
        each = [replace(one, counts=BinCounts.zero(one.binning)) for one in self]
        return Distributions(self.inputs, self.outputs, each)

    def add(self, rows: RowValues) -> None:
        """Count rows."""
        self.rows += len(rows)
        for variable, values, row in values_of(rows, self.inputs, self.outputs):
            one = self._each[variable]
            weight = rows.weight if row is None else rows.weight[row]
            label = rows.label if rows.label is None or row is None else rows.label[row]
            one.counts.add(one.binning, values, weight, label)

    def merge(self, other: Distributions) -> None:
        """Add what was counted elsewhere, in the same bins."""
        self.rows += other.rows
        for one in self:
            one.counts.merge(other[one.variable].counts)

    def same_bins(self, other: Distributions) -> bool:
        """Whether the variables and their bins are the same."""
        return list(self._each) == list(other._each) and all(
            one.binning.same_as(other[one.variable].binning) for one in self
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        variables = [
            {"kind": v.kind, "input": v.input, "name": v.name, **one.binning.as_dict(), **one.counts.as_dict()}
            for v, one in self._each.items()
        ]
        inputs = {name: info.as_dict() for name, info in self.inputs.items()}
        return {"rows": self.rows, "inputs": inputs, "outputs": list(self.outputs), "variables": variables}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Distributions:
        """Rebuild what :meth:`as_dict` wrote."""
        inputs = {name: InputInfo.from_dict(info) for name, info in content["inputs"].items()}
        each = [
            Distribution(Variable(v["kind"], v["input"], v["name"]), Binning.from_dict(v), BinCounts.from_dict(v))
            for v in content["variables"]
        ]
        return cls(inputs, content["outputs"], each, int(content["rows"]))


@dataclass
class Reference:
    """The distributions of the training part of a fold, or of all folds together.

    Attributes
    ----------
    distributions
        Of a random subset of the rows, class by class.
    classes
        Of each class the number of rows and Σw of the whole training part; without classes of "all".
    share
        The share of all events that the training part is; with several folds of all of them together.
    """

    distributions: Distributions
    classes: dict[str, tuple[int, float]]
    share: float

    @property
    def factors(self) -> np.ndarray:
        """What the weights of each class are multiplied by to stand for all events, (C,)."""
        scores = next(iter(reversed(list(self.distributions))))  # one for each row
        counted = scores.counts.drawn[:, 0].sum(axis=1)
        whole = np.array([weight for _, weight in self.classes.values()])
        return np.divide(whole, counted * self.share, out=np.ones(len(whole)), where=counted * self.share != 0)

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        total = sum(weight for _, weight in self.classes.values())
        classes = {
            name: {"rows": rows, "weight": weight, "fraction": weight / total if total else None}
            for name, (rows, weight) in self.classes.items()
        }
        content = {"version": VERSION, "classes": classes, "share": self.share, **self.distributions.as_dict()}
        write_atomically(path, json.dumps(content, allow_nan=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> Reference:
        """Read what :meth:`write` wrote.

        Raises
        ------
        UserError
            When there is none: the training was one of an earlier version.
        DataError
            When it is damaged.
        """
        try:
            return cls.parse(path.read_bytes())
        except FileNotFoundError:
            raise UserError(
                f"{path}: is missing, since the model was trained by an earlier version: run 'nanoforge train' again"
            ) from None
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(f"{path}: cannot be used ({type(error).__name__}: {error})") from None

    @classmethod
    def parse(cls, text: bytes) -> Reference:
        """Read the text of a file; where that is something else, any ValueError, KeyError, TypeError or IndexError."""
        content = json.loads(text)
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']}, and {VERSION} is read")
        classes = {name: (int(c["rows"]), float(c["weight"])) for name, c in content["classes"].items()}
        return cls(Distributions.from_dict(content), classes, float(content["share"]))

    @classmethod
    def of_folds(cls, references: Sequence[Reference]) -> Reference:
        """Put those of all folds together; they have the same bins, and the range is that of all."""
        first = references[0]
        for other in references[1:]:
            if not first.distributions.same_bins(other.distributions):
                raise DataError("the folds were counted in different bins: run 'nanoforge train --force' again")
            first.distributions.merge(other.distributions)
            first.share += other.share
            for name, (rows, weight) in other.classes.items():
                rows_before, weight_before = first.classes[name]
                first.classes[name] = rows_before + rows, weight_before + weight
        return replace(first, distributions=_with_ranges(first.distributions))


def count_reference(
    batches: Iterable[RowValues],
    inputs: Mapping[str, InputInfo],
    outputs: Sequence[str],
    classes: int,
    fills: Mapping[str, float],
    like: Distributions | None = None,
) -> Distributions:
    """Count the rows of a training, in bins that the first of them choose.

    Parameters
    ----------
    batches
        Rows in random order; they are not kept.
    inputs, outputs, classes
        Inputs, names of the scores, and the number of classes.
    fills
        By input, what stands for values that are not there, whose share is counted too.
    like
        Have the same bins as these.
    """
    batches = iter(batches)
    first: list[RowValues] = []
    if like is None:
        rows = size = 0
        for batch in batches:
            first.append(batch)
            rows += len(batch)
            size += sum(values.nbytes for values in batch.tensors.values())
            if rows >= FIRST_ROWS or size >= FIRST_BYTES:
                break
        binnings = _choose(first, inputs, outputs, fills)
    else:
        binnings = {one.variable: replace(one.binning, low=-math.inf, high=math.inf) for one in like}
    each = [Distribution(v, binning, BinCounts.zero(binning, max(classes, 1))) for v, binning in binnings.items()]
    counted = Distributions(inputs, outputs, each)
    for group in (first, batches):
        for batch in group:
            counted.add(batch)
    return _with_ranges(counted)


def _choose(
    first: Sequence[RowValues], inputs: Mapping[str, InputInfo], outputs: Sequence[str], fills: Mapping[str, float]
) -> dict[Variable, Binning]:
    """Choose the bins of all variables; only one is unpacked at a time."""
    binnings = {}
    for parts in zip(*(values_of(rows, inputs, outputs) for rows in first)):
        variable = parts[0][0]
        values = np.concatenate([part[1] for part in parts])
        weights = [r.weight if row is None else r.weight[row] for r, (_, _, row) in zip(first, parts)]
        fill = fills.get(variable.input)
        more = (fill,) if variable.kind == FEATURE and fill is not None and math.isfinite(fill) else ()
        special = tuple(dict.fromkeys([*SPECIAL, *(float(np.float32(x)) for x in more)]))
        binnings[variable] = Binning.of(values, np.concatenate(weights), special if variable.kind == FEATURE else ())
    return binnings


def _with_ranges(counted: Distributions) -> Distributions:
    """Let the ranges be those of the values that were counted."""
    each = [
        replace(one, binning=replace(one.binning, low=one.counts.low, high=one.counts.high))
        if one.counts.low <= one.counts.high
        else one
        for one in counted
    ]
    return Distributions(counted.inputs, counted.outputs, each, counted.rows)
