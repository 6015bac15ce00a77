"""Integrated gradients: what each feature adds to a score, on the way from an average row to the one at hand.

After Sundararajan, Taly, Yan, "Axiomatic attribution for deep networks", arXiv:1703.01365. What is attributed sums up
to the difference of the two scores (completeness) as far as the sum over steps is the integral; jumps of a network have
no gradient and are missing, as where ParticleNet's neighbours change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .network import NetworkColumns, NetworkModel

STEPS = 64
"""Points of the integral, after Gauss and Legendre."""
BATCH_ROWS = 512
_POWER = 6
_POSITION = 2  # the first features of hits say where they are


@dataclass(frozen=True)
class Attribution:
    """What A features add to C scores of N rows.

    Attributes
    ----------
    names
        ``input.feature`` of each feature; planes of images are ``input.channel``.
    values
        (N, A, C), sums over constituents and pixels.
    difference
        What the scores differ from those of the average rows, (N, C).
    """

    names: tuple[str, ...]
    values: np.ndarray
    difference: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Mean of the sizes over rows and scores, (A,)."""
        return np.asarray(np.abs(self.values).mean(axis=(0, 2)))

    @property
    def error(self) -> np.ndarray:
        """Its standard deviation, (A,)."""
        rows = np.abs(self.values).mean(axis=2)
        return np.asarray(rows.std(axis=0, ddof=min(1, len(rows) - 1)) / np.sqrt(len(rows)))

    @property
    def incomplete(self) -> float:
        """Mean size of what the sums over the features lack of the differences."""
        return float(np.abs(self.values.sum(axis=1) - self.difference).mean())

    @classmethod
    def join(cls, parts: Sequence[Attribution]) -> Attribution:
        """Join rows of models with the same features."""
        values = np.concatenate([part.values for part in parts])
        return cls(parts[0].names, values, np.concatenate([part.difference for part in parts]))


def integrated_gradients(model: NetworkModel, inputs: Mapping[str, np.ndarray], steps: int = STEPS) -> Attribution:
    """Attribute the scores of rows to their features.

    The way begins at a row with as many constituents, of which each has the average features of these rows (of valid
    constituents), in the scales of the network; hits of images are not there. It is straight in what the network sees
    before principal components, in the numbers of embedded categories, and in raw features where it takes them.

    Parameters
    ----------
    model
        The network.
    inputs
        Raw features and masks of N rows, as ``model.spec.graph_inputs`` names them.
    steps
        Points of the integral.
    """
    device = next(model.parameters()).device
    tensors = [torch.from_numpy(np.ascontiguousarray(inputs[name])).to(device) for name in model.spec.graph_inputs]
    model.eval()
    with torch.no_grad():
        whole = model.columns(*tensors)
    average = {name: _average(values, whole.masks.get(name)) for name, values in whole.features.items()}
    raw_average = {name: _average(values, whole.masks.get(name)) for name, values in whole.raw.items()}
    parts = []
    for start in range(0, len(tensors[0]), BATCH_ROWS):
        with torch.no_grad():
            rows = model.columns(*(tensor[start : start + BATCH_ROWS] for tensor in tensors))
            baseline = replace(
                rows,
                features={n: _filled(average[n], v, rows.masks.get(n)) for n, v in rows.features.items()},
                raw={n: _filled(raw_average[n], v, rows.masks.get(n)) for n, v in rows.raw.items()},
                images={n: torch.zeros_like(v) for n, v in rows.images.items()},
            )
        parts.append(_attributed(model, rows, baseline, steps))
    return Attribution.join(parts)


def _average(values: Tensor, mask: Tensor | None) -> Tensor:
    """Average features over rows, or valid constituents, (F,)."""
    entries = values if mask is None else values[mask]
    return entries.double().mean(dim=0).nan_to_num().to(values.dtype)


def _filled(average: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Put average features in place of all that are there."""
    filled = average.expand(values.shape)
    return filled if mask is None else torch.where(mask.unsqueeze(-1), filled, 0.0)


def _attributed(model: NetworkModel, rows: NetworkColumns, baseline: NetworkColumns, steps: int) -> Attribution:
    """Integrate the gradients of all scores of some rows."""
    points, weights = _steps(steps, logarithmic=bool(rows.raw))
    ends, starts = _leaves(rows), _leaves(baseline)
    with torch.no_grad():
        difference = model.scores(rows) - model.scores(baseline)
    outputs = difference.shape[1]
    sums = [[torch.zeros_like(end) for end in ends] for _ in range(outputs)]
    for point, weight in zip(points, weights):
        leaves = [(start + float(point) * (end - start)).requires_grad_() for start, end in zip(starts, ends)]
        scores = model.scores(_with_leaves(rows, leaves))
        for output in range(outputs):
            gradients = torch.autograd.grad(
                scores[:, output].sum(), leaves, retain_graph=output + 1 < outputs, allow_unused=True
            )
            for total, gradient in zip(sums[output], gradients):
                if gradient is not None:
                    total += float(weight) * gradient
    names: list[str] = []
    values = []
    for totals in sums:
        shares = [total * (end - start) for total, end, start in zip(totals, ends, starts)]
        by_feature = _by_feature(model, _with_leaves(rows, shares))
        names = list(by_feature)
        values.append(torch.stack(list(by_feature.values()), dim=1))
    return Attribution(tuple(names), torch.stack(values, dim=2).cpu().numpy(), difference.double().cpu().numpy())


def _steps(steps: int, *, logarithmic: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return points from 0 to 1 and their weights in the integral, of which many are near 0 for logarithms.

    Constituents are all at one place where the way begins, and networks take logarithms of their distances.
    """
    points, weights = np.polynomial.legendre.leggauss(steps)
    points, weights = (points + 1) / 2, weights / 2
    if not logarithmic:
        return points, weights
    return points**_POWER, _POWER * points ** (_POWER - 1) * weights


def _leaves(columns: NetworkColumns) -> list[Tensor]:
    return [*columns.features.values(), *columns.raw.values(), *columns.images.values()]


def _with_leaves(columns: NetworkColumns, leaves: Sequence[Tensor]) -> NetworkColumns:
    """Put others in the places of :func:`_leaves`."""
    values = iter(leaves)
    features, raw, images = (
        {name: next(values) for name in group} for group in (columns.features, columns.raw, columns.images)
    )
    return replace(columns, features=features, raw=raw, images=images)


def _by_feature(model: NetworkModel, shares: NetworkColumns) -> dict[str, Tensor]:
    """Sum up what belongs to each feature, over constituents and pixels, (N,) each."""
    totals: dict[str, Tensor] = {}
    planes = dict.fromkeys(shares.images, 0)
    for name, info in model.spec.inputs.items():
        for i, (feature, columns) in enumerate(zip(info.features, model.column_indices(name))):
            total = _total(shares.features[name][..., columns])
            if name in shares.raw:
                total = total + _total(shares.raw[name][..., i])
            if info.image is not None and info.image.grid in planes and i >= _POSITION:
                total = total + _total(shares.images[info.image.grid][:, planes[info.image.grid]])
                planes[info.image.grid] += 1
            totals[f"{name}.{feature}"] = total
    return totals


def _total(values: Tensor) -> Tensor:
    return values.double().flatten(1).sum(dim=1) if values.dim() > 1 else values.double()
