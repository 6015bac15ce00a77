"""What the environments of batch jobs are: where the Python of the jobs comes from."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from .keyed import KeyedOptions


class Environment(KeyedOptions):
    """Where the Python of batch jobs comes from; the first line of an environment's own docstring describes it.

    One is a file in the folder ``batch/environments``, an entry point of the group ``nanoforge.environments``, or a
    class in a user's module (``environment: {"module:Class": {...}}``). Its fields are its options.
    """

    brings_nanoforge: ClassVar[bool] = True
    """Whether the NanoForge that submits goes along, as ``nanoforge.tar.gz``: the script unpacks it."""
    is_container: ClassVar[bool] = False
    """Whether jobs run in a container, where they can hardly start others."""

    @property
    def key_path(self) -> str:
        """Where it is in the analysis file, for messages."""
        return f"batch.environment.{self._name}"

    def resolved(self) -> Environment:
        """Return the user's own, which is imported; ours are that already.

        Raises
        ------
        UserError
            When there is no such class, or it does not take the options.
        """
        return self

    @abstractmethod
    def script(self, folder: Path, batch: Any) -> str:
        """Return the text of ``environment.sh``, which a job sources (bash) in its scratch directory.

        It sets the array ``python``: the words of a command that runs a Python with NanoForge.

        Parameters
        ----------
        folder
            A job directory in the making. Archives (``.tar.gz``, ``.tar.xz``) that are put into it go along.
        batch
            The block ``batch``, a ``config.batch.BatchBlock``.

        Raises
        ------
        UserError
            When the jobs would not see the software.
        """
