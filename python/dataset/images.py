"""Where hits are on the images of their rows: positions from the middle, moved to the middle of the cells they fill.

The image itself is drawn inside the model (``models.raster``). Since a position stands half a pixel from the edges of
its cell, no rounding to float32 on the way moves a hit across one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..compiled import jit
from ..config.grids import cell_of, grid_of
from ..config.images import Image
from ..errors import UserError
from ..provenance.accounting import Accounting, HitLedger
from .info import ImageInfo, InputInfo

if TYPE_CHECKING:
    from ..config.inputs import Input
    from ..events.expressions import Expression
    from ..events.frame import Level

_MANY_ROWS = 10_000  # after so many it is clear that no hit will be on an image


@dataclass
class Centers:
    """The middles of the images of rows: eta and phi, each (N,) f8, and which rows have one, (N,) bool.

    A row without a hit to be the seed has none, and nothing is drawn on its image.
    """

    eta: np.ndarray
    phi: np.ndarray
    present: np.ndarray


@dataclass(frozen=True)
class Geometry:
    """Where the hits of an input are on its images, in pixels; all (2,), of eta and phi.

    Attributes
    ----------
    pixel, size, cell
        As in :class:`~.info.ImageInfo`.
    middle
        Where the middle is.
    circular
        Whether the columns are the whole circle.
    middle_eta
        What the middle's eta is for all rows, whose phi is 0 then; None where rows have middles of their own.
    """

    pixel: np.ndarray
    size: np.ndarray
    cell: np.ndarray
    middle: np.ndarray
    circular: bool
    middle_eta: float | None


@dataclass
class Drawings:
    """What the inputs of a chunk share.

    Attributes
    ----------
    accounting
        Of hits, by input.
    centers
        The middles of images with a grid, by input.
    constituents
        Where the values of constituents live, and the (N,) bounds of every row's, by collection and how it is attached.
    angles
        Eta and phi of those, f8, by the same and their expressions.
    """

    accounting: Accounting
    centers: dict[str, Centers] = field(default_factory=dict)
    constituents: dict[Hashable, tuple[Level, np.ndarray, np.ndarray]] = field(default_factory=dict)
    angles: dict[Hashable, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def count(self, name: str, hits: np.ndarray, drawn: np.ndarray, length: int) -> None:
        """Book the hits of rows, (N,) each: those that count, and those on the image, of which ``length`` are kept.

        Raises
        ------
        UserError
            When none of very many is on its image.
        """
        ledger = self.accounting.hits.setdefault(name, HitLedger(f"{name} hits"))
        ledger.read += int(hits.sum())
        ledger.reject("image (outside of it)", int((hits - drawn).sum()))
        ledger.reject("length", int(np.maximum(drawn - length, 0).sum()))
        ledger.used += int(np.minimum(drawn, length).sum())
        ledger.rows += len(hits)
        ledger.empty += int((drawn == 0).sum())
        ledger.overfull += int((drawn > length).sum())
        if ledger.rows >= _MANY_ROWS:
            check_drawn(name, ledger)


def check_drawn(name: str, ledger: HitLedger) -> None:
    """Raise a :class:`UserError` when there are hits, and none is on its image."""
    if ledger.read and not ledger.used:
        raise UserError(
            f"inputs.{name}.image: no hit of {ledger.rows:,} rows lies on the image: is phi in degrees, or the middle "
            "('around') elsewhere?"
        )


class HitPositions:
    """Says where the hits of an input are on its images.

    Parameters
    ----------
    inputs
        All inputs of the analysis.
    name
        The input, which has an image.
    row
        The collection whose objects are the rows; None where rows are events.
    parse
        Parses the text of an expression, given the key it stands at.
    """

    def __init__(
        self, inputs: Mapping[str, Input], name: str, row: str | None, parse: Callable[[str, str], Expression]
    ) -> None:
        image = inputs[name].image
        assert image is not None  # noqa: S101 - only made of those
        where = f"inputs.{name}.image"
        self.grid = image.onto or name
        self.eta, self.phi = (parse(getattr(image, key), f"{where}.{key}") for key in ("eta", "phi"))
        self.around = [parse(text, f"{where}.around") for text in around_expressions(image, row)]
        self._geometry = geometry_of(inputs, name)

    def centers(self, around: Sequence[np.ndarray], hits: tuple[np.ndarray, np.ndarray], seeds: np.ndarray) -> Centers:
        """Return the middles of rows.

        Parameters
        ----------
        around
            Eta and phi, (N,) each, where expressions say what the middles are.
        hits
            Eta and phi of all hits.
        seeds
            Which hit is each row's seed, (N,) i8; -1 where it has none.
        """
        everywhere, middle_eta = np.ones(len(seeds), dtype=bool), self._geometry.middle_eta
        if middle_eta is not None:
            return Centers(np.full(len(seeds), middle_eta), np.zeros(len(seeds)), everywhere)
        if around:
            eta, phi = (np.asarray(values, np.float64) for values in around)
            return Centers(eta, phi, everywhere)
        eta, phi = (np.append(values, 0.0)[seeds] for values in hits)
        return Centers(eta, phi, seeds >= 0)

    def place(
        self,
        hits: tuple[np.ndarray, np.ndarray],
        bounds: tuple[np.ndarray, np.ndarray],
        centers: Centers,
        out: np.ndarray,
        keep: np.ndarray,
    ) -> None:
        """Write the positions of hits that fill pixels, and keep no others.

        Parameters
        ----------
        hits
            Eta and phi of all hits, f8.
        bounds
            The first hit of every row, and the one after its last, (N,) i8 each.
        centers
            The middles of the rows.
        out
            (2, total) f4: positions from the middle. Those that are not finite stay so, and are kept.
        keep
            (total,) bool: which hits count.
        """
        (eta, phi), (starts, stops), geometry = hits, bounds, self._geometry
        place_hits(
            eta, phi, starts, stops, centers.eta, centers.phi, centers.present,
            geometry.pixel, geometry.size, geometry.cell, geometry.middle, geometry.circular, out, keep,
        )  # fmt: skip


def around_expressions(image: Image, row: str | None) -> tuple[str, ...]:
    """Return the two expressions of the middle; none where it is the seed, or always the same."""
    return (f"{row}_eta", f"{row}_phi") if image.around == "row" else image.center_expressions


def geometry_of(inputs: Mapping[str, Input], name: str) -> Geometry:
    """Return where the hits of an input, which has an image, are on it."""
    grid = grid_of(inputs, name)
    assert grid.size is not None  # noqa: S101 - it has a grid of its own
    size = np.array(grid.size)
    # the cell of a seed is pixel n // 2, and its middle half a pixel further
    middle = size // 2 + 0.5 if grid.around == "seed" else size / 2
    middle_eta = None if grid.range is None else sum(grid.range) / 2
    cell = np.array(cell_of(inputs, name))
    return Geometry(np.array(grid.pixels), size, cell, middle, grid.range is not None, middle_eta)


def image_info(inputs: Mapping[str, Input], name: str) -> ImageInfo | None:
    """Describe the image of an input; None where it is none."""
    image = inputs[name].image
    if image is None:
        return None
    grid = grid_of(inputs, name)
    assert grid.size is not None  # noqa: S101 - it has a grid of its own
    return ImageInfo(
        grid=image.onto or name,
        size=grid.size,
        pixel=grid.pixels,
        combine=tuple(image.combine.get(channel, "sum") for channel in image.channels),
        scale=tuple(inputs[name].channel_scales.get(channel) for channel in image.channels),
        cell=cell_of(inputs, name),
        circular=grid.range is not None,
        deterministic=image.deterministic,
    )


def input_info(inputs: Mapping[str, Input], name: str) -> InputInfo:
    """Describe an input of the model."""
    block = inputs[name]
    return InputInfo(tuple(block.feature_names), block.length, image_info(inputs, name))


@jit
def find_seeds(channel: np.ndarray, starts: np.ndarray, stops: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Return of every row the kept hit with the largest value, (N,) i8, of equal ones the first; -1 without any."""
    seeds = np.full(len(starts), -1, dtype=np.int64)
    for r in range(len(starts)):
        for i in range(starts[r], stops[r]):
            largest = -np.inf if seeds[r] < 0 or np.isnan(channel[seeds[r]]) else channel[seeds[r]]
            if keep[i] and (seeds[r] < 0 or channel[i] > largest):
                seeds[r] = i
    return seeds


@jit
def place_hits(
    eta: np.ndarray,
    phi: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    center_eta: np.ndarray,
    center_phi: np.ndarray,
    present: np.ndarray,
    pixel: np.ndarray,
    size: np.ndarray,
    cell: np.ndarray,
    middle: np.ndarray,
    circular: bool,
    out: np.ndarray,
    keep: np.ndarray,
) -> None:
    """Do the work of :meth:`HitPositions.place`; ``middle`` (2,) is the middle of an image in pixels."""
    for r in range(len(starts)):
        for i in range(starts[r], stops[r]):
            keep[i] = keep[i] and present[r]
            if not keep[i]:
                continue
            angle = phi[i] - center_phi[r]
            angle -= 2 * math.pi * np.floor(angle / (2 * math.pi) + 0.5)
            row = (eta[i] - center_eta[r]) / pixel[0]
            column = angle / pixel[1]
            if not (np.isfinite(row) and np.isfinite(column)):
                out[0, i], out[1, i] = row, column
                continue
            first = np.floor(row + middle[0] - cell[0] / 2 + 0.5)
            left = np.floor(column + middle[1] - cell[1] / 2 + 0.5)
            if circular:
                left -= size[1] * np.floor(left / size[1])
            keep[i] = first > -cell[0] and first < size[0] and left > -cell[1] and left < size[1]
            out[0, i] = (first + (cell[0] - size[0]) / 2) * pixel[0]
            out[1, i] = (left + (cell[1] - size[1]) / 2) * pixel[1]


@jit
def count_kept(starts: np.ndarray, stops: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Count the kept hits of every row, (N,) i8."""
    counts = np.zeros(len(starts), dtype=np.int64)
    for r in range(len(starts)):
        for i in range(starts[r], stops[r]):
            counts[r] += keep[i]
    return counts
