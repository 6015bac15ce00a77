"""The base of the formats of tables of events; each is a file in ``events/formats``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from .damage import FileKind
from .reader import EventFile


class InputFormat(ABC):
    """A format of files with tables of events; what it takes to read them is imported when a file is opened.

    Attributes
    ----------
    suffixes
        How the names of its files end.
    kind
        By what its files are told.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    kind: ClassVar[FileKind]

    def fits(self, path: str) -> bool:
        """Whether a file or an address is of this format, by its name."""
        return path.endswith(self.suffixes)

    @abstractmethod
    def open(self, path: str, tree: str, redirectors: Sequence[str]) -> EventFile:
        """Open the table of events of a file.

        Parameters
        ----------
        path
            A file, an address, or a logical name (``/store/...``) with which :func:`.files.addresses` helps.
        tree
            Which table, in a format that has several.
        redirectors
            Where files with logical names are.

        Raises
        ------
        FileError
            When it cannot be read; any other exception is taken for a sign that the file is broken.
        """
