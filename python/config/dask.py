"""Who runs jobs as tasks of Dask."""

from __future__ import annotations

from typing import Annotated, Literal, Optional

from pydantic import model_validator

from .base import Strict, of_form


class Dask(Strict):
    """The ``scheduler`` that is there (its address), or a ``cluster`` that is started for the jobs.

    ``lxplus`` is dask-lxplus's cluster, ``htcondor`` and ``slurm`` are dask-jobqueue's. With neither, the workers are
    processes of this machine.
    """

    scheduler: Optional[Annotated[str, of_form(r"(tcp|tls|ws|wss)://\S+", "an address, such as tcp://host:8786")]] = (
        None
    )
    """The address of a scheduler that is there."""
    cluster: Optional[Literal["lxplus", "htcondor", "slurm"]] = None
    """A cluster that is started for the jobs: of dask-lxplus or dask-jobqueue."""

    @model_validator(mode="after")
    def _one(self) -> Dask:
        if self.scheduler is not None and self.cluster is not None:
            raise ValueError("give 'scheduler' or 'cluster', not both")
        return self
