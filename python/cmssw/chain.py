"""The chain of a job as a script: each step in its own release, with a configuration that all jobs share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from . import commands, driver, eras

SCRIPT, JOB = "chain.sh", "nanoforge_job.py"
"""The script, and the copy of :mod:`.job` beside it."""
_HEAD = """\
#!/bin/bash
# Sample {sample}, era {era}: the steps of a chain, as central production runs them. Written by nanoforge {version}.
#
#     bash chain.sh configure STEP     let the release make STEP_cfg.py, which all jobs share
#     bash chain.sh run STEP           cmsRun, with STEP_job.py in the current folder
#     bash chain.sh crab STEP WORDS... the Python of CRAB's client, which submits what this release configures
#
# Steps: {steps}. What is for slc6, slc7 or el8 has to run inside cmssw-el6, cmssw-el7 or cmssw-el8 elsewhere.
set -euo pipefail
chain=$(cd "$(dirname "$0")" && pwd)
areas=${{NANOFORGE_AREAS:-$PWD}} # where the releases are set up

enter() {{ # release, architecture
  set +u
  source "${{CMS_PATH:-/cvmfs/cms.cern.ch}}/cmsset_default.sh"
  export SCRAM_ARCH=$2
  [ -d "$areas/$1" ] || (cd "$areas" && scramv1 project CMSSW "$1")
  eval "$(cd "$areas/$1/src" && scramv1 runtime -sh)"
  set -u
}}

case ${{2:-}} in
"""
_TAIL = """\
*)
  echo "steps: {steps}" >&2
  exit 2
  ;;
esac

case $1 in
configure) cd "$chain" && cmsDriver.py "${{arguments[@]}}" --python_filename "$2_cfg.py" --no_exec ;;
run) exec cmsRun -e -j "FJR-$2.xml" "$2_job.py" ;;
crab)
  set +u
  source "${{CMS_PATH:-/cvmfs/cms.cern.ch}}/common/crab-setup.sh"
  exec "$python" "${{@:3}}"
  ;;
esac
"""
_JOB = """\
# The configuration of step {step}, for one job.
import json
import sys

sys.path[:0] = [{folder!r}]
import nanoforge_job
import nanoforge_seeds
from {step}_cfg import process

with open({settings!r}) as file:
    nanoforge_job.apply(process, json.load(file), nanoforge_seeds)
"""
_CRAB = """\
# The configuration of step {step} for CRAB, which sets lumi sections, seeds, files and the number of events itself.
import sys

sys.path[:0] = [{folder!r}]
import FWCore.ParameterSet.Config as cms
import nanoforge_job
from {step}_cfg import process

process.options.numberOfThreads = cms.untracked.uint32({threads})
nanoforge_job.for_crab(process, {pileup!r})
"""


@dataclass(frozen=True)
class ChainStep:
    """One step of a chain.

    Attributes
    ----------
    name
        gensim, digi and so on; it writes ``<name>.root``.
    row
        How it is made.
    package
        Whether its configuration needs PhysicsTools/NanoForge in the release.
    arguments
        Of ``cmsDriver.py``, but for the name of the configuration.
    """

    name: str
    row: eras.Step
    package: bool
    arguments: tuple[str, ...]

    @property
    def system(self) -> str:
        """The operating system of its release: el6 to el9."""
        name = self.row.arch.partition("_")[0]
        return {"slc6": "el6", "slc7": "el7"}.get(name, name)

    @property
    def module(self) -> str:
        """The label of what writes its file."""
        return self.row.content.split(",")[0] + "output"


def steps(
    era: str,
    end: str,
    fragment: str,
    package: bool,
    accepted: bool,
    skim: str | None = None,
    pileup: str | None = None,
    candidates: bool = False,
) -> list[ChainStep]:
    """Return the steps of a chain, in order.

    Parameters
    ----------
    era, end
        A key of ``eras.ERAS``, and the name of the last step.
    fragment, package
        The file with generator and filters, and whether it needs PhysicsTools/NanoForge.
    accepted
        Whether a filter on what is simulated follows the simulation.
    skim
        The file with the cuts that NanoAOD is made behind, if any.
    pileup
        A premixed file, by which the configuration is made; None for no pile-up.
    candidates
        Whether NanoAOD gets the particles of jets.
    """
    rows = eras.era(era).steps
    names = [name for name in commands.SIMULATION if name in rows]
    names = names[: names.index(end) + 1]
    made = []
    for before, name in zip([None, *names], names):
        row = rows[name] if pileup else without_pileup(rows[name])
        inputs = [] if before is None else [f"file:{before}.root"]
        changes, ours = _changes(name, accepted, skim, candidates)
        more = [*(["--number_out", "1"] if before is None else []), *commands.unscheduled(row)]
        arguments = driver.arguments(era, name, f"{name}.root", inputs=inputs, pileup=pileup, row=row, more=more)
        text = "; ".join(filter(None, [row.commands, *changes]))
        kind = f"{commands.FRAGMENT}/{fragment}" if before is None else "step"
        custom = ["--customise_commands", text] if text else []
        made.append(ChainStep(name, row, package if before is None else ours, (kind, *arguments, *custom)))
    return made


def _changes(name: str, accepted: bool, skim: str | None, candidates: bool) -> tuple[list[str], bool]:
    """Return the Python that changes the process of a step, and whether that needs PhysicsTools/NanoForge."""
    if name == "gensim" and accepted:
        return [commands.ACCEPT], True
    if name != "nano":
        return [], False
    lines = []
    if candidates:
        lines = [
            "from PhysicsTools.NanoForge.cmssw import nano as nanoforge_nano",
            "nanoforge_nano.addPFCands(process)",
        ]
    if skim is not None:
        lines += ["from PhysicsTools.NanoForge.cmssw import skim as nanoforge_skim"]
        lines += [f"nanoforge_skim.addSkim(process, nanoforge_skim.read({skim!r}))"]
    return lines, bool(lines)


def without_pileup(row: eras.Step) -> eras.Step:
    """Return a step that mixes nothing into the events."""
    if "DATAMIX" not in row.step.split(","):
        return row
    options = dict(zip(row.more[::2], row.more[1::2]))
    modifiers = [m for m in options.get("--procModifiers", "").split(",") if m not in ("", "premix_stage2")]
    more = ["--procModifiers", ",".join(modifiers)] if modifiers else []
    step = ",".join(part for part in row.step.split(",") if part != "DATAMIX")
    return replace(row, step=step, content="RAWSIM", more=(*more, "--pileup", "NoPileUp"))


def script(era: str, sample: str, fragment: str, chain: Sequence[ChainStep], version: str) -> str:
    """Write the script of a chain."""
    names = " ".join(step.name for step in chain)
    out = [_HEAD.format(sample=sample, era=era, steps=names, version=version)]
    for number, step in enumerate(chain):
        lines = [line.replace(commands.SOURCES, f'"$chain/{commands.SOURCES}"') for line in
                 commands.enter(step.row, step.package)]  # fmt: skip
        if number == 0:
            lines += [f'  mkdir -p "$CMSSW_BASE/src/{commands.FRAGMENT}"',
                      f'  cp "$chain/"{shlex.quote(fragment)} "$CMSSW_BASE/src/{commands.FRAGMENT}/"']  # fmt: skip
        if number == 0 or step.package:
            lines.append('  (cd "$CMSSW_BASE/src" && scramv1 build)')
        python = "python3" if step.row.python3 else "python2"
        lines += [f"  python={python}", f"  arguments=({shlex.join(step.arguments)})", "  ;;\n"]
        out.append("\n".join([f"{step.name})", *lines]))
    return "".join([*out, _TAIL.format(steps=names)])


def job(step: str, folder: str) -> str:
    """Write the configuration of a job, which changes the common one by ``<step>_job.json``.

    ``folder`` is where the common configurations lie.
    """
    return _JOB.format(step=step, folder=folder, settings=f"{step}_job.json")


def crab(step: str, folder: str, threads: int, pileup: str | None) -> str:
    """Write the configuration that CRAB takes.

    ``folder`` is where the common configurations lie, ``pileup`` the list of premixed files there, if any.
    """
    return _CRAB.format(step=step, folder=folder, threads=threads, pileup=pileup)
