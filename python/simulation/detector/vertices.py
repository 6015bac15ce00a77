"""The primary vertices: where the hard collision is found, and the others beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..flat import count, sum_by


@dataclass(frozen=True)
class Vertexing:
    """Resolution of a vertex: 10 to 12 um with the many tracks of a hard collision, about 30 um with 5.

    CMS, arXiv:1405.6569, abstract, for the former; the latter is chosen. Two collisions within ``merged`` are one
    vertex, and a good vertex has more than 4 degrees of freedom (NanoAOD's selection).
    """

    constant: float = 8e-3  # mm
    per_track: float = 60e-3  # mm; divided by the root of the number of tracks
    merged: float = 1.0  # mm
    min_tracks: int = 2
    good_ndof: float = 4.0
    weight: float = 0.9  # mean weight of a track in the adaptive fit


VERTEXING = Vertexing()


@dataclass(frozen=True)
class Primary:
    """The hard collision's vertex, per event: true and measured position (mm), the fit, the number of all vertices.

    ``others`` are (event, z in mm) of the remaining vertices, flat.
    """

    true: np.ndarray  # (3, n)
    measured: np.ndarray  # (3, n)
    error: np.ndarray
    tracks: np.ndarray
    ndof: np.ndarray
    chi2: np.ndarray
    score: np.ndarray
    vertices: np.ndarray
    good: np.ndarray
    others: tuple[np.ndarray, np.ndarray]


def find_primary(
    true: np.ndarray, event: np.ndarray, vertex: np.ndarray, z: np.ndarray, pt: np.ndarray, rng: np.random.Generator
) -> Primary:
    """Measure the vertices from the tracks that start there.

    Parameters
    ----------
    true
        Position of the hard collision, (3, n) in mm.
    event, vertex, z, pt
        Of each track that comes from a collision itself: event number, 0 for the hard collision or the number of the
        pileup collision, position (mm), transverse momentum (GeV).
    rng
        Source of the random numbers.

    """
    size = true.shape[1]
    hard = vertex == 0
    tracks = count(event[hard], size)
    error = resolution(tracks)
    measured = true + error * rng.standard_normal((3, size))
    ndof = np.maximum(2 * VERTEXING.weight * tracks - 3, -3.0)
    chi2 = np.where(ndof > 0, rng.chisquare(np.maximum(ndof, 1)) / np.maximum(ndof, 1), 0)
    others, good = _pileup(event[~hard], vertex[~hard], z[~hard], measured[2])
    return Primary(
        true, measured, error, tracks, ndof, chi2, sum_by(event[hard], pt[hard] ** 2, size),
        1 + count(others[0], size), (ndof > VERTEXING.good_ndof) + count(others[0][good], size), others,
    )  # fmt: skip


def resolution(tracks: np.ndarray) -> np.ndarray:
    """Of the position (mm) along each axis, by the number of tracks."""
    return np.hypot(VERTEXING.constant, VERTEXING.per_track / np.sqrt(np.maximum(tracks, 1)))


def _pileup(
    event: np.ndarray, vertex: np.ndarray, z: np.ndarray, hard_z: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Positions of the pileup collisions with enough tracks that are resolved from the hard one, and which are good."""
    span = int(vertex.max()) + 1 if len(vertex) else 1
    keys, first, tracks = np.unique(event * span + vertex, return_index=True, return_counts=True)
    at, position = keys // span, z[first]
    resolved = (tracks >= VERTEXING.min_tracks) & (np.abs(position - hard_z[at]) > VERTEXING.merged)
    ndof = 2 * VERTEXING.weight * tracks[resolved] - 3
    return (at[resolved], position[resolved]), ndof > VERTEXING.good_ndof
