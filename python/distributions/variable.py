"""What is counted of rows: the features of inputs, the lengths of lists, the scores."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..dataset.info import InputInfo

FEATURE, LENGTH, SCORE = "feature", "length", "score"


@dataclass(frozen=True)
class Variable:
    """One number of each row, or of each constituent of a row.

    Attributes
    ----------
    kind
        :data:`FEATURE`, :data:`LENGTH` (of the lists of an input) or :data:`SCORE`.
    input
        Name of the input; empty for scores.
    name
        Of the feature or score; empty for lengths.
    """

    kind: str
    input: str
    name: str

    @property
    def label(self) -> str:
        """What people read: ``jets.pt``, ``num(jets)``, ``score signal``."""
        if self.kind == FEATURE:
            return f"{self.input}.{self.name}"
        return f"num({self.input})" if self.kind == LENGTH else f"score {self.name}"


@dataclass(frozen=True)
class RowValues:
    """Rows as a model takes them, and what it makes of them.

    Attributes
    ----------
    tensors
        By name the features of each input, (N, F) or (N, L, F) f4, and ``<input>_mask``, (N, L); NaN where a value is
        not there.
    scores
        (N, C) f4, NaN where a row could not be scored.
    weight
        (N,) f8.
    label
        The class of each row, (N,) i8; None where it is not known.
    """

    tensors: Mapping[str, np.ndarray]
    scores: np.ndarray
    weight: np.ndarray
    label: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.weight)

    def select(self, rows: np.ndarray) -> RowValues:
        """Return chosen rows, by a mask or by their numbers."""
        tensors = {name: values[rows] for name, values in self.tensors.items()}
        label = None if self.label is None else self.label[rows]
        return RowValues(tensors, self.scores[rows], self.weight[rows], label)

    @staticmethod
    def join(parts: Sequence[RowValues]) -> RowValues:
        """Put rows one after the other; labels are dropped."""
        tensors = {name: np.concatenate([part.tensors[name] for part in parts]) for name in parts[0].tensors}
        scores, weight = (np.concatenate([getattr(part, name) for part in parts]) for name in ("scores", "weight"))
        return RowValues(tensors, scores, weight)


def variables(inputs: Mapping[str, InputInfo], outputs: Sequence[str]) -> list[Variable]:
    """List what is counted of rows with these inputs and scores."""
    listed = []
    for name, info in inputs.items():
        listed += [Variable(FEATURE, name, feature) for feature in info.features]
        if info.length is not None:
            listed.append(Variable(LENGTH, name, ""))
    return [*listed, *(Variable(SCORE, "", output) for output in outputs)]


def values_of(
    rows: RowValues, inputs: Mapping[str, InputInfo], outputs: Sequence[str]
) -> Iterator[tuple[Variable, np.ndarray, np.ndarray | None]]:
    """Yield the values, (M,), of each variable, and the row of each; None where there is one for each row."""
    for name, info in inputs.items():
        features, row = rows.tensors[name], None
        if info.length is not None:
            valid = rows.tensors[f"{name}_mask"] > 0
            row = np.nonzero(valid)[0]
            features = features[valid]
        for number, feature in enumerate(info.features):
            yield Variable(FEATURE, name, feature), features[:, number], row
        if info.length is not None:
            yield Variable(LENGTH, name, ""), valid.sum(axis=1).astype(np.float32), None
    for number, output in enumerate(outputs):
        yield Variable(SCORE, "", output), rows.scores[:, number], None


def plain_name(label: str) -> str:
    """Turn what people read into what files may be called."""
    return re.sub(r"\W+", "_", label).strip("_") or "variable"


def plain_names(labels: Iterable[str]) -> dict[str, str]:
    """Give each of several labels a :func:`plain_name` of its own: ``Jet.pt`` and ``Jet_pt`` would share one."""
    names: dict[str, str] = {}
    for label in labels:
        plain = plain_name(label)
        taken = {name.lower() for name in names.values()}
        numbered = (plain if n == 1 else f"{plain}_{n}" for n in range(1, len(taken) + 2))
        names[label] = next(name for name in numbered if name.lower() not in taken)
    return names


def file_names(variables: Iterable[Variable]) -> dict[Variable, str]:
    """Give every variable a name that files may have."""
    variables = list(variables)
    names = plain_names(variable.label for variable in variables)
    return {variable: names[variable.label] for variable in variables}
