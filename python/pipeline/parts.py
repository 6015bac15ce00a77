"""Stages in parts: the share of one batch job, and how the shares of all become the whole.

What a stage can do by itself is a *unit*: an input file, an output of a skim, a block of generated events. Units are
numbered from 0 within a sample.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import DataError, UserError, nearest
from ..parallel import Report, run_jobs
from ..provenance import Accounting, FileRecord, Lost, Manifest, fingerprint
from ..provenance.manifest import NAME

_RANGE = re.compile(r"(?:(?P<sample>\w+):)?(?P<first>\d+)(?:-(?P<last>\d+))?")
_SHOWN = 12


@dataclass(frozen=True, order=True)
class Part:
    """Units ``first`` to ``last`` of a sample; without one, of a list of files."""

    sample: str | None
    first: int
    last: int

    @classmethod
    def parse(cls, text: str, units: Mapping[str | None, int]) -> Part:
        """Read ``ttbar:6-7`` (or ``6-7``, ``ttbar:6``).

        Parameters
        ----------
        text
            What the user wrote.
        units
            How many each sample has; the key is None where there are no samples.

        Raises
        ------
        UserError
            When it is not written so, or there are no such units.
        """
        match = _RANGE.fullmatch(text)
        if match is None:
            raise UserError(f"--part {text}: write SAMPLE:FIRST-LAST, e.g. ttbar:0-9")
        sample, first = match["sample"], int(match["first"])
        if sample not in units:
            samples = ", ".join(str(name) for name in units if name is not None)
            hint = nearest(str(sample), filter(None, units)) or (
                f"; write one of {samples} before it" if samples else ""
            )
            raise UserError(f"--part {text}: there is no such sample{hint}")
        last = first if match["last"] is None else int(match["last"])
        if first > last:
            raise UserError(f"--part {text}: write the first unit first: {last}-{first}")
        if last >= units[sample]:
            raise UserError(f"--part {text}: the units go from 0 to {units[sample] - 1}")
        return cls(sample, first, last)

    def __str__(self) -> str:
        prefix = "" if self.sample is None else f"{self.sample}:"
        return f"{prefix}{self.first}" + (f"-{self.last}" if self.last > self.first else "")

    def key(self, whole: Any) -> list[Any]:
        """Return what the part is made from, where ``whole`` is what all is made from."""
        return [whole, asdict(self)]

    def as_dict(self) -> dict[str, Any]:
        """Return what the manifest of the part says of it."""
        return asdict(self)


def part_stage(stage: str) -> str:
    """Return the name that the manifests of a stage's parts bear: none of them passes for the whole."""
    return f"{stage} part"


@dataclass(frozen=True)
class Gathered:
    """The finished parts of a stage with their folders, in order, and the units that are in none of them."""

    parts: Sequence[tuple[Part, Path, Manifest]]
    missing: Mapping[str | None, Sequence[int]]

    @property
    def manifests(self) -> list[Manifest]:
        """Of all parts."""
        return [manifest for _, _, manifest in self.parts]

    @property
    def inputs(self) -> list[FileRecord]:
        """Of all parts."""
        return [record for manifest in self.manifests for record in manifest.inputs]

    @property
    def entries(self) -> dict[str, int | None]:
        """Map the outputs of all parts to their entries."""
        return {output.path: output.entries for manifest in self.manifests for output in manifest.outputs}

    @property
    def checksums(self) -> dict[str, str]:
        """Map the outputs of all parts to their checksums."""
        return {output.path: str(output.adler32) for manifest in self.manifests for output in manifest.outputs}

    def accounting(self, files: Mapping[str | None, Sequence[str]]) -> Accounting:
        """Sum up the accounting of all parts; the ``files`` that missing units stand for are lost."""
        accounting = Accounting.total(m.accounting for m in self.manifests if m.accounting is not None)
        for sample, numbers in self.missing.items():
            for number in numbers:
                accounting.lose(unfinished(files[sample][number]))
        return accounting


def unfinished(file: str) -> Lost:
    """Book what no job finished."""
    return Lost(file, "no batch job finished it")


def gather(
    directory: Path,
    work: Path | None,
    stage: str,
    whole: Any,
    units: Mapping[str | None, int],
    incomplete: bool,
    jobs: int,
    *,
    verify: bool = True,
) -> Gathered:
    """Put the files of all finished parts of a stage into one folder, checked against their manifests.

    Parameters
    ----------
    directory
        Holds the parts, each in a folder of its own; folders without a manifest are unfinished and do not count.
    work
        Gets the files, as hard links where that is possible; None: they are checked, and stay where they are.
    stage
        The stage.
    whole
        What the stage is made from.
    units
        How many each sample has.
    incomplete
        Go on where units are missing.
    jobs
        Number of processes that compare checksums.
    verify
        Compare them; not where a part's files are elsewhere than its manifest.

    Raises
    ------
    UserError
        When there are no parts, or parts of something else.
    DataError
        When a part is damaged, two have the same units, units are missing, or an input was replaced since.
    """
    finished = []
    for folder in sorted(path.parent for path in directory.glob(f"*/{NAME}")):
        manifest = Manifest.read(folder, part_stage(stage))
        part = Part(**manifest.details["part"])
        if manifest.details["key"] != fingerprint(part.key(whole)):
            raise UserError(f"{folder}: made with another analysis, or from other files: give the parts of this one")
        _check_inputs(folder, manifest)
        finished.append((part, folder, manifest))
    if not finished:
        raise UserError(f"{directory}: there are no finished parts of '{stage}' in it")
    finished.sort(key=lambda item: (str(item[0].sample), item[0].first))
    missing = _missing([part for part, _, _ in finished], units)
    if missing and not incomplete:
        count = sum(map(len, missing.values()))
        raise DataError(
            f"{directory}: {count} of {sum(units.values())} units are in no finished part: {_listed(missing)}: "
            "resubmit their jobs, or go on without them (--skip-bad-files)"
        )
    if verify:
        run_jobs(partial(_take, work), [(folder, manifest) for _, folder, manifest in finished], jobs, "checking parts")
    return Gathered(finished, missing)


def _check_inputs(folder: Path, manifest: Manifest) -> None:
    """Refuse a part whose inputs were replaced since: the whole would be of files that are no more."""
    replaced = next((record.path for record in manifest.inputs if record.replaced()), None)
    if replaced is not None:
        raise DataError(
            f"{replaced}: was replaced after the job of {folder.name} had read it: remove {folder.resolve()}, and "
            "'nanoforge resubmit' makes it again"
        )


def _missing(parts: Iterable[Part], units: Mapping[str | None, int]) -> dict[str | None, list[int]]:
    """List the units that are in no part."""
    covered: dict[str | None, set[int]] = {sample: set() for sample in units}
    for part in parts:
        of_part = set(range(part.first, part.last + 1))
        twice = of_part & covered[part.sample]
        if twice:
            raise DataError(f"unit {min(twice)} of {part.sample or 'the files'} is in two parts: remove one of them")
        covered[part.sample] |= of_part
    gaps = {sample: sorted(set(range(number)) - covered[sample]) for sample, number in units.items()}
    return {sample: numbers for sample, numbers in gaps.items() if numbers}


def _listed(missing: Mapping[str | None, Sequence[int]]) -> str:
    """Name missing units, neighbours together, and not more than a few."""
    runs: list[Part] = []
    for sample, numbers in missing.items():
        for number in numbers:
            if runs and runs[-1].sample == sample and runs[-1].last == number - 1:
                runs[-1] = Part(sample, runs[-1].first, number)
            else:
                runs.append(Part(sample, number, number))
    return ", ".join(map(str, runs[:_SHOWN])) + (", ..." if len(runs) > _SHOWN else "")


def _take(work: Path | None, job: tuple[Path, Manifest], report: Report) -> None:
    """Check the files of one part, and take them over."""
    folder, manifest = job
    manifest.verify(folder)
    for record in manifest.outputs if work is not None else ():
        target = work / record.path  # type: ignore[operator]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(folder / record.path, target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(folder / record.path, target)
    report(1)
