"""Where the hits of one event are on the images of its rows: the steps of ``dataset.images`` as operators.

All in double precision and in the same order, so that no hit is in another pixel than in Python.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..dataset.images import Geometry
from .functions import Math
from .graph import DOUBLE, INT, Graph

_LOWEST = -1e300  # below all channels, and above what is not kept


@dataclass(frozen=True)
class Middles:
    """The middles of the images of rows.

    Attributes
    ----------
    eta, phi
        (R, 1) f8, or scalars that are the same for all rows.
    present
        Which rows have one, (R, 1) bool; None where all have.
    """

    eta: str
    phi: str
    present: str | None = None


def seed_middles(graph: Graph, hits: tuple[str, str], channel: str, keep: str) -> Middles:
    """Return the middles of rows around the kept hit with the largest value, of equal ones the first.

    Parameters
    ----------
    graph
        Where the operators go.
    hits
        Eta and phi of the hits of every row, (R, n) f8 each.
    channel
        The values, (R, n) f8; NaN is below all.
    keep
        Which hits count, (R, n) bool.
    """
    lowest, nothing = graph.constant(_LOWEST, DOUBLE), graph.constant(-np.inf, DOUBLE)
    values = graph.op("Where", graph.op("GreaterOrEqual", channel, lowest), channel, lowest)
    values = _longer(graph, graph.op("Where", keep, values, nothing), -np.inf)
    largest, seeds = graph.ops("TopK", 2, values, graph.constant([1], INT), axis=1, largest=1, sorted=1)
    eta, phi = (graph.op("GatherElements", _longer(graph, angle, 0), seeds, axis=1) for angle in hits)
    return Middles(eta, phi, graph.op("Greater", largest, nothing))


def place_hits(
    graph: Graph, geometry: Geometry, hits: tuple[str, str], middles: Middles, keep: str
) -> tuple[tuple[str, str], str]:
    """Move hits to the middle of the cells that they fill, as ``dataset.images.place_hits`` does.

    Returns
    -------
    tuple
        The positions from the middle, (R, n) f8 each, and which hits are on the image of their row, (R, n) bool; those
        whose position is not finite count among them.
    """
    of = Math(graph, DOUBLE)
    angle = of.sub(hits[1], middles.phi)
    circle = of.number(2 * math.pi)
    angle = of.sub(angle, of.mul(circle, of.floor(of.add(of.div(angle, circle), of.number(0.5)))))
    positions, inside, finite = [], [], []
    for axis, value in enumerate((of.sub(hits[0], middles.eta), angle)):
        pixel, size, cell, middle = (
            float(values[axis]) for values in (geometry.pixel, geometry.size, geometry.cell, geometry.middle)
        )
        value = of.div(value, of.number(pixel))
        finite.append(of.is_finite(value))
        first = of.sub(of.add(value, of.number(middle)), of.number(cell / 2))
        first = of.floor(of.add(first, of.number(0.5)))
        if axis and geometry.circular:
            first = of.sub(first, of.mul(of.number(size), of.floor(of.div(first, of.number(size)))))
        inside += [of.less(of.number(-cell), first), of.less(first, of.number(size))]
        positions.append(of.mul(of.add(first, of.number((cell - size) / 2)), of.number(pixel)))
    counts = graph.op("Or", graph.op("Not", graph.op("And", *finite)), str(graph.all_of(inside)))
    conditions = [keep, counts] if middles.present is None else [keep, middles.present, counts]
    return (positions[0], positions[1]), str(graph.all_of(conditions))


def _longer(graph: Graph, tensor: str, last: float) -> str:
    """Append one column to (R, n)."""
    column = graph.filled(graph.shape(graph.size(tensor), 1), last, DOUBLE)
    return graph.op("Concat", tensor, column, axis=1)
