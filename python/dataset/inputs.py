"""The inputs of the model: features of table rows, and of their constituents, padded to one length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..config.inputs import Input
from ..errors import FileError, UserError, nearest
from ..events.columns import collection_name
from ..events.expressions import Expression
from ..events.frame import PAIR_VARIABLES, Frame, Level, resolver
from ..events.operations import delta_phi, delta_r
from ..events.reader import EventFile
from ..events.selection import condition
from . import kernels
from .images import Drawings, HitPositions, count_kept, find_seeds

Parser = Callable[[str, str], Expression]


@dataclass
class ChosenRows:
    """The chosen rows of a chunk: positions among all rows of the chunk, and their events; both (N,) i8."""

    positions: np.ndarray
    events: np.ndarray


class InputBuilder:
    """Fills one input for the chosen rows of a chunk.

    Parameters
    ----------
    inputs, name
        All inputs, as in the analysis file, and the name of this one.
    row
        The collection whose objects are the rows; None where rows are events.
    parse
        Parses the text of an expression, given the key it stands at.
    file
        Where the columns come from.
    columns
        Names of the file's columns and of the defined ones.
    """

    def __init__(
        self,
        inputs: Mapping[str, Input],
        name: str,
        row: str | None,
        parse: Parser,
        file: EventFile,
        columns: Iterable[str],
    ) -> None:
        where = f"inputs.{name}"
        self.name = name
        self.block = block = inputs[name]
        self._hits = None if block.image is None else HitPositions(inputs, name, row, parse)
        self._row = row
        self._features = [parse(e, f"{where}.{block.feature_key(n)}") for n, e in block.feature_expressions.items()]
        self._where, self._sort, self._match = (
            None if text is None else parse(text, f"{where}.{key}")
            for key, text in (("where", block.where), ("sort", block.sort), ("match", block.match))
        )
        if (block.match or block.index) and block.collection == row:
            raise UserError(f"{where}: objects of {row} cannot be attached to rows of {row} itself")
        self._resolve = resolver(columns, [p for p in (block.collection or row,) if p], where, file.path)
        self._resolve_row = resolver(columns, [row] if row else [], f"{where}.image.around", file.path)
        self._attachment = block.collection, block.index, block.match, self._hits is not None
        self._buffers: dict[str, np.ndarray] = {}
        self._finite = True

    def fresh(self) -> InputBuilder:
        """Return the same with buffers of its own."""
        other = copy(self)
        other._buffers = {}
        return other

    def columns(self) -> set[str]:
        """Return the columns that the input needs."""
        optional = [e for e in (self._where, self._sort, self._match) if e is not None]
        names = {n for e in (*self._features, *optional) for n in e.names}
        if self._match:
            names -= set(PAIR_VARIABLES)
            names |= {f"{c}_{v}" for c in (self.block.collection, self._row) for v in ("eta", "phi")}
        if self.block.index:
            names.add(self.block.index)
        around = self._hits.around if self._hits else ()
        return {self._resolve(n) for n in names} | {self._resolve_row(n) for e in around for n in e.names}

    @property
    def has_grid(self) -> bool:
        """Whether others may be drawn onto this, which has to be built before them."""
        return self.block.image is None or self.block.image.onto is None

    def build(self, frame: Frame, rows: ChosenRows, level: Level, drawings: Drawings) -> Any:
        """Return features (N, F) f4, or (features (N, L, F) f4, valid (N, L) bool), in buffers that are used again.

        ``level`` is where the rows' own values live. Values that mean "not there" (``missing``) are NaN. What images of
        a chunk share is in ``drawings``.
        """
        if self.block.collection is None:
            values = self._values(frame, level)
            out = self._buffer("out", (len(rows.positions), len(self._features)))
            np.take(values.T, rows.positions, axis=0, out=out, mode="clip")
            self._finite = bool(np.isfinite(out).all())
            return out
        if self._attachment not in drawings.constituents:
            drawings.constituents[self._attachment] = self._constituents(frame, rows)
        constituents = indices, starts, stops = drawings.constituents[self._attachment]
        values = self._values(frame, indices)
        length = self.block.length or 0
        out = self._buffer("out", (len(rows.positions), length, len(self._features)))
        valid = self._buffer("valid", (len(rows.positions), length), bool)
        if self._hits is None:
            keep = self._kept(frame, indices)
        else:
            keep = self._place(self._hits, frame, (rows, level), constituents, values, drawings)
        key = self._key(frame, indices, values)
        if keep is None and key is None:
            self._finite = kernels.pad(values, starts, stops, out, valid)
            return out, valid
        keep = np.ones(indices.size, dtype=bool) if keep is None else keep
        if key is None:
            picks = kernels.choose(starts, stops, keep, length)
        else:
            picks = kernels.choose_sorted(starts, stops, keep, key, length)
        self._finite = kernels.pad_picked(values, picks, out, valid)
        return out, valid

    def _place(
        self,
        positions: HitPositions,
        frame: Frame,
        rows_level: tuple[ChosenRows, Level],
        constituents: tuple[Level, np.ndarray, np.ndarray],
        values: np.ndarray,
        drawings: Drawings,
    ) -> np.ndarray:
        """Let the positions of hits be those on the images of their rows; returns which hits are there, bool."""
        (rows, level), (indices, starts, stops) = rows_level, constituents
        kept = self._kept(frame, indices)
        keep = np.ones(indices.size, dtype=bool) if kept is None else kept.copy()
        before = count_kept(starts, stops, keep)
        angles = positions.eta, positions.phi
        key = *self._attachment, *(e.text for e in angles)
        if key not in drawings.angles:
            eta, phi = (frame.values(e, self._resolve, indices).astype(np.float64) for e in angles)
            drawings.angles[key] = eta, phi
        eta, phi = drawings.angles[key]
        if positions.grid == self.name:
            seeds = find_seeds(values[2], starts, stops, keep)
            around = [frame.values(e, self._resolve_row, level)[rows.positions] for e in positions.around]
            drawings.centers[self.name] = positions.centers(around, (eta, phi), seeds)
        positions.place((eta, phi), (starts, stops), drawings.centers[positions.grid], values[:2], keep)
        drawings.count(self.name, before, count_kept(starts, stops, keep), self.block.length or 0)
        return keep

    def _key(self, frame: Frame, level: Level, values: np.ndarray) -> np.ndarray | None:
        """Return what constituents are sorted by, ascending: those of an image by falling first channel."""
        if self._sort is not None:
            return frame.values(self._sort, self._resolve, level).astype(np.float64)
        return None if self._hits is None else -values[2].astype(np.float64)

    def mend(self, values: Any) -> tuple[int, str] | None:
        """Apply the policy for NaN and infinities to what :meth:`build` returned last, in place.

        Returns
        -------
        tuple
            Row and name of a feature that is an error; None where there is none.
        """
        if self._finite:
            return None
        features, valid = split_input(values)
        if self.block.replacement is None or self._hits is not None:
            needed = features if self.block.replacement is None else features[:, :, :2]  # nothing replaces a position
            row, feature = kernels.first_bad(needed)
            if row >= 0:
                return row, self.block.feature_names[feature]
        np.copyto(features, np.float32(self.block.replacement), where=~np.isfinite(features) & valid[:, :, np.newaxis])
        return None

    def clear(self, values: Any) -> np.ndarray | None:
        """Set what :meth:`mend` would refuse to 0, in place; returns where that was, (N, L, F) bool, None for nowhere.

        Of an image that says what NaN become, only positions are refused.
        """
        if self._finite or (self.block.replacement is not None and self._hits is None):
            return None
        features, valid = split_input(values)
        wrong = ~np.isfinite(features) & valid[:, :, np.newaxis]
        if self.block.replacement is not None:
            wrong[:, :, 2:] = False
        features[wrong] = 0
        return wrong if wrong.any() else None

    def _values(self, frame: Frame, level: Level) -> np.ndarray:
        """Evaluate the features, (F, level.size) f4; of hits not the first two, which are where they are placed."""
        values = self._buffer("values", (len(self._features), level.size))
        for i, expression in enumerate(self._features):
            if self._hits is None or i > 1:
                frame.copy(expression, self._resolve, level, values[i])
        if self.block.missing:
            values[np.isin(values, np.array(self.block.missing, dtype=np.float32))] = np.nan
        return values

    def _kept(self, frame: Frame, level: Level) -> np.ndarray | None:
        conditions = [e for e in (self._match, self._where) if e is not None]
        masks = [condition(frame.values(e, self._resolve, level), e, frame.schema.path) for e in conditions]
        return np.logical_and.reduce(masks) if masks else None

    def _constituents(self, frame: Frame, rows: ChosenRows) -> tuple[Level, np.ndarray, np.ndarray]:
        """Return where constituents' values live, and the (N,) bounds of every row's constituents there."""
        collection = str(self.block.collection)
        offsets = frame.offsets(collection)
        shared = self._hits is None or self._row is None  # a hit has another position on the image of each row
        if self._match is None and self.block.index is None and shared:
            return frame.object_level(collection), offsets[rows.events], offsets[rows.events + 1]
        row = str(self._row)
        if self.block.index is not None:
            index = self._positions(frame, collection, row)
            pairs, owners, items = kernels.index_pairs(frame.offsets(row), offsets, index, rows.positions)
        else:
            pairs, owners, items = kernels.match_pairs(offsets, rows.positions, rows.events)
        events = np.searchsorted(frame.offsets(row), owners, side="right") - 1
        level = Level(f"pair of {row} and {collection}", len(items), events, {row: owners, collection: items})
        if self._match is not None:
            level.extra = _separation(frame, level, row, collection)
        return level, pairs[:-1], pairs[1:]

    def _positions(self, frame: Frame, collection: str, row: str) -> np.ndarray:
        """Return for every constituent the position of its row within the event, from the index branch."""
        name = self._resolve(str(self.block.index))
        values = frame.columns[name].content
        branch = frame.schema.branches.get(name)
        kind = (values.dtype if branch is None or branch.dtype is None else branch.dtype).kind
        if frame.owner[name] != collection or kind not in "iu":
            raise UserError(
                f"inputs.{self.name}.index: {name} has to hold, for every {collection}, the position of its {row}: "
                f"an integer column of {collection}"
            )
        return values.astype(np.int64)

    def _buffer(self, key: str, shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
        """Return an uninitialised array that serves every chunk: fresh pages cost more than the copy itself."""
        size = int(np.prod(shape))
        buffer = self._buffers.get(key)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[key] = np.empty(int(size * 1.1) + 16, dtype)
        return buffer[:size].reshape(shape)


def representative(collection: str, file: EventFile, defined: Iterable[str], where: str) -> str:
    """Find a column whose lists tell how many objects of a collection each event has."""
    prefix = f"{collection}_"
    for name in (n for n in file.branches if n.startswith(prefix)):
        branch = file.branches[name]
        if branch.jagged and branch.dtype is not None and collection_name(branch, file.branches) == collection:
            return name
    derived = next((n for n in defined if n.startswith(prefix)), None)
    if derived is None:
        prefixes = sorted({b.name.split("_")[0] for b in file.branches.values() if b.jagged})
        raise FileError(
            file.path, f"{where}: no collection {collection!r}{nearest(collection, prefixes)}", mistake=True
        )
    return derived


def split_input(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """View an input as features (N, L, F) and validity (N, L); a row's own features are its only constituent."""
    if isinstance(values, tuple):
        return values
    return values[:, np.newaxis, :], np.ones((len(values), 1), dtype=bool)


def _separation(frame: Frame, level: Level, row: str, collection: str) -> dict[str, np.ndarray]:
    """Compute the distance of row and constituent in every pair, as the functions of expressions do."""
    value = {
        (c, v): frame.columns[f"{c}_{v}"].content[level.objects[c]] for c in (row, collection) for v in ("eta", "phi")
    }
    eta, phi = ((value[collection, v], value[row, v]) for v in ("eta", "phi"))
    return {
        "delta_r": delta_r(eta[0], phi[0], eta[1], phi[1]),
        "delta_eta": eta[0] - eta[1],
        "delta_phi": delta_phi(*phi),
    }
