"""What the options of a model are derived from: those of a network, which epochs train, and those of an estimator."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ..config.loss_options import LossOptions
from ..config.model_options import ModelOptions
from .builder import NetworkBuilder
from .trees import TreeLibrary

if TYPE_CHECKING:
    from .base import Model, ModelSpec
    from .rows import Rows

Widths = Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class NetworkOptions(ModelOptions, NetworkBuilder):
    """Options of a network of PyTorch, which epochs of steps train by any loss."""

    def restore(self, spec: ModelSpec, content: Mapping[str, Any]) -> Model:
        """Make the network again."""
        from .network import NetworkModel

        return NetworkModel.restore(spec, content)


class EstimatorOptions(ModelOptions):
    """Options of what is fitted on all rows at once, in memory."""

    has_epochs: ClassVar[bool] = False
    takes_components: ClassVar[bool] = False
    rate_key: ClassVar[str] = "model.learning_rate"
    fitted_losses: ClassVar[tuple[str, ...]] = ()
    """Names of the losses of regressions that it can learn."""

    @property
    def rate(self) -> float:
        """The learning rate, for the history; 1 where there is none."""
        return float(getattr(self, "learning_rate", 1.0))

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
            How many; 0 for all cores. The same number gives the same bits; another may change the last digits of sums,
            and by them a late tree.

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
        return f"{', '.join(names)} or {last}" if names else last

    def check_loss(self, loss: LossOptions) -> None:
        """See :meth:`ModelOptions.check_loss`."""
        smoothed = getattr(loss, "label_smoothing", 0) > 0
        if smoothed or loss.type not in ("cross_entropy", *self.fitted_losses):
            option = "label smoothing" if smoothed else repr(loss.type)
            raise ValueError(f"training.loss: {self.type} has no {option}: use {self.losses(loss.task or '')}")


class BoosterOptions(EstimatorOptions, TreeLibrary):
    """Options of gradient-boosted trees: ``boosting.BoostedTrees`` does all but to grow and to evaluate them."""

    keeps_nan: ClassVar[bool] = True

    def fit(
        self, spec: ModelSpec, training: Rows, validation: Rows | None, seed: int, threads: int = 0
    ) -> tuple[Model, dict[str, dict[str, list[float]]]]:
        """See :meth:`EstimatorOptions.fit`."""
        from .boosting import fit

        return fit(spec, training, validation, seed, threads)

    def restore(self, spec: ModelSpec, content: Mapping[str, Any]) -> Model:
        """Make the boosters again."""
        from .boosting import BoostedTrees

        return BoostedTrees.restore(spec, content)
