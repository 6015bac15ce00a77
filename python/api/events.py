"""Events of a file as arrays: columns, and expressions of the analysis file's language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from ..config.schema import REDIRECTORS
from ..events.columns import Branch, Chunk
from ..events.expressions import Expression, parse
from ..events.frame import resolver
from ..events.open import open_events as open_file


class Events:
    """The events of a file; use it as a context manager, or :meth:`close` it.

    Parameters
    ----------
    path
        A ROOT, Parquet, CSV or JSON file, an address (``root://...``), or a logical name (``/store/...``).
    tree
        The TTree or RNTuple.
    redirectors
        Where files with logical names are.

    Raises
    ------
    FileError
        When the file is missing, broken, or without the tree.

    Examples
    --------
    >>> with nanoforge.open_events("data/ttbar.root") as events:  # doctest: +SKIP
    ...     ht = events.arrays({"ht": "sum(Jet_pt[Jet_pt > 30])"})["ht"]
    """

    def __init__(self, path: str | Path, tree: str = "Events", *, redirectors: Sequence[str] = REDIRECTORS) -> None:
        self._file = open_file(str(path), tree, redirectors)

    @property
    def columns(self) -> Mapping[str, Branch]:
        """Description of every column by name: dtype, whether it is jagged, its counter, its title."""
        return self._file.branches

    def __len__(self) -> int:
        if self._file.entries is None:
            return sum(chunk.size for chunk in self._file.chunks([]))
        return self._file.entries

    def arrays(
        self, expressions: str | Sequence[str] | Mapping[str, str], *, within: tuple[int, int] | None = None
    ) -> ak.Array:
        """Read columns and expressions.

        Parameters
        ----------
        expressions
            Columns or expressions, e.g. ``["MET_pt", "sum(Jet_pt)"]``, or by the name that they get.
        within
            First entry and the one after the last; by default all.

        Returns
        -------
        awkward.Array
            N records with a field per expression: numbers, or lists where the expression has one per object.

        Raises
        ------
        ExpressionError, UserError
            When an expression is wrong, or asks for a column that is not there.
        """
        if isinstance(expressions, str):
            expressions = [expressions]
        named = expressions if isinstance(expressions, Mapping) else {text: text for text in expressions}
        parsed = {name: parse(text, name) for name, text in named.items()}
        needed: set[str] = set()
        for name, expression in parsed.items():
            needed |= set(map(resolver(self.columns, [], name, self._file.path), expression.names))
        parts = [self._evaluated(parsed, chunk) for chunk in self._file.chunks(sorted(needed), within=within)]
        if not parts:
            return ak.Array({name: np.empty(0) for name in parsed})
        return ak.zip({name: ak.concatenate([part[name] for part in parts]) for name in parsed}, depth_limit=1)

    @staticmethod
    def _evaluated(parsed: Mapping[str, Expression], chunk: Chunk) -> dict[str, Any]:
        columns = {name: column.array for name, column in chunk.columns.items()}
        values = {name: expression.evaluate(columns) for name, expression in parsed.items()}
        return {name: v if hasattr(v, "__len__") else np.full(chunk.size, v) for name, v in values.items()}

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def __enter__(self) -> Events:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()
