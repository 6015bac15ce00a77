"""The block ``tracking``: where trainings and evaluations are recorded, to be compared."""

from __future__ import annotations

from typing import Annotated, Optional

from pydantic import BeforeValidator, field_validator

from ..errors import nearest
from ..registry import names_of
from .base import Strict, one_as_list

TRACKERS_PACKAGE = f"{__package__.rpartition('.')[0]}.training.trackers"


class Tracking(Strict):
    """Where trainings and evaluations are recorded; no result depends on it."""

    to: Annotated[list[str], BeforeValidator(one_as_list)] = ["mlflow"]
    """``mlflow``, ``tensorboard``, ``wandb``, or ``module:Class`` of yours; ``[]`` records nothing."""
    uri: Optional[str] = None
    """MLflow's store of all runs: ``https://mlflow.example.org``, ``sqlite:////shared/mlflow.db``; by default the
    variable ``MLFLOW_TRACKING_URI``, and without it ``mlflow.db`` in each run."""
    experiment: Optional[str] = None
    """What MLflow and Weights & Biases (its project) group runs by; by default the name of the analysis."""

    @field_validator("to")
    @classmethod
    def _there(cls, names: list[str]) -> list[str]:
        there = names_of("tracker", TRACKERS_PACKAGE)
        for name in names:
            if ":" not in name and name not in there:
                raise ValueError(f"there is no tracker {name!r}; known: {', '.join(there)}{nearest(name, there)}")
        return names

    @field_validator("uri")
    @classmethod
    def _without_password(cls, uri: Optional[str]) -> Optional[str]:
        if uri is not None and "@" in uri.partition("://")[2].partition("/")[0]:
            raise ValueError(
                "has a user or password, which results would repeat: leave them out, and set the variables "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        return uri
