"""Processes and tunes by name: the Pythia 8 settings behind them, and where they come from.

Settings are those of the Pythia 8 manual (arXiv:2203.11601, https://pythia.org/latest-manual).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError

from ..config import pythia_settings
from ..config.base import Strict
from ..config.generator import Generator, is_file
from ..config.mistakes import explain
from ..errors import UserError, first_line, nearest

FOLDER = Path(__file__).parent / "processes"


class Preset(Strict):
    """A process: what it is, Pythia's settings, and the keys of the ``generator`` block that it needs.

    Each is a file of ``processes/``, or one of the user's. Cross sections are Pythia's, of leading order: normalise
    with a better one (``xsec``).
    """

    description: str
    """What it is, in a line."""
    settings: Annotated[list[str], Field(min_length=1), AfterValidator(pythia_settings.split)]
    """Pythia's settings."""
    needs: tuple[Literal["pthat"], ...] = ()
    """Keys of the ``generator`` block that it needs."""

    @property
    def meaning(self) -> str:
        """What it is, and what it needs."""
        return self.description + "".join(f" (needs {key})" for key in self.needs)


def preset_names() -> list[str]:
    """Return the names of ours, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_preset(process: str, where: str) -> Preset:
    """Read a preset: one of ours by its name, or one of the user's by the path of its file.

    Parameters
    ----------
    process
        The name or path.
    where
        The block in the analysis file, for messages.

    Raises
    ------
    UserError
        When there is none, or its file is wrong.
    """
    path = Path(process) if is_file(process) else FOLDER / f"{process}.yaml"
    if path.parent == FOLDER and process not in (names := preset_names()):
        raise UserError(
            f"{where}.process: {process!r} is unknown{nearest(process, names)}; known: {', '.join(names)}; a file of "
            "your own is named with its suffix, '.yaml'"
        )
    try:
        return Preset.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise UserError(f"{where}.process: {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{where}.process: {path}: not valid YAML: {first_line(error)}") from None
    except ValidationError as error:
        raise UserError(f"{where}.process: {path}: {explain(error.errors(), Preset)}") from None


class Presets:
    """All processes by name, as the registries of other kinds have what is theirs."""

    def all(self) -> Iterator[tuple[str, Preset]]:
        """Yield ours with their names."""
        for name in preset_names():
            yield name, find_preset(name, "list")

    def find(self, spec: str, key: str) -> Preset:
        """Read one of the user's own."""
        return find_preset(spec, key.removesuffix(".process"))


PRESETS = Presets()
TUNES: dict[str, tuple[str, ...]] = {
    "Monash": ("Tune:pp = 14", "Tune:ee = 7"),
    "CP5": (
        "Tune:pp = 14", "Tune:ee = 7", "PDF:pSet = 20",
        "MultipartonInteractions:ecmPow = 0.03344", "MultipartonInteractions:pT0Ref = 1.41",
        "MultipartonInteractions:bProfile = 2", "MultipartonInteractions:coreRadius = 0.7634",
        "MultipartonInteractions:coreFraction = 0.63", "ColourReconnection:range = 5.176", "SigmaTotal:zeroAXB = off",
        *(f"{part}:alphaS{setting}" for part in ("SpaceShower", "TimeShower", "SigmaProcess", "MultipartonInteractions")
          for setting in ("order = 2", "value = 0.118")),
    ),
}  # fmt: skip
"""Monash 2013 (arXiv:1404.5630) and CMS's CP5 (arXiv:1903.12179; the numbers as CMSSW sets them in
``Configuration/Generator/python/MCTunes2017/PythiaCP5Settings_cfi.py``)."""

COMMON = ("ParticleDecays:limitTau0 = on", "ParticleDecays:tau0Max = 10")
"""As in CMS, what lives longer than 10 mm/c is left to the detector."""


def settings(generator: Generator, where: str) -> list[str]:
    """Return the Pythia 8 settings of a ``generator`` block, in the order in which they are read.

    Parameters
    ----------
    generator
        The block.
    where
        Its key in the analysis file, for messages.

    Raises
    ------
    UserError
        When there is no such preset, or it needs something that is not given.
    """
    lines = [*TUNES[generator.tune], *COMMON]
    if generator.process is not None:
        lines += _process(generator, where)
    if generator.pthat is not None:
        lines += [f"PhaseSpace:pTHatMin = {generator.pthat[0]!r}", f"PhaseSpace:pTHatMax = {generator.pthat[1]!r}"]
    if generator.gun is not None:
        lines += ["ProcessLevel:all = off"]
    if not generator.mpi:
        lines += ["PartonLevel:MPI = off"]
    return [*lines, *generator.settings, f"Beams:eCM = {generator.energy!r}"]


def _process(generator: Generator, where: str) -> Sequence[str]:
    preset = find_preset(str(generator.process), where)
    for key in preset.needs:
        if getattr(generator, key) is None:
            raise UserError(f"{where}.{key}: process {generator.process!r} needs it ({preset.description})")
    return preset.settings
