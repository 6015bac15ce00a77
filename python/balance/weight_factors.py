"""The factors of ``training.balance``: on negative weights, on the bins of a distribution, and on whole classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config.balance import Shape
from ..errors import DataError, UserError
from ..provenance.manifest import write_atomically

FILE = "balance.json"
"""Where a run keeps them, fold by fold."""
ALL_ROWS = "all"
"""The name of the only class of a regression."""
_ARRAYS = {"content": "content", "signs": "signs", "shape": "shape", "slab_sums": "draws"}
"""The arrays, and what they are called in the file."""


@dataclass(frozen=True, eq=False)
class WeightFactors:
    """The factors on the weights of the training rows of one fold, and the distributions that they were found from.

    The B cells of a reweighting are the bins of all variables, those of the last one beside each other, and then one
    for the rows in which a variable is NaN, which keep their weights. Without a reweighting there is one cell.

    Attributes
    ----------
    classes
        Names of the C classes; a regression has one, "all".
    edges
        Of the bins of each variable.
    content
        Rows, Σw and Σw² in each cell of weights that are not negative and of negative ones, (3, 2, C, B).
    signs
        Factor on weights of either sign, with that of the class, (2, C).
    shape
        Factor of the reweighting, (C, B).
    slab_sums
        Where rows are drawn in place of a reweighting: sum of its factors over the rows of each slab, (S,); else empty.
    """

    classes: tuple[str, ...]
    edges: dict[str, list[float]]
    content: np.ndarray
    signs: np.ndarray
    shape: np.ndarray
    slab_sums: np.ndarray

    @property
    def whole(self) -> np.ndarray:
        """All factors, (2, C, B), on weights that are not negative and on negative ones."""
        return np.asarray(self.signs[:, :, np.newaxis] * self.shape)

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        names = {"classes": self.classes, "edges": self.edges}
        write_atomically(
            path, json.dumps(names | {key: getattr(self, name).tolist() for name, key in _ARRAYS.items()}) + "\n"
        )

    @classmethod
    def read(cls, path: Path) -> WeightFactors:
        """Read what :meth:`write` wrote.

        Raises
        ------
        DataError
            When the file is missing or broken.
        """
        try:
            content = json.loads(path.read_text())
            arrays = {name: np.array(content[key]) for name, key in _ARRAYS.items()}
            return cls(tuple(content["classes"]), content["edges"], **arrays)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: cannot be read ({error}): run 'nanoforge train' again") from None


def sign_factors(negative: str, classes: Sequence[str], sums: np.ndarray) -> np.ndarray:
    """Return the factors on weights that are not negative and on negative ones, (2, C).

    Parameters
    ----------
    negative
        "keep"; "absolute": |w|; "drop": 0 for the negative ones; "rescale": |w| with the sum of the class as it was.
    classes
        Names of the C classes.
    sums
        Sum of the weights of either sign, (2, C).

    Raises
    ------
    UserError
        When the sum of a class cannot be kept without negative weights.
    """
    ones = np.ones(len(classes))
    if negative == "rescale":
        for name, total in zip(classes, sums.sum(axis=0)):
            if not total > 0:
                raise UserError(
                    f"training.balance.negative: the weights of class {name!r} sum to {total:g} in the training part, "
                    "and those of absolute values cannot: use 'absolute' or 'drop', or more events"
                )
        kept = sums.sum(axis=0) / np.abs(sums).sum(axis=0)
        return np.stack([kept, -kept])
    return np.stack([ones, {"keep": ones, "absolute": -ones, "drop": 0 * ones}[negative]])


def check_sum(name: str, total: float) -> None:
    """Refuse a class whose weights do not sum to something positive: the worse it is classified, the less its loss.

    Raises
    ------
    UserError
        With the class and the sum of its weights.
    """
    if not total > 0:
        remedy = (
            "set training.balance.negative to 'absolute', or use more events"
            if total < 0
            else "correct 'weight' (or 'weight' of its samples); training.balance.negative may have dropped them"
        )
        of_class = "" if name == ALL_ROWS else f" of class {name!r}"
        raise UserError(f"the weights{of_class} sum to {total:g} in the training part, which teaches nothing: {remedy}")


def shape_factors(shape: Shape, classes: Sequence[str], sums: np.ndarray) -> np.ndarray:
    """Return the factors that change the distributions of the classes and keep their sums of weights, (C, B).

    A cell whose weights do not sum to something positive gets the factor 0, and so does one that the reference lacks.

    Parameters
    ----------
    shape
        The block ``training.balance.shape``.
    classes
        Names of the C classes.
    sums
        Sum of weights in each of B cells, (C, B).

    Raises
    ------
    UserError
        When nothing of a class would be left.
    """
    held = np.maximum(sums, 0.0)
    target = (held > 0) if shape.to == "flat" else np.broadcast_to(held[list(classes).index(shape.to)], held.shape)
    factors = np.divide(target, held, out=np.zeros_like(held), where=held > 0)
    for name, before, after in zip(classes, sums.sum(axis=1), (factors * held).sum(axis=1)):
        if not (before > 0 and after > 0):
            raise UserError(
                f"training.balance.shape: class {name!r} has no bin of positive weight"
                + (f" where {shape.to!r} has one" if shape.to != "flat" else "")
                + " in the training part: use other bins, or more events"
            )
    factors = _sums_kept(factors, held, sums)
    return factors if shape.cap is None else _sums_kept(np.minimum(factors, shape.cap), held, sums)


def _sums_kept(factors: np.ndarray, held: np.ndarray, sums: np.ndarray) -> np.ndarray:
    return np.asarray(factors * (sums.sum(axis=1) / (factors * held).sum(axis=1))[:, np.newaxis])


def class_factors(
    balance: str, normalise: str, classes: Sequence[str], counts: np.ndarray, sums: np.ndarray
) -> np.ndarray:
    """Return the factor on the weights of each class, (C,), so that the classes count equally.

    Parameters
    ----------
    balance
        "none"; "counts": N / (C · N_class); "weights": Σw / (C · Σw_class).
    normalise
        "mean" for just that, or "min": all are divided by the smallest.
    classes
        Names of the C classes.
    counts, sums
        Events and sum of weights per class in the training part, (C,).

    Raises
    ------
    UserError
        When a class has no events, or weights that do not sum to something positive.
    """
    for name, count, total in zip(classes, counts, sums):
        if count == 0:
            raise UserError(
                f"class {name!r} has no events in the training part: check its condition under target.classes, the "
                "samples and the cuts (select), and run 'nanoforge convert' again"
            )
        check_sum(name, total)
    if balance == "none":
        return np.ones(len(classes))
    size = counts if balance == "counts" else sums
    factors = np.asarray(size.sum() / (len(classes) * size))
    return factors / factors.min() if normalise == "min" else factors
