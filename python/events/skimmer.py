"""Chooses events and branches of one input, for a skim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace

import numpy as np

from ..config.schema import Analysis
from ..errors import UserError
from ..provenance import Ledger
from .branches import KeepList, layout, values
from .columns import Branch, Chunk, Column, collection_name, offsets_of
from .frame import Schema
from .reader import EventFile
from .selection import Selection
from .view import view


class Skimmer:
    """Chooses events and branches of one input.

    As in the conversion, everything that can be wrong with the expressions is found before the first event is read.

    Parameters
    ----------
    analysis, sample
        The analysis and the name of the sample.
    file
        The opened input.

    Attributes
    ----------
    branches
        The branches of the output.
    unwritable, idle
        See :class:`..stages.skim.Record`.
    defaults
        What the analysis lets stand for columns that the file lacks.
    """

    def __init__(self, analysis: Analysis, sample: str, file: EventFile) -> None:
        block = analysis.samples[sample]
        self._analysis, stored = analysis, file
        self._file = file = view(stored, analysis)
        self.defaults = file.filled
        self._selection = Selection(analysis, block, file, {**analysis.cuts("skim"), **block.select})
        self._kept = kept = KeepList(analysis.skim.keep)
        self.idle = kept.idle(self._selection.known)
        self._selection.restrict({name for name in analysis.define if kept(name)})
        needed = self._selection.columns()
        self._needed = [name for name in file.branches if name in needed]
        self._schema = Schema(file.path, file.branches, self._needed)
        defined = self._try_out()
        changed = next((name for name in defined if name in file.branches and kept(name)), None)
        if changed is not None:
            raise UserError(
                f"define.{changed}: changes a branch of the file, and what reads the skim would change it once more: "
                "define it under another name"
            )
        self._defined = {name: branch for name, branch in defined.items() if kept(name)}
        self._lay_out(stored)

    def for_file(self, stored: EventFile) -> Skimmer | None:
        """Return that of another input of the sample; None where its columns differ."""
        file = view(stored, self._analysis)
        if list(file.branches) != list(self._file.branches) or file.filled != self.defaults:
            return None
        schema = self._schema.for_file(file.path, file.branches)
        if schema is None:
            return None
        other = copy(self)
        other._file, other._schema, other._selection = file, schema, self._selection.for_file(file)
        other._lay_out(stored)
        return other

    def _lay_out(self, stored: EventFile) -> None:
        """Settle the branches of the output: those of the input, then the defined ones."""
        stored_branches, self.unwritable = layout(stored, self._kept)
        self._copied = values(stored_branches)
        appended = [self._counted(branch, stored_branches) for branch in self._defined.values()]
        counters = {b.counter for b in appended if b.jagged}
        self.branches = [*stored_branches, *(b for b in appended if b.name not in counters)]
        if not self.branches:
            raise UserError("skim.keep: no branch is left")

    def _try_out(self) -> dict[str, Branch]:
        """Run once on made-up events; return the description of the defined columns."""
        frame = self._selection.frame(self._schema, self._schema.probe())
        _, row_cuts = self._selection.events(frame, Ledger("events"))
        if row_cuts:
            raise UserError(
                f"select.{next(iter(row_cuts))}: gives one value per {self._selection.row}, but a skim chooses events: "
                "give it cuts of its own, select_for: {skim: {...}}"
            )
        hollow = self._selection.frame(self._schema, self._schema.empty(1))
        defined = {}
        for name, expression in self._selection.defines.items():
            column = frame.columns[name]
            dtype = _storable(column.content.dtype, hollow.columns[name].content.dtype)
            owner = frame.owner[name]
            defined[name] = Branch(name, dtype, column.offsets is not None, f"n{owner}", expression.text)
        return defined

    def _counted(self, branch: Branch, stored_branches: Sequence[Branch]) -> Branch:
        """Give a defined list the counter of its collection."""
        members = (
            b for b in stored_branches if b.jagged and f"n{collection_name(b, self._file.branches)}" == branch.counter
        )
        counter = next((b.counter for b in members), branch.counter)
        return replace(branch, counter=counter if branch.jagged else None)

    def chunks(self, ledger: Ledger) -> Iterator[tuple[int, int, dict[str, Column]]]:
        """Read the input once.

        Yields
        ------
        tuple
            How many events are kept, how many were read, and the columns of those that are kept.
        """
        names = {*self._needed, *self._copied}
        for chunk in self._file.chunks([name for name in self._file.branches if name in names]):
            part = Chunk(chunk.start, chunk.size, {name: chunk.columns[name] for name in self._needed})
            frame = self._selection.frame(self._schema, part)
            events, _ = self._selection.events(frame, ledger)
            columns = {name: chunk.columns[name] for name in self._copied}
            for name, branch in self._defined.items():
                column = frame.columns[name]
                self._check_counter(name, branch, frame.columns)
                columns[name] = Column([column.content.astype(branch.dtype)], column.offsets)
            yield len(events), chunk.size, _take(columns, events, chunk.size)

    def _check_counter(self, name: str, branch: Branch, columns: Mapping[str, Column]) -> None:
        """Refuse a defined counter that is not the number of elements of the lists that it would count."""
        counter = self._defined.get(str(branch.counter)) if branch.jagged else None
        if counter is None:
            return
        number, offsets = columns[counter.name], columns[name].offsets
        if offsets is None or number.offsets is not None or not np.array_equal(number.content, np.diff(offsets)):
            raise UserError(
                f"define.{counter.name}: counts the lists of {name}, but {counter.title!r} is not their length: "
                "leave it out (it is written with them), or give it another name"
            )


def _storable(dtype: np.dtype, hollow: np.dtype) -> np.dtype:
    """Return the type that a defined column is stored in.

    ``hollow`` is its type in events without objects: a float where an integer is missing there, since it becomes NaN.
    """
    common = dtype if dtype.kind in ("f", hollow.kind) else np.result_type(dtype, hollow)
    return np.result_type(common, np.float32) if common == np.float16 else common


def _take(columns: Mapping[str, Column], events: np.ndarray, size: int) -> dict[str, Column]:
    """Return the columns of chosen events out of ``size``; lists with common offsets still have them in common."""
    if len(events) == size:
        return dict(columns)
    mask = np.zeros(size, dtype=bool)
    mask[events] = True
    chosen: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    taken = {}
    for name, column in columns.items():
        if column.offsets is None:
            taken[name] = column.where(mask)
            continue
        if id(column.offsets) not in chosen:
            counts = np.diff(column.offsets)
            chosen[id(column.offsets)] = np.repeat(mask, counts), offsets_of(counts[mask])
        taken[name] = column.where(*chosen[id(column.offsets)])
    return taken
