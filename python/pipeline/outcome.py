"""How a result comes about: it is up to date, or made beside its place and put there whole, with a manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..console import say, show_accounting
from ..provenance import Accounting, FileRecord, Manifest, fingerprint
from ..provenance.output import staged_output, up_to_date
from .parts import Part, part_stage


@dataclass(frozen=True)
class Outcome:
    """What a stage has made in the folder that it was given.

    Attributes
    ----------
    config
        The resolved configuration, as plain JSON types.
    inputs
        The input files, as they were when they were read.
    outputs
        The paths of the files, relative to the folder, with their entries; None where they are no tables.
    accounting
        Of the events, where there are any.
    details
        What later stages must know beside this.
    checksums
        Of files that had theirs taken when they were finished.
    seed
        Of what is random.
    """

    config: dict[str, Any]
    inputs: Sequence[FileRecord]
    outputs: Mapping[str, int | None]
    accounting: Accounting | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None


@dataclass(frozen=True)
class Request:
    """What a stage is asked for.

    Attributes
    ----------
    stage
        Its name.
    output
        The folder of the result.
    key
        All that the whole result is made from, as plain JSON types, but for the content of the input files.
    config
        The configuration as far as the result depends on it, for the words of a refusal.
    inputs
        The paths of the input files, in order; None where the key says all about them.
    part
        A part of the whole; None for the whole.
    force
        Replace the finished result of something else.
    accept_lost
        Take a finished result that lacks files which could not be used.
    """

    stage: str
    output: Path
    key: Any
    config: Any = None
    inputs: Sequence[str] | None = None
    part: Part | None = None
    force: bool = False
    accept_lost: bool = True

    def finished(self, suffices: Callable[[Manifest], bool] = lambda _: True) -> Manifest | None:
        """Return the manifest of the result where it is up to date, and say so; None where the stage has to run.

        The result of a search is up to date where it ``suffices``, too.
        """
        manifest = up_to_date(self.output, self._name, self._key, self.inputs)
        if manifest is None or (manifest.lost_files and not self.accept_lost) or not suffices(manifest):
            return None
        say(f"{self.output} is up to date")
        return manifest

    def make(self, work: Callable[[Path], Outcome]) -> Manifest:
        """Let a function make the result in a folder, and put it in its place; nothing is lost if that fails.

        Parameters
        ----------
        work
            Gets a folder to work in, where it finds what it has left there when it was interrupted.

        Returns
        -------
        Manifest
            Of the result.

        Raises
        ------
        UserError, DataError
            As :func:`~..provenance.output.staged_output`, and what ``work`` raises.
        """
        with staged_output(self.output, self._key, self.force, self.config, self.inputs) as folder:
            outcome = work(folder)
            manifest = self.manifest(outcome)
            manifest.write(folder, outcome.outputs, outcome.checksums)
        if outcome.accounting is not None:
            show_accounting(f"{self.stage}: {self._title}", outcome.accounting)
        return manifest

    def manifest(self, outcome: Outcome) -> Manifest:
        """Return the manifest of the result, which still has to be written."""
        details = {"key": fingerprint(self._key)} | ({} if self.part is None else {"part": self.part.as_dict()})
        return Manifest(
            self._name,
            outcome.config,
            list(outcome.inputs),
            outcome.accounting,
            seed=outcome.seed,
            details=details | dict(outcome.details),
        )

    @property
    def _name(self) -> str:
        return self.stage if self.part is None else part_stage(self.stage)

    @property
    def _key(self) -> Any:
        return self.key if self.part is None else self.part.key(self.key)

    @property
    def _title(self) -> str:
        return str(self.output) if self.part is None else f"{self.part} in {self.output}"
