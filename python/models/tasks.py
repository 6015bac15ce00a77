"""What is optimised: weighted losses and the balance of the classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..errors import UserError


def cross_entropy(logits: Tensor, label: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Sum up the weighted cross entropy.

    Parameters
    ----------
    logits
        Raw outputs, (N, C).
    label
        Index of the class, (N,) i8.
    weight
        Weights, (N,); negative ones are allowed.

    Returns
    -------
    tuple of Tensor
        Σ w·loss and Σ|w|, scalars; their ratio is the loss. Sums of both over batches give the loss of all.
    """
    return (weight * functional.cross_entropy(logits, label, reduction="none")).sum(), _norm(weight)


def mean_squares(outputs: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Sum up the weighted squared error, averaged over the targets; both (N, T), standardised. Returns as above."""
    return (weight * (outputs - targets).square().mean(dim=1)).sum(), _norm(weight)


def _norm(weight: Tensor) -> Tensor:
    # A batch of zero weights has the loss 0, not 0/0.
    return weight.abs().sum().clamp(min=torch.finfo(weight.dtype).tiny)


def class_factors(balance: str, classes: Sequence[str], counts: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Return the factor on the weights of each class, so that the classes count equally.

    Parameters
    ----------
    balance
        "none"; "counts": N / (C · N_class); "weights": Σw / (C · Σw_class).
    classes
        Names of the C classes.
    counts, sums
        Events and sum of weights per class in the training part, (C,).

    Returns
    -------
    np.ndarray
        (C,) f4.

    Raises
    ------
    UserError
        When a class has no events, or cannot be balanced because its weights do not sum to something positive.
    """
    for name, count, total in zip(classes, counts, sums):
        if count == 0:
            raise UserError(
                f"class {name!r} has no events in the training part: check its condition under target.classes, the "
                "samples and the cuts (select), and run 'nanoforge convert' again"
            )
        if balance == "weights" and not total > 0:
            raise UserError(
                f"training.class_balance: the weights of class {name!r} sum to {total:g} in the training part and "
                "cannot be balanced: use 'counts' or 'none', or more events"
            )
    if balance == "none":
        return np.ones(len(classes), np.float32)
    size = counts if balance == "counts" else sums
    return np.asarray(size.sum() / (len(classes) * size), np.float32)
