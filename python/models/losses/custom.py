"""A loss of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Optional

from ...config.base import of_form
from ...config.imported import import_options
from ...config.loss_options import LossOptions
from ...errors import UserError


class CustomLossOptions(LossOptions):
    """A loss of your own, ``type: my_module:MyLoss``, derived from one of ``models.loss_options``."""

    type: Literal["custom"]
    loss: Annotated[str, of_form(r"[^:]+:[A-Za-z]\w*", "module:Class")]
    """The class, as ``module:Class``; written as ``type``."""
    options: dict[str, Any] = {}
    """Its options."""
    code_key: ClassVar[Optional[str]] = "loss"

    def resolved(self) -> LossOptions:  # type: ignore[override]
        """See :meth:`..config.typed.TypedOptions.resolved`."""
        _, options = import_options(self.loss, self.options, LossOptions, "training.loss")
        if options is None:
            raise UserError(
                f"training.loss.type: '{self.loss}' is not derived from ClassificationLossOptions or "
                "RegressionLossOptions (nanoforge.models.loss_options)"
            )
        return options

    def objective(self, targets: Sequence[str]) -> Any:
        """See :meth:`..loss_options.LossOptions.objective`."""
        return self.resolved().objective(targets)
