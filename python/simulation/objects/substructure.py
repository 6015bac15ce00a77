"""Soft drop and N-subjettiness of large jets."""

from __future__ import annotations

import fastjet
import numpy as np

from ...compiled import jit
from ..flat import delta_r2, records
from .jets import Clusters

Z_CUT = 0.1  # soft drop with beta = 0, JHEP 05 (2014) 146, as CMS has it
SUBJETS = (1, 2, 3, 4)


@jit
def _angles(p: np.ndarray, rapidity: np.ndarray, phi: np.ndarray, i: int) -> None:
    px, py, pz, e = p[i]
    m2_t = max(e * e - pz * pz, 1e-24)
    rapidity[i] = np.log((e + abs(pz)) / np.sqrt(m2_t)) * (1.0 if pz > 0 else -1.0)
    phi[i] = np.arctan2(py, px)


@jit
def _nearest(i: int, alive: np.ndarray, end: int, rapidity: np.ndarray, phi: np.ndarray) -> tuple[int, float]:
    best, distance = -1, np.inf
    for j in range(end):
        if alive[j] and j != i:
            d2 = delta_r2(rapidity[i], phi[i], rapidity[j], phi[j])
            if d2 < distance:
                best, distance = j, d2
    return best, distance


@jit
def _cambridge_aachen(p: np.ndarray, n: int) -> np.ndarray:
    """Recombine the first ``n`` rows of ``p`` (2n, 4) pairwise, the nearest first; sums go to the rows after them.

    Returns the two parents of every row, (2n, 2), -1 for none; the whole jet is row 2n - 2.
    """
    parents = np.full((2 * n, 2), -1, np.int64)
    rapidity, phi = np.empty(2 * n), np.empty(2 * n)
    alive = np.zeros(2 * n, np.bool_)
    alive[:n] = True
    near, distance = np.full(2 * n, -1, np.int64), np.full(2 * n, np.inf)
    for i in range(n):
        _angles(p, rapidity, phi, i)
    for i in range(n):
        near[i], distance[i] = _nearest(i, alive, n, rapidity, phi)
    for made in range(n, 2 * n - 1):
        a = np.argmin(distance[:made])
        b = near[a]
        parents[made, 0], parents[made, 1] = a, b
        p[made] = p[a] + p[b]
        alive[a] = alive[b] = False
        distance[a] = distance[b] = np.inf
        alive[made] = True
        _angles(p, rapidity, phi, made)
        near[made], distance[made] = _nearest(made, alive, made, rapidity, phi)
        for i in range(made):
            if alive[i]:
                if near[i] == a or near[i] == b:
                    near[i], distance[i] = _nearest(i, alive, made + 1, rapidity, phi)
                else:
                    d2 = delta_r2(rapidity[i], phi[i], rapidity[made], phi[made])
                    if d2 < distance[i]:
                        near[i], distance[i] = made, d2
    return parents


@jit
def _soft_drop(p: np.ndarray, bounds: np.ndarray, z_cut: float) -> np.ndarray:
    """Return what soft drop leaves of each jet, (jets, 2, 4): two subjets, the harder first; 0 for none."""
    out = np.zeros((len(bounds) - 1, 2, 4))
    for jet in range(len(bounds) - 1):
        n = bounds[jet + 1] - bounds[jet]
        if n == 0:
            continue
        tree = np.zeros((2 * n, 4))
        tree[:n] = p[bounds[jet] : bounds[jet + 1]]
        parents = _cambridge_aachen(tree, n)
        at = 2 * n - 2
        while parents[at, 0] >= 0:
            a, b = parents[at, 0], parents[at, 1]
            pt_a, pt_b = np.hypot(tree[a, 0], tree[a, 1]), np.hypot(tree[b, 0], tree[b, 1])
            if pt_b > pt_a:
                a, b, pt_a, pt_b = b, a, pt_b, pt_a
            if pt_b > z_cut * (pt_a + pt_b):
                out[jet, 0], out[jet, 1] = tree[a], tree[b]
                break
            at = a
    return out


def soft_drop(clusters: Clusters, p: dict[str, np.ndarray]) -> np.ndarray:
    """Subjets of soft drop (beta = 0, z_cut = 0.1; Cambridge/Aachen): px, py, pz, E as (jets, 2, 4), 0 for none."""
    bounds = np.searchsorted(clusters.jet, np.arange(len(clusters.px) + 1))
    four = np.stack([p[name][clusters.candidate] for name in ("px", "py", "pz", "E")], axis=1)
    return _soft_drop(four, bounds, Z_CUT)


def n_subjettiness(clusters: Clusters, p: dict[str, np.ndarray]) -> np.ndarray:
    """tau_1 to tau_4 (JHEP 02 (2012) 093), (jets, 4): beta = 1, R0 = 0.8, one-pass kt axes, as CMS has them."""
    if len(clusters.px) == 0:
        return np.zeros((0, len(SUBJETS)))
    bounds = np.searchsorted(clusters.jet, np.arange(len(clusters.px) + 1)).astype(np.int64)
    inputs = records(bounds, {name: value[clusters.candidate] for name, value in p.items()}, "Momentum4D")
    sequence = fastjet.ClusterSequence(inputs, fastjet.JetDefinition(fastjet.cambridge_algorithm, 1.0))
    return np.asarray(sequence.njettiness(njets=list(SUBJETS), beta=1.0, R0=0.8))
