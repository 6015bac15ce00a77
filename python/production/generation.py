"""What a CMSSW release is given to generate a sample: the frozen generator, its fragment, our package."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..cmssw import gen as generators
from ..cmssw.descriptions import PLUGINS
from ..cmssw.eras import ERAS
from ..config.cmssw import Acceptance, PluginFilter
from ..config.generator import Generator, GenFilter, GunParticle
from ..errors import UserError
from ..version import __version__
from .plugin_filters import frozen_filters

PACKAGE = "PhysicsTools/NanoForge"
_OWN = ("GenDecayFilter", "Pythia8PtMassGun", "SimAcceptanceFilter")


def freeze(generator: Generator, sample: str, acceptance: Acceptance | None = None) -> dict[str, Any]:
    """Expand a ``generator`` block to plain JSON, as ``cmssw.gen.read`` describes it.

    A gun that is to be flat gets the acceptance of a survey by the embedded generator.

    Raises
    ------
    UserError
        For a gun that CMSSW's cannot shoot.
    """
    from ..simulation import presets

    where = f"samples.{sample}.generator"
    return {
        "format": generators.FORMAT,
        "sample": sample,
        "settings": presets.settings(generator, where),
        "energy": generator.energy,
        "events": generator.events,
        "seed": generator.seed,
        "gun": None if generator.gun is None else _gun(generator, generator.gun, sample),
        "filters": {name: _cuts(cuts) for name, cuts in generator.filters.items()},
        "acceptance": None if acceptance is None else _cuts(acceptance),
    }


def _cuts(cuts: GenFilter) -> dict[str, Any]:
    return cuts.model_dump(mode="json")


def _gun(generator: Generator, particles: Sequence[GunParticle], sample: str) -> dict[str, Any]:
    where = f"samples.{sample}.generator.gun"
    first, others = particles[0], particles[1:]
    ranges = first.model_dump(mode="json", exclude={"pdgId"})
    if any(other.model_dump(mode="json", exclude={"pdgId"}) != ranges for other in others):
        raise UserError(f"{where}: CMSSW's gun has the same ranges for all its particles: write them alike")
    ids = [particle.pdgId for particle in particles]
    if first.mass is not None and any(abs(i) <= 6 or i == 21 for i in ids):
        raise UserError(f"{where}.mass: CMSSW's gun cannot choose the mass of a quark or gluon: leave it out")
    flatten = None
    if generator.flatten is not None:
        from ..simulation.generator.event_blocks import survey

        occupancy = survey(generator, sample)
        share = occupancy.passed / occupancy.tried.clip(min=1)
        flatten = {"mass": occupancy.mass.tolist(), "pt": occupancy.pt.tolist(), "acceptance": share.tolist()}
    return {"ids": ids, **ranges, "flatten": flatten}


def checked_block(
    generator: Generator | None,
    name: str,
    era: str,
    acceptance: Acceptance | None,
    filters: Sequence[PluginFilter] = (),
) -> dict[str, Any]:
    """Freeze the generator of a sample (see :func:`freeze`), where a release of an era can run it.

    Raises
    ------
    UserError
        When there is none, it reads LHE files, has another energy, or Pythia refuses a setting; or a filter by a plugin
        (``filters``) is wrong.
    """
    from ..simulation.generator.event_blocks import check

    where = f"samples.{name}.generator"
    if generator is None:
        raise UserError(f"samples.{name}: has no 'generator': there is nothing to generate")
    if generator.lhe_file is not None:
        raise UserError(f"{where}: no configuration reads LHE files: use cmsDriver.py with --filein and --filetype LHE")
    energy = ERAS[era].energy
    if generator.gun is None and generator.energy != energy:
        raise UserError(f"{where}.energy: {generator.energy:g} GeV, but the protons of {era} collide at {energy:g} GeV")
    labels = [generators.label(cut, "Filter") for cut in generator.filters]
    if len(set(labels)) < len(labels):
        raise UserError(f"{where}.filters: two names differ by underscores only, which CMSSW's labels do not have")
    plugins = frozen_filters(filters, generator.filters)
    check(generator, name)
    return {**freeze(generator, name, acceptance), **({"plugins": plugins} if plugins else {})}


def fragment(block: dict[str, Any], era: str, python3: bool) -> tuple[str, bool]:
    """Write generator and filters of a frozen block as cmsDriver takes them.

    Returns
    -------
    tuple[str, bool]
        The text, and whether it needs :data:`PACKAGE` in the release.
    """
    head = f"Sample {block['sample']}, era {era}: generator and filters, written by nanoforge {__version__}."
    text = generators.fragment(block, head, python3)
    package = "plugins" in block or any(name in text for name in _OWN)
    if package:
        text = text.replace("\n", f"\n# Needs {PACKAGE} in the release, and built.\n", 1)
    return text, package


def sources(more: Iterable[Path] = ()) -> bytes:
    """Pack what a release builds of :data:`PACKAGE`: plugins, and what cmsRun imports. Always the same bytes.

    ``more`` are plugins of the user's.
    """
    python = Path(__file__).resolve().parents[1]
    ours = [path for path in PLUGINS.iterdir() if path.suffix in (".h", ".cc", ".xml")]
    sources = {f"plugins/{path.name}": path for path in (*more, *ours)}
    sources |= {f"python/{path.relative_to(python)}": path for path in (python / "cmssw").glob("*.py")}
    sources |= {f"python/{name}": python / name for name in ("__init__.py", "version.py")}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as out:
        for name, path in sorted(sources.items()):
            member = tarfile.TarInfo(f"{PACKAGE}/{name}")
            member.size, member.mode = path.stat().st_size, 0o644
            out.addfile(member, io.BytesIO(path.read_bytes()))
    return gzip.compress(archive.getvalue(), mtime=0)
