"""From raw features to what a network sees: scales, principal components and embedded categories, in the graph too."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config.inputs import Input
from ..dataset.info import PreparationInfo

_SEARCH_STEPS = (64, 32, 16, 8, 4, 2, 1)
INTERVALS = 128
"""Of the quantiles, between which shares are interpolated; a search by halves finds one, with what ONNX has."""


def preparation_info(block: Input) -> PreparationInfo | None:
    """Describe what a model does with the features of an input; None is to standardise them all."""
    options = block.feature_options.values()
    info = PreparationInfo(
        scales=tuple("none" if o.categories else o.scale or block.default_scale for o in options),
        categories=tuple(tuple(o.categories or ()) for o in options),
        widths=tuple(o.embedding_width for o in options),
        components=block.pca,
    )
    usual = set(info.scales) <= {"standard"} and not any(info.categories) and info.components is None
    return None if usual or block.image is not None else info


class Preparation(nn.Module):
    """Prepares the F features of an input, (…, F) to (…, W).

    The numbers are scaled, or principal components of what is scaled; beside them are the embedded categories. What
    comes from the training rows is kept in buffers, which ``training.preparation`` fills.
    """

    def __init__(self, info: PreparationInfo) -> None:
        super().__init__()
        self.info = info
        numbers = info.numbers
        scales = [info.scales[i] for i in numbers]
        self._numbers = numbers
        self._ranked = [i for i, scale in enumerate(scales) if scale == "quantile"]
        self._plain = [i for i, scale in enumerate(scales) if scale != "quantile"]
        self.register_buffer("center", torch.zeros(len(numbers)))
        self.register_buffer("scale", torch.ones(len(numbers)))
        self.register_buffer("logarithmic", torch.tensor([s == "log" for s in scales], dtype=torch.bool))
        if self._ranked:
            self.register_buffer("knots", torch.zeros(len(self._ranked), INTERVALS + 1))
            self.register_buffer("levels", torch.zeros(len(self._ranked), INTERVALS + 1))
            self.register_buffer("last", torch.zeros(len(self._ranked)))
        if info.components is not None:
            self.register_buffer("mean", torch.zeros(len(numbers)))
            self.register_buffer("axes", torch.zeros(len(numbers), info.components))
        embedded = [(i, c, w) for i, (c, w) in enumerate(zip(info.categories, info.widths)) if c]
        self._embedded = [i for i, _, _ in embedded]
        self.embeddings = nn.ModuleList(CategoryEmbedding(c, w) for _, c, w in embedded)

    def forward(self, values: Tensor) -> Tensor:
        """Prepare raw features, (…, F) to (…, W)."""
        return self.project(self.columns(values))

    def columns(self, values: Tensor) -> Tensor:
        """Scale the numbers of raw features, (…, F), and put embedded categories behind them."""
        columns = [self.scaled(values)] if self._numbers else []
        columns += [embed(values[..., i]) for i, embed in zip(self._embedded, self.embeddings)]
        return columns[0] if len(columns) == 1 else torch.cat(columns, dim=-1)

    def column_indices(self) -> list[list[int]]:
        """Return where each of the F features is among :meth:`columns`."""
        indices = {i: [k] for k, i in enumerate(self._numbers)}
        first = len(self._numbers)
        for i in self._embedded:
            indices[i] = list(range(first, first + self.info.widths[i]))
            first += self.info.widths[i]
        return [indices[i] for i in range(len(indices))]

    def scaled(self, values: Tensor) -> Tensor:
        """Scale those of the raw features that are numbers, (…, F) to (…, numbers)."""
        raw = values[..., self._numbers] if self._embedded else values
        numbers = raw
        if "log" in self.info.scales:
            numbers = torch.where(self.get_buffer("logarithmic"), raw.sign() * torch.log1p(raw.abs()), raw)
        numbers = (numbers - self.get_buffer("center")) / self.get_buffer("scale")
        if not self._ranked:
            return numbers
        shares = self._shares(raw[..., self._ranked])
        both = torch.cat([numbers[..., self._plain], shares], dim=-1)
        order = [*self._plain, *self._ranked]
        return both[..., [order.index(i) for i in range(len(order))]]

    def project(self, columns: Tensor) -> Tensor:
        """Project the numbers among columns on their principal components, where there are any."""
        if self.info.components is None:
            return columns
        numbers, categories = columns[..., : len(self._numbers)], columns[..., len(self._numbers) :]
        out = (numbers - self.get_buffer("mean")) @ self.get_buffer("axes")
        return torch.cat([out, categories], dim=-1) if self._embedded else out

    def _shares(self, values: Tensor) -> Tensor:
        """Return the share of smaller values in the training, from -1 to 1, linear between the quantiles."""
        knots, levels = self.get_buffer("knots"), self.get_buffer("levels")
        first = torch.arange(knots.shape[0], device=values.device) * knots.shape[1]
        flat_knots, flat_levels = knots.flatten(), levels.flatten()
        values = torch.minimum(torch.maximum(values, knots[:, 0]), self.get_buffer("last"))
        index = first.expand(values.shape)
        for step in _SEARCH_STEPS:
            index = torch.where(values >= flat_knots[index + step], index + step, index)
        low, high = flat_knots[index], flat_knots[index + 1]
        below, above = flat_levels[index], flat_levels[index + 1]
        return below + (values - low) / (high - low) * (above - below)


class CategoryEmbedding(nn.Module):
    """Numbers that are learnt for each category, and for all other values and NaN, which begin at 0."""

    def __init__(self, categories: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.register_buffer("categories", torch.tensor(categories, dtype=torch.float32), persistent=False)
        weight = torch.randn(len(categories) + 1, width)
        weight[-1] = 0.0
        self.weight = nn.Parameter(weight)

    def forward(self, values: Tensor) -> Tensor:
        """Embed values, (…) to (…, width)."""
        matches = (values.unsqueeze(-1) == self.get_buffer("categories")).to(self.weight.dtype)
        out: Tensor = torch.cat([matches, 1 - matches.sum(dim=-1, keepdim=True)], dim=-1) @ self.weight
        return out
