"""What the options of a model are derived from: those of a network, which epochs train, and those of an estimator."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Optional, Protocol

from pydantic import Field

from ..config.loss_options import LossOptions
from ..config.model_options import ModelOptions

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from ..dataset.info import InputInfo
    from .base import Model, ModelSpec
    from .rows import Columns, Rows

Widths = Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class NetworkOptions(ModelOptions):
    """Options of a network of PyTorch, which epochs of steps train by any loss."""

    free_lengths: ClassVar[Optional[bool]] = None
    """Whether it takes any number of constituents; None: it has to be tried."""

    @abstractmethod
    def build(self, inputs: Mapping[str, InputInfo], outputs: int) -> nn.Module:
        """Make the network, with weights from torch's random generator.

        Parameters
        ----------
        inputs
            The inputs, in order: by name, the names of the features, and the ``length`` where there are constituents.
        outputs
            Number of outputs C.

        Returns
        -------
        nn.Module
            Called as ``network(features, masks)`` with normalised features per input, (N, F) or (N, L, F), zero where
            they are padding, and masks per input of constituents, (N, L) bool. Returns (N, C): logits of classes, or
            standardised targets. If its ``forward`` has a third parameter ``raw``, that gets the features as they are
            in the file (GeV, radian), zero where they are padding.

        Raises
        ------
        UserError
            When the inputs do not suit the network.
        """

    def restore(self, spec: ModelSpec, content: Mapping[str, Any]) -> Model:
        """Make the network again."""
        from .network import NetworkModel

        return NetworkModel.restore(spec, content)


class EstimatorOptions(ModelOptions):
    """Options of what is fitted on all rows at once, in memory."""

    has_epochs: ClassVar[bool] = False
    rate_key: ClassVar[str] = "model.learning_rate"
    fitted_losses: ClassVar[tuple[str, ...]] = ()
    """Names of the losses of regressions that it can learn."""

    @abstractmethod
    def fit(
        self, spec: ModelSpec, training: Rows, validation: Rows | None, seed: int, threads: int = 0
    ) -> tuple[Model, dict[str, dict[str, list[float]]]]:
        """Fit the model.

        Parameters
        ----------
        spec
            The model.
        training, validation
            The rows; without any for validation, nothing is chosen by them.
        seed
            Of all that is random.
        threads
            How many; 0 for all cores. The result does not depend on it.

        Returns
        -------
        tuple
            The model, and for each output (or for the classes together) the loss after each step of the fit, after
            each tree, say: of "train" and, where there is a validation, "val"; Σw·loss/Σw in the units of the target.

        Raises
        ------
        UserError
            When it cannot be fitted so.
        """

    def losses(self, task: str) -> str:
        """See :meth:`ModelOptions.losses`."""
        if task == "classification":
            return "cross_entropy without label smoothing"
        *names, last = self.fitted_losses
        return f"{', '.join(names)} or {last}"

    def check_loss(self, loss: LossOptions) -> None:
        """See :meth:`ModelOptions.check_loss`."""
        smoothed = getattr(loss, "label_smoothing", 0) > 0
        if smoothed or loss.type not in ("cross_entropy", *self.fitted_losses):
            what = "label smoothing" if smoothed else repr(loss.type)
            raise ValueError(f"training.loss: {self.type} has no {what}: use {self.losses(loss.task or '')}")


@dataclass(frozen=True)
class Tree:
    """A tree of M nodes, the first of which is its root, as lists of M entries.

    Attributes
    ----------
    output
        Which of the booster's sums it counts for.
    feature
        The column that a node looks at; -1 is a leaf.
    threshold, missing_left
        A value of at most this (with the ``mode`` BRANCH_LT: below it) goes left, and NaN where this says so.
    left, right
        The nodes that follow.
    leaf
        What a leaf adds to the sum.
    mode
        The comparison, as ONNX names it.
    """

    output: int
    feature: list[int]
    threshold: list[float]
    missing_left: list[bool]
    left: list[int]
    right: list[int]
    leaf: list[float]
    mode: str = "BRANCH_LEQ"


class Booster(Protocol):
    """Trees of a library; ``outputs`` is the number of sums K."""

    outputs: int

    def sums(self, table: np.ndarray, threads: int) -> np.ndarray:
        """Return the sums over the trees, (N,) or (N, K), of rows (N, W) f4."""

    def trees(self) -> list[Tree]:
        """Return all trees."""


class BoosterOptions(EstimatorOptions):
    """Options of gradient-boosted trees: ``boosting.BoostedTrees`` does all but to grow and to evaluate them."""

    keeps_nan: ClassVar[bool] = True

    @abstractmethod
    def grow(
        self,
        training: Columns,
        validation: Columns | None,
        loss: str,
        classes: int | None,
        level: float | None,
        seed: int,
        threads: int,
    ) -> tuple[str, dict[str, list[float]]]:
        """Grow the trees of one booster.

        Parameters
        ----------
        training, validation
            Features (N, W) f4, truth (N,) and weights (N,).
        loss
            The type of the loss.
        classes
            How many there are; None for a regression.
        level
            The quantile, where the loss has one.
        seed, threads
            As :meth:`fit` has them.

        Returns
        -------
        tuple
            The booster as a text, and its losses as :meth:`fit` returns them.
        """

    @abstractmethod
    def read(self, text: str) -> Booster:
        """Make a booster of its text; where that is something else, any exception."""

    def fit(
        self, spec: ModelSpec, training: Rows, validation: Rows | None, seed: int, threads: int = 0
    ) -> tuple[Model, dict[str, dict[str, list[float]]]]:
        """See :meth:`EstimatorOptions.fit`."""
        from .boosting import fit

        return fit(self, spec, training, validation, seed, threads)

    def restore(self, spec: ModelSpec, content: Mapping[str, Any]) -> Model:
        """Make the boosters again."""
        from .boosting import BoostedTrees

        return BoostedTrees.restore(spec, content)
