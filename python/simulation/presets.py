"""Processes and tunes by name: the Pythia 8 settings behind them, and where they come from.

Settings are those of the Pythia 8 manual (arXiv:2203.11601, https://pythia.org/latest-manual).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..config.generator import Generator
from ..errors import UserError, nearest


@dataclass(frozen=True)
class Preset:
    """A process: what it is, Pythia's settings, and the keys of the ``generator`` block that it needs."""

    description: str
    settings: tuple[str, ...]
    needs: tuple[str, ...] = ()


def _only(boson: int, *daughters: int) -> tuple[str, str]:
    """Decay a boson to these particles only, whatever else the decay has."""
    return f"{boson}:onMode = off", f"{boson}:onIfAny = {' '.join(map(str, daughters))}"


def _pair(boson: int, daughter: int) -> tuple[str, str]:
    """Decay a boson to a particle and its antiparticle only (a photon: two)."""
    anti = daughter if daughter == 22 else -daughter
    return f"{boson}:onMode = off", f"{boson}:onIfMatch = {daughter} {anti}"


_DRELL_YAN = ("WeakSingleBoson:ffbar2gmZ = on", "PhaseSpace:mHatMin = 50")
_GLUON_FUSION = ("HiggsSM:gg2H = on",)
_VECTOR_BOSON_FUSION = ("HiggsSM:ff2Hff(t:ZZ) = on", "HiggsSM:ff2Hff(t:WW) = on")
_TOP_PAIR = ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on")
_TTH = ("HiggsSM:gg2Httbar = on", "HiggsSM:qqbar2Httbar = on")
_Z_AND_PARTON = ("WeakBosonAndParton:qqbar2gmZg = on", "WeakBosonAndParton:qg2gmZq = on")
_HEAVY_HIGGS = ("Higgs:useBSM = on", "HiggsBSM:gg2H2 = on", "35:m0 = 500", "35:mMin = 300", "35:doForceWidth = on",
                "35:mWidth = 1", *_pair(35, 25)[:1], "35:onIfMatch = 25 25")  # fmt: skip

PRESETS: dict[str, Preset] = {
    "dy_ll": Preset("Z/gamma* -> ee, mu mu, tau tau with m > 50 GeV", (*_DRELL_YAN, *_only(23, 11, 13, 15))),
    "dy_tautau": Preset("Z/gamma* -> tau tau with m > 50 GeV", (*_DRELL_YAN, *_only(23, 15))),
    "zjets": Preset("Z/gamma* -> ll with a parton at the matrix element, m > 50 GeV", (
        *_Z_AND_PARTON, "PhaseSpace:mHatMin = 50", "PhaseSpace:pTHatMin = 20", "23:mMin = 50", *_only(23, 11, 13, 15))),
    "wjets": Preset("W -> l nu, jets from the parton shower", ("WeakSingleBoson:ffbar2W = on", *_only(24, 11, 13, 15))),
    "ttbar": Preset("top pairs, all decays", _TOP_PAIR),
    "qcd": Preset("multijets in a range of pt-hat", ("HardQCD:all = on",), needs=("pthat",)),
    "minbias": Preset("non-diffractive inelastic collisions", ("SoftQCD:nonDiffractive = on",)),
    "ggH_tautau": Preset("gluon fusion, H -> tau tau", (*_GLUON_FUSION, *_pair(25, 15))),
    "ggH_bb": Preset("gluon fusion, H -> bb", (*_GLUON_FUSION, *_pair(25, 5))),
    "ggH_gamgam": Preset("gluon fusion, H -> gamma gamma", (*_GLUON_FUSION, *_pair(25, 22))),
    "ggH_4l": Preset("gluon fusion, H -> ZZ -> 4 leptons", (
        *_GLUON_FUSION, "25:onMode = off", "25:onIfMatch = 23 23", *_only(23, 11, 13))),
    "vbf_tautau": Preset("vector boson fusion, H -> tau tau", (*_VECTOR_BOSON_FUSION, *_pair(25, 15))),
    "vbf_bb": Preset("vector boson fusion, H -> bb", (*_VECTOR_BOSON_FUSION, *_pair(25, 5))),
    "zh_bb": Preset("ZH with Z -> ll, H -> bb", ("HiggsSM:ffbar2HZ = on", *_only(23, 11, 13, 15), *_pair(25, 5))),
    "tth_bb": Preset("ttH with H -> bb", (*_TTH, *_pair(25, 5))),
    "hh_4b": Preset("X(500) -> HH -> 4b by a narrow CP-even scalar (Pythia's H2, id 35): it has no gg -> HH", (
        *_HEAVY_HIGGS, *_pair(25, 5))),
    "zprime_tt": Preset("Z'(1000) -> t tbar", (
        "NewGaugeBoson:ffbar2gmZZprime = on", "Zprime:gmZmode = 3", "32:m0 = 1000", "PhaseSpace:mHatMin = 500",
        *_only(32, 6))),
    "zprime_tautau": Preset("Z'(1000) -> tau tau", (
        "NewGaugeBoson:ffbar2gmZZprime = on", "Zprime:gmZmode = 3", "32:m0 = 1000", "PhaseSpace:mHatMin = 500",
        *_only(32, 15))),
}  # fmt: skip
"""The processes by name. Cross sections are Pythia's, of leading order: normalise with a better one (``xsec``)."""

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
    preset = PRESETS.get(str(generator.process))
    if preset is None:
        choices = f"; known: {', '.join(sorted(PRESETS))}"
        raise UserError(
            f"{where}.process: {generator.process!r} is unknown{nearest(str(generator.process), PRESETS)}{choices}"
        )
    for key in preset.needs:
        if getattr(generator, key) is None:
            raise UserError(f"{where}.{key}: process {generator.process!r} needs it ({preset.description})")
    return preset.settings
