"""The standard part of a configuration, by the release's own ConfigBuilder: what ``cmsDriver.py`` would write.

The same list of arguments makes a process here and a command line in ``nanoforge cmsrun``.
"""

from __future__ import annotations

import shlex
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any

from . import eras, gen

FROZEN = "PhysicsTools/NanoForge/cmssw/frozen"
"""Where ConfigBuilder believes to find the generator: a module that is made in memory."""


def arguments(
    era: str,
    step: str,
    output: str,
    events: int = -1,
    *,
    inputs: Sequence[str] = (),
    steps: str | None = None,
    content: str | None = None,
    tier: str | None = None,
    conditions: str | None = None,
    modifiers: str | None = None,
    data: bool = False,
    threads: int = 1,
    pileup: str | None = None,
    row: eras.Step | None = None,
    more: Sequence[str] = (),
) -> list[str]:
    """Return the arguments of ``cmsDriver.py`` for a step of a campaign.

    Parameters
    ----------
    era, step
        A key of ``eras.ERAS``, and of its ``steps``.
    output
        The file to write; with several contents the others are called ``<output>_in<CONTENT>.root``.
    events
        Events to be read, or tried where they are generated; -1 is all.
    inputs
        Files; none where events are generated.
    steps, content, tier, conditions, modifiers
        Instead of the table's (``content``: one or several, with commas, of the same ``tier``).
    data
        Collision data, not Monte Carlo.
    threads
        Of the job.
    pileup
        Premixed events in place of the table's, for a step with DATAMIX.
    row
        The step, in place of that of the table.
    more
        Further arguments.
    """
    campaign = eras.era(era)
    row = row or campaign.steps[step]
    steps, content = steps or row.step, content or row.content
    tiers = ",".join([tier or row.tier] * len(content.split(",")))
    if data:
        content, tiers = content.replace("SIM", ""), tiers.replace("SIM", "")
    out = ["--step", steps, "--data" if data else "--mc", "--era", modifiers or row.modifiers]
    out += ["--conditions", conditions or (campaign.data_conditions if data else row.conditions)]
    out += ["--geometry", eras.GEOMETRY, "--eventcontent", content, "--datatier", tiers, *row.more]
    if "GEN" in steps.split(","):
        out += ["--beamspot", campaign.beamspot]
    if "DATAMIX" in steps.split(","):
        out += ["--pileup_input", pileup or campaign.pileup]
    if inputs:
        out += ["--filein", ",".join(inputs)]
    return [*out, "--fileout", f"file:{output}", "--nThreads", str(threads), "-n", str(events), *more]


def nanogen() -> tuple[str, str]:
    """Return the steps and the event content of NanoGEN, which became a kind of NANO in 14_1_X."""
    from Configuration.Applications.ConfigBuilder import ConfigBuilder

    if hasattr(ConfigBuilder, "prepare_NANOGEN"):
        return "GEN,NANOGEN", "NANOAODGEN"
    return "GEN,NANO:@GEN", "NANOAODSIM"


def process(argv: Sequence[str], modules: Mapping[str, Any] | None = None) -> Any:
    """Make the process that ``cmsDriver.py`` would write for these arguments.

    Parameters
    ----------
    argv
        As :func:`arguments` returns them.
    modules
        The generator and its filters, by label and in order, where events are generated.
    """
    from Configuration.Applications.cmsDriverOptions import OptionsFromItems
    from Configuration.Applications.ConfigBuilder import ConfigBuilder

    if modules:
        _publish(modules)
    options = OptionsFromItems([*argv, "--evt_type", FROZEN])
    options.arguments = shlex.join(argv)  # for the head of the file that is not written
    builder = ConfigBuilder(options, with_output=True, with_input=True)
    builder.prepare()
    if modules:
        _begin_with(builder.process, getattr(builder.process, gen.PRODUCTION))
    return builder.process


def _publish(modules: Mapping[str, Any]) -> None:
    import FWCore.ParameterSet.Config as cms

    fragment = types.ModuleType(FROZEN.replace("/", "."))
    for name, module in modules.items():
        setattr(fragment, name, module)
    first, *rest = modules.values()
    sequence = cms.Sequence(first)
    for module in rest:
        sequence += module
    setattr(fragment, gen.PRODUCTION, sequence)
    sys.modules[fragment.__name__] = fragment


def _begin_with(process: Any, sequence: Any) -> None:
    """Let all paths begin with the generator: ConfigBuilder does so in the file that it writes, but not in memory."""
    for path in process.paths_().values():
        if gen.GENERATOR not in path.moduleNames():
            path.insert(0, sequence)
