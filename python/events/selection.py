"""Which events of a file an analysis takes: its own functions, defined columns, named cuts and the lumi mask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy

import numpy as np

from ..config.schema import Analysis, Sample
from ..errors import UserError
from ..provenance import Ledger, WeightSums
from .columns import Chunk
from .expressions import Expression, load_functions, parse
from .frame import LABEL, Frame, Resolver, Schema, resolver
from .identity import lumi_columns
from .lumi import LumiMask
from .reader import EventFile

GOLDEN_JSON = "golden_json"


class Selection:
    """Defines columns and applies cuts, chunk by chunk, on the events of one file.

    Parameters
    ----------
    analysis
        The analysis file.
    sample
        The sample the file belongs to; None for files of any origin.
    file
        The opened file.
    cuts
        The named cuts to apply.

    Attributes
    ----------
    row
        The collection whose objects are the table's rows; None where rows are events.
    known
        Names of the file's columns and of the defined ones.
    defines
        The defined columns, in order.
    """

    def __init__(self, analysis: Analysis, sample: Sample | None, file: EventFile, cuts: Mapping[str, str]) -> None:
        self._path = file.path
        self._label = sample.label if sample else None
        self._mask = LumiMask(analysis.golden_json) if sample and sample.data and analysis.golden_json else None
        self._lumi_columns = lumi_columns(analysis.identity_columns) if self._mask is not None else ()
        self._functions = load_functions(analysis.functions, "functions")
        self.row = analysis.row if analysis.row != "event" else None
        self.known = {*file.branches, *analysis.define}
        self.defines = self.parse_each(analysis.define, "define")
        self._cuts = self.parse_each(cuts, "select")

    def for_file(self, file: EventFile) -> Selection:
        """Return the same for another file with the same columns."""
        other = copy(self)
        other._path = file.path
        return other

    def parse(self, text: str, where: str) -> Expression:
        """Parse an expression that stands at the key ``where``; the user's functions are known to it."""
        return parse(text, where, self._functions)

    def parse_each(self, block: Mapping[str, str], where: str) -> dict[str, Expression]:
        """Parse the expressions of a block of the analysis file."""
        return {name: self.parse(text, f"{where}.{name}") for name, text in block.items()}

    def resolver(self, where: str) -> Resolver:
        """Make the function that finds the columns of an expression at the key ``where``."""
        return resolver(self.known, [self.row] if self.row else [], where, self._path)

    def columns_of(self, expressions: Iterable[Expression]) -> set[str]:
        """Return the columns that expressions need."""
        columns: set[str] = set()
        for expression in expressions:
            resolve = self.resolver(expression.where)
            columns |= {resolve(n) for n in expression.names if n != LABEL or self._label is None}
        return columns

    def restrict(self, columns: set[str]) -> None:
        """Drop the definitions that neither cuts nor wanted columns need: a file need not have what is unused."""
        columns = columns | self.columns_of(self._cuts.values())
        kept: dict[str, Expression] = {}
        for name, expression in reversed(self.defines.items()):
            if name in columns:
                kept[name] = expression
                columns |= self.columns_of([expression])
        self.defines = dict(reversed(kept.items()))

    def columns(self) -> set[str]:
        """Return the columns that definitions, cuts and lumi mask need."""
        resolve = self.resolver(GOLDEN_JSON)
        return self.columns_of([*self.defines.values(), *self._cuts.values()]) | {
            resolve(n) for n in self._lumi_columns
        }

    def frame(self, schema: Schema, chunk: Chunk) -> Frame:
        """Put the defined columns on top of a chunk."""
        frame = Frame(schema, chunk, self._label)
        for name, expression in self.defines.items():
            frame.define(name, expression, self.resolver(expression.where))
        return frame

    def events(
        self, frame: Frame, ledger: Ledger, weights: np.ndarray | None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Apply the lumi mask and the cuts on events, in order, and book them, and their weights, (n,) f8, if given.

        Returns
        -------
        tuple
            Positions (n,) i8 of the events that pass, and the cuts on rows: (rows of the chunk,) bool each.
        """
        events = np.arange(frame.size)
        ledger.read += frame.size
        if weights is not None:
            ledger.weights = ledger.weights or WeightSums()
            ledger.weights.read += float(weights.sum())
        if self._mask is not None:
            run, section = (frame.columns[name].content for name in self._lumi_columns)
            events = cut(ledger, GOLDEN_JSON, events, self._mask(run, section), weights)
        row_cuts: dict[str, np.ndarray] = {}
        for name, expression in self._cuts.items():
            column, owner = frame.evaluate(expression, self.resolver(expression.where))
            passed = condition(column.content, expression, self._path)
            if owner is None:
                events = cut(ledger, name, events, passed, weights)
            elif owner == self.row:
                row_cuts[name] = passed
            else:
                raise UserError(_cut_depth(expression, owner, self.row))
        use(ledger, events, weights)
        return events, row_cuts


def condition(values: np.ndarray, expression: Expression, path: str) -> np.ndarray:
    """Check that an expression gave a condition; its columns may have another type in other files."""
    if values.dtype.kind != "b":
        remedy = f", say {expression.text} != 0" if expression.text in expression.names else ""
        raise UserError(
            f"{expression.where}: {expression.text!r} is a number, not a condition: compare it{remedy} ({path} has "
            f"{values.dtype} there)"
        )
    return values


def cut(
    ledger: Ledger, name: str, indices: np.ndarray, passed: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return those of the places that pass, and book the others, and the weights of all places, as rejected."""
    passes = passed[indices]
    kept = indices[passes]
    ledger.reject(name, len(indices) - len(kept))
    if weights is not None and ledger.weights is not None:
        ledger.weights.reject(name, float(weights[indices[~passes]].sum()))
    return kept


def use(ledger: Ledger, indices: np.ndarray, weights: np.ndarray | None) -> None:
    """Book the places that passed all cuts."""
    ledger.used += len(indices)
    if weights is not None and ledger.weights is not None:
        ledger.weights.used += float(weights[indices].sum())


def _cut_depth(expression: Expression, owner: str, row: str | None) -> str:
    unit = f"per event or per {row}" if row else "per event"
    return (
        f"{expression.where}: {expression.text!r} gives one value per {owner or 'list element'}, but a cut needs one "
        f"{unit}: wrap it in any(), all() or num(...) >= 1"
    )
