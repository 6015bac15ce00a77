"""What the options of every model are, as far as the analysis file is concerned."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from .inputs import Input
from .loss_options import LossOptions
from .losses import losses_of
from .typed import TypedOptions


class ModelOptions(TypedOptions):
    """The options of a model; those of a network and of an estimator are derived from it (``models.options``)."""

    keeps_nan: ClassVar[bool] = False
    """Whether an input may have ``nan: keep``."""
    takes_components: ClassVar[bool] = True
    """Whether an input may have ``pca``."""
    has_epochs: ClassVar[bool] = True
    """Whether a finished training can go on for more epochs."""
    rate_key: ClassVar[str] = "training.learning_rate"
    """Where the learning rate is, for messages."""

    def check(self, inputs: Mapping[str, Input]) -> None:
        """Raise a ValueError where the model cannot take the inputs."""
        for name, block in inputs.items():
            if block.nan == "keep" and not self.keeps_nan:
                raise ValueError(
                    f"inputs.{name}.nan: only trees (model.type: lightgbm) take NaN as it is: for a network say what "
                    "it becomes, nan: {fill: 0}"
                )
            if block.pca is not None and not self.takes_components:
                raise ValueError(
                    f"inputs.{name}.pca: only networks take components, and trees the features themselves: remove it, "
                    "or use a network (model.type: mlp)"
                )

    def losses(self, task: str) -> str:
        """Name the losses of a task that the model can learn, for messages."""
        return losses_of(task)

    def check_loss(self, loss: LossOptions) -> None:
        """Raise a ValueError where the model cannot learn by a loss of its task."""

    @abstractmethod
    def restore(self, spec: Any, content: Mapping[str, Any]) -> Any:
        """Make the model of what its ``content()`` was in a file; where that is something else, any exception.

        Parameters
        ----------
        spec
            The ``models.base.ModelSpec``.
        content
            Tensors and plain types.
        """
