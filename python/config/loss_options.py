"""What the options of every loss are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Optional

from .typed import TypedOptions


class LossOptions(TypedOptions):
    """A loss. ``suffixes`` are appended to the name of a class or target for each output, the prediction first."""

    task: ClassVar[Optional[str]] = None
    """"classification" or "regression"; None where it is not known before the class is imported."""
    positive: ClassVar[bool] = True
    """Whether the loss of a row is never below 0."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """By default there is the prediction and nothing else."""
        return ("",)

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles that are predicted, in the order of the outputs; by default none."""
        return ()

    @property
    def ranks(self) -> tuple[int, ...]:
        """Where each output of a target stands among its values when they are sorted; by default they are not."""
        return ()

    def check(self, targets: Collection[str]) -> None:
        """Raise a ValueError where the loss does not fit the regression targets."""

    @abstractmethod
    def objective(self, targets: Sequence[str]) -> Any:
        """Return the ``models.tasks.Objective`` for the classes or regression targets of these names."""
