"""From a frozen ``generator`` block to the generator and filters of a CMSSW job.

``nanoforge cmsrun`` freezes the block of a sample: presets and tunes are expanded to Pythia's settings.
All functions take ``cms``, which is ``FWCore.ParameterSet.Config`` in a job and a writer of text in :func:`fragment`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FORMAT = 1
PRODUCTION = "ProductionFilterSequence"
"""The name under which ConfigBuilder looks for what every path begins with."""
GENERATOR, ACCEPTANCE = "generator", "nanoforgeAcceptance"
_FAST = "fastSimProducer"


def read(path: str | Path) -> dict[str, Any]:
    """Read a frozen block.

    Returns
    -------
    dict
        ``sample``, ``settings`` (Pythia's lines in order), ``energy`` (GeV), ``events``, ``seed``; ``gun`` or None:
        ``ids``, ``pt``, ``eta``, ``phi``, ``mass`` (intervals, GeV and radian; ``mass`` None for Pythia's),
        ``antiparticle``, ``flatten`` or None (edges ``mass`` and ``pt``, ``acceptance`` of mass bins * pt bins);
        ``filters``: by name ``mother``, ``daughters``, ``pt``, ``eta``, ``delta_r``, ``mass``, ``count``;
        ``plugins``, which may be missing: filters by name, each with its ``type`` and by name ``parameters``, as
        ``[type, value]``;
        ``acceptance`` or None: the same as a filter, and ``ecal``, ``hcal`` (GeV), ``hit_delta_r``.

    Raises
    ------
    ValueError
        When the file is something else.
    """
    content = json.loads(Path(path).read_text())
    if not isinstance(content, dict) or content.get("format") != FORMAT or "settings" not in content:
        raise ValueError(f"{path}: not a generator block that this version of 'nanoforge cmsrun' froze")
    return content


def label(name: str, suffix: str) -> str:
    """Return the label of a module: those of CMSSW have no underscores."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest) + suffix


def modules(block: dict[str, Any], cms: Any, concurrent: bool = True) -> dict[str, Any]:
    """Return the generator and its filters, in the order in which they run.

    Parameters
    ----------
    block
        As :func:`read` returns it.
    cms
        ``FWCore.ParameterSet.Config``.
    concurrent
        Take the generator that runs in several threads, which releases before 11_1_X do not have.
    """
    out = {GENERATOR: _gun(block, cms) if block["gun"] else _process(block, cms, concurrent)}
    for name, cuts in block["filters"].items():
        out[label(name, "Filter")] = cms.EDFilter(
            "GenDecayFilter",
            src=cms.InputTag(GENERATOR, "unsmeared"),
            format=cms.string("HepMC"),
            **_decay(cuts, cms),
        )
    for name, plugin in block.get("plugins", {}).items():
        values = {key: _parameter(kind, value, cms) for key, (kind, value) in plugin["parameters"].items()}
        out[label(name, "Filter")] = cms.EDFilter(plugin["type"], **values)
    return out


def _parameter(kind: str, value: Any, cms: Any) -> Any:
    values = value if isinstance(value, list) else [value]
    if kind == "VInputTag":
        values = [cms.InputTag(tag) for tag in values]
    return getattr(cms, kind)(*values)


def acceptance(block: dict[str, Any], cms: Any, fast: bool = False) -> Any:
    """Return the filter on what reaches the calorimeters, to run after the simulation; None where there is none.

    ``fast`` takes the hits of FastSim.
    """
    cuts = block.get("acceptance")
    if cuts is None:
        return None
    hits = {}
    if fast:
        hits["ecalHits"] = cms.VInputTag(*(cms.InputTag(_FAST, f"EcalHits{part}") for part in ("EB", "EE")))
        hits["hcalHits"] = cms.VInputTag(cms.InputTag(_FAST, "HcalHits"))
    return cms.EDFilter(
        "SimAcceptanceFilter",
        minEcalEnergy=cms.double(cuts["ecal"]),
        minHcalEnergy=cms.double(cuts["hcal"]),
        hitDeltaR=cms.double(cuts["hit_delta_r"]),
        **hits,
        **_decay(cuts, cms),
    )


def _decay(cuts: dict[str, Any], cms: Any) -> dict[str, Any]:
    return {
        "mother": cms.int32(cuts["mother"] or 0),
        "daughters": cms.vint32(*cuts["daughters"]),
        "minPt": cms.double(cuts["pt"]),
        "maxAbsEta": cms.double(-1.0 if cuts["eta"] is None else cuts["eta"]),
        "deltaR": cms.vdouble(*(cuts["delta_r"] or ())),
        "mass": cms.vdouble(*(cuts["mass"] or ())),
        "count": cms.uint32(cuts["count"]),
    }


def _process(block: dict[str, Any], cms: Any, concurrent: bool) -> Any:
    return cms.EDFilter(
        "Pythia8ConcurrentGeneratorFilter" if concurrent else "Pythia8GeneratorFilter",
        comEnergy=cms.double(block["energy"]),
        **_pythia(block, cms),
    )


def _gun(block: dict[str, Any], cms: Any) -> Any:
    """Take CMSSW's own gun where the mass is Pythia's."""
    gun = block["gun"]
    names = ("pt", "eta", "phi") if gun["mass"] is None else ("pt", "eta", "phi", "mass")
    ranges = {
        edge + name.capitalize(): cms.double(value) for name in names for edge, value in zip(("Min", "Max"), gun[name])
    }
    if gun["flatten"]:
        ranges["Flatten"] = cms.PSet(
            MassEdges=cms.vdouble(*gun["flatten"]["mass"]),
            PtEdges=cms.vdouble(*gun["flatten"]["pt"]),
            Acceptance=cms.vdouble(*gun["flatten"]["acceptance"]),
        )
    return cms.EDFilter(
        "Pythia8PtGun" if gun["mass"] is None else "Pythia8PtMassGun",
        PGunParameters=cms.PSet(
            ParticleID=cms.vint32(*gun["ids"]), AddAntiParticle=cms.bool(gun["antiparticle"]), **ranges
        ),
        Verbosity=cms.untracked.int32(0),
        psethack=cms.string(block["sample"]),
        firstRun=cms.untracked.uint32(1),
        **_pythia(block, cms),
    )


def _pythia(block: dict[str, Any], cms: Any) -> dict[str, Any]:
    return {
        "maxEventsToPrint": cms.untracked.int32(0),
        "pythiaPylistVerbosity": cms.untracked.int32(0),
        "pythiaHepMCVerbosity": cms.untracked.bool(False),
        "PythiaParameters": cms.PSet(settings=cms.vstring(*block["settings"]), parameterSets=cms.vstring("settings")),
    }


class _Text:
    """Stands for ``cms`` and for all that it makes, and knows how that is written."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __getattr__(self, name: str) -> _Text:
        return _Text(f"{self._text}.{name}")

    def __call__(self, *values: Any, **parameters: Any) -> _Text:
        items = [_literal(v) for v in values] + [f"{k}={_literal(v)}" for k, v in parameters.items()]
        line = ", ".join(items)
        if len(line) > 90:
            line = "\n    " + ",\n".join(items).replace("\n", "\n    ") + ",\n"
        return _Text(f"{self._text}({line})")

    def __str__(self) -> str:
        return self._text


def _literal(value: Any) -> str:
    return str(value) if isinstance(value, _Text) else repr(value)


def fragment(block: dict[str, Any], head: str, concurrent: bool = True) -> str:
    """Write generator and filters as a fragment for ``cmsDriver.py``: plain Python, also for Python 2.7 (10_6_X).

    Parameters
    ----------
    block, concurrent
        See :func:`modules`.
    head
        The first lines, without comment signs.
    """
    made = modules(block, _Text("cms"), concurrent)
    lines = [*(f"# {line}" for line in head.splitlines()), "import FWCore.ParameterSet.Config as cms", ""]
    lines += [f"{name} = {module}\n" for name, module in made.items()]
    lines.append(f"{PRODUCTION} = cms.Sequence({' + '.join(made)})\n")
    behind = acceptance(block, _Text("cms"))
    if behind is not None:
        lines += ["# after the simulation", f"{ACCEPTANCE} = {behind}\n"]
    return "\n".join(lines)
