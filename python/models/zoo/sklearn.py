"""Estimators of scikit-learn."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict

from ...config.base import of_form
from ...errors import UserError, first_line, nearest
from ...registry import import_extra
from ..options import EstimatorOptions

if TYPE_CHECKING:
    from ..base import Model, ModelSpec
    from ..rows import Rows


class SklearnOptions(EstimatorOptions):
    """A classifier or regressor of scikit-learn, ``type: "sklearn.ensemble:HistGradientBoostingClassifier"``.

    All other keys are parameters of its constructor. Constituents are flattened; padding is NaN where the estimator
    takes that, and 0 where it does not. It is kept as the ONNX graph that skl2onnx makes of it, and ONNX Runtime scores
    with that. The history has one line: the cross entropy, or the squared error, whatever the estimator minimises.
    Needs ``pip install 'nanoforge[sklearn]'``.
    """

    model_config = ConfigDict(extra="allow")
    type: Literal["sklearn"]
    estimator: Annotated[str, of_form(r"sklearn(\.[a-z_]\w*)+:[A-Z]\w*", "sklearn.module:Class")]
    """The class; written as ``type``."""
    keeps_nan: ClassVar[bool] = True
    fitted_losses: ClassVar[tuple[str, ...]] = ("mse",)

    @property
    def rate(self) -> float:
        """The ``learning_rate``, where there is a number of that name."""
        value = (self.model_extra or {}).get("learning_rate")
        return float(value) if isinstance(value, (int, float)) else 1.0

    def fit(
        self, spec: ModelSpec, training: Rows, validation: Rows | None, seed: int, threads: int = 0
    ) -> tuple[Model, dict[str, dict[str, list[float]]]]:
        """See :meth:`..options.EstimatorOptions.fit`."""
        from ..converted import fit

        del threads  # whoever wants several says n_jobs
        try:
            self.check_loss(spec.loss_options)
        except ValueError as error:
            raise UserError(str(error)) from None
        return fit(lambda: self.make(spec.task, seed), self.estimator, spec, training, validation)

    def restore(self, spec: ModelSpec, content: Mapping[str, Any]) -> Model:
        """Read the graphs again."""
        from ..converted import ConvertedEstimator

        return ConvertedEstimator.restore(spec, content)

    def make(self, task: str, seed: int) -> Any:
        """Make the estimator, not yet fitted.

        Raises
        ------
        UserError
            When there is none, it has another task, takes no weights, or does not take the options.
        """
        base = import_extra("sklearn.base", "sklearn", f"model.type: {self.estimator}")
        module, _, name = self.estimator.rpartition(":")
        try:
            kind = getattr(import_extra(module, "sklearn", f"model.type: {self.estimator}"), name)
        except AttributeError:
            raise UserError(f"model.type: {module} has no {name}") from None
        options = dict(self.model_extra or {})
        parameters = inspect.signature(kind).parameters
        for key in options:
            if key not in parameters:
                raise UserError(
                    f"model.{key}: unknown key{nearest(key, parameters) or '; known here: ' + ', '.join(parameters)}"
                )
        defaults = {"random_state": seed} if "random_state" in parameters else {}
        try:
            estimator = kind(**{**defaults, **options})
            fits = base.is_classifier(estimator) if task == "classification" else base.is_regressor(estimator)
        except Exception as error:
            raise UserError(f"model.type: {self.estimator} cannot be made: {first_line(error)}") from error
        if not fits:
            raise UserError(f"model.type: {self.estimator} is not for a {task}")
        if "sample_weight" not in inspect.signature(estimator.fit).parameters:
            raise UserError(f"model.type: {self.estimator} takes no weights: use another estimator")
        if task == "classification" and not hasattr(estimator, "predict_proba"):
            raise UserError(
                f"model.type: {self.estimator} gives no probabilities: use another estimator, or its option"
            )
        return estimator
