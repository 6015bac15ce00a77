"""The steps of a campaign as commands for ``cmsDriver.py``, each in its own release."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from . import driver, eras, gen

SIMULATION = ("gensim", "digi", "hlt", "reco", "mini", "nano")
"""From nothing to NanoAOD; eras whose trigger runs with the digitisation have no step ``hlt``."""
FLAT, EDM = "NANOAODSIM", "NANOEDMAODSIM"
"""Event contents: flat NanoAOD, and its tables as EDM."""
SEEDS, SOURCES = "nanoforge_seeds.py", "NanoForge.src.tar.gz"
"""What lies beside the script: a copy of :mod:`.seeds`; and the package, where a release needs more than it has."""
FRAGMENT = "Configuration/GenProduction/python"
_PACKAGE = "PhysicsTools/NanoForge"
_SEEDED = (
    "import sys; sys.path.insert(0, '$PWD'); import nanoforge_seeds; "
    "nanoforge_seeds.apply(process, '{step}', $seed, $lumi)"
)
_LUMI = "process.source.firstLuminosityBlock = cms.untracked.uint32($lumi)"
ACCEPT = (
    f"process.simulation_step += process.{gen.ACCEPTANCE}; "
    "process.RAWSIMoutput.SelectEvents.SelectEvents = ['simulation_step']"
)
_HEAD = """\
#!/bin/bash
# Sample {sample}, era {era}, as central production runs it. Written by nanoforge cmsrun.
#
#     bash commands.sh STEP          steps, in this order: {steps}
#
# Each runs in its own release, which is set up here if need be; what is for slc6 or slc7 has to run inside cmssw-el6
# or cmssw-el7. Where a configuration needs PhysicsTools/NanoForge, that is unpacked and built there first.
set -euo pipefail
cd "$(dirname "$0")"
{numbers}
enter() {{ # release, architecture
  set +u
  source /cvmfs/cms.cern.ch/cmsset_default.sh
  export SCRAM_ARCH=$2
  [ -d "$1" ] || scramv1 project CMSSW "$1"
  eval "$(cd "$1/src" && scramv1 runtime -sh)"
  set -u
}}

case ${{1:-}} in
"""
_NUMBERS = "# every job of a sample needs another lumi section, which its seeds follow: lumi=2 bash commands.sh ...\n"
_TAIL = """\
*)
  echo "steps: {steps}" >&2
  exit 2
  ;;
esac
"""


def generation(era: str, block: Mapping[str, Any], step: str, fragment: str, package: bool) -> str:
    """Write the script that generates a sample, and with the step "sim" takes it to NanoAOD.

    Parameters
    ----------
    era
        A key of ``eras.ERAS``.
    block
        The frozen generator.
    step
        "gen" or "sim".
    fragment
        The file with generator and filters, beside the script.
    package
        Whether these need PhysicsTools/NanoForge in the release.
    """
    rows, sample = eras.era(era).steps, block["sample"]
    names = [name for name in SIMULATION if name in rows] if step == "sim" else ["gen"]
    numbers = f"{_NUMBERS}seed=${{seed:-{block['seed']}}} lumi=${{lumi:-1}}\n"
    out = [_HEAD.format(sample=sample, era=era, steps=" ".join(names), numbers=numbers)]
    out.append(_first(era, block, names[0], fragment, package))
    for before, name in zip(names, names[1:]):
        commands = [rows[name].commands, _SEEDED.format(step=name)]
        out.append(_later(era, sample, name, name, before, commands))
    return "".join([*out, _TAIL.format(steps=" ".join(names))])


def reading(era: str, sample: str, step: str, data: bool, commands: Sequence[str], more: Sequence[str]) -> str:
    """Write the script that makes NanoAOD of a sample's MiniAOD.

    Parameters
    ----------
    era, sample
        A key of ``eras.ERAS``; the input is ``<sample>_mini.root``.
    step
        "nano", or "skim", which writes EDM NanoAOD too.
    data
        Collision data.
    commands
        Python that changes the process, by PhysicsTools/NanoForge.
    more
        Further arguments.
    """
    content = f"{FLAT},{EDM}" if step == "skim" else FLAT
    body = _later(era, sample, step, "nano", "mini", commands, bool(commands), content=content, data=data, more=more)
    return _HEAD.format(sample=sample, era=era, steps=step, numbers="") + body + _TAIL.format(steps=step)


def _first(era: str, block: Mapping[str, Any], name: str, fragment: str, package: bool) -> str:
    row, sample = eras.era(era).steps["gensim"], block["sample"]
    steps, tier = ("GEN", "GEN") if name == "gen" else (None, None)
    more = ["--number_out", str(block["events"]), *unscheduled(row)]
    arguments = driver.arguments(era, "gensim", f"{sample}_{name}.root", steps=steps, tier=tier, more=more)
    accepted = [ACCEPT] if block["acceptance"] and name != "gen" else []
    lines = [
        *enter(row, package),
        f'  mkdir -p "$CMSSW_BASE/src/{FRAGMENT}"',
        f'  cp {shlex.quote(fragment)} "$CMSSW_BASE/src/{FRAGMENT}/"',
        '  (cd "$CMSSW_BASE/src" && scramv1 build)',
    ]
    commands = [_SEEDED.format(step="gensim"), _LUMI, *accepted]
    return _case(name, lines, f"{FRAGMENT}/{fragment}", arguments, f"{sample}_{name}", commands)


def _later(
    era: str,
    sample: str,
    name: str,
    key: str,
    before: str,
    commands: Sequence[str],
    package: bool = False,
    more: Sequence[str] = (),
    **changes: Any,
) -> str:
    row = eras.era(era).steps[key]
    more, inputs = [*unscheduled(row), *more], [f"file:{sample}_{before}.root"]
    arguments = driver.arguments(era, key, f"{sample}_{name}.root", inputs=inputs, more=more, **changes)
    build = ['  (cd "$CMSSW_BASE/src" && scramv1 build)'] if package else []
    return _case(name, [*enter(row, package), *build], "step", arguments, f"{sample}_{name}", commands)


def unscheduled(row: eras.Step) -> list[str]:
    """Return what only the ConfigBuilder of that very release is told: newer ones run unscheduled anyway."""
    return ["--runUnscheduled"] if row.unscheduled else []


def enter(row: eras.Step, package: bool) -> list[str]:
    """Return how to enter a release, with the sources of the package where they are needed: cmsDriver loads them."""
    lines = [f"  enter {row.release} {row.arch}"]
    if package:
        without = "" if row.python3 else f" --exclude={_PACKAGE}/python"
        unpack = f'tar -xmzf {SOURCES} -C "$CMSSW_BASE/src"{without}'
        lines.append(f'  [ "$CMSSW_BASE/src/{_PACKAGE}" -nt {SOURCES} ] || {unpack}')
    return lines


def _case(
    step: str, lines: Sequence[str], kind: str, arguments: Sequence[str], name: str, commands: Sequence[str]
) -> str:
    driven = shlex.join(["cmsDriver.py", kind, *arguments, "--python_filename", f"{name}_driver.py", "--no_exec"])
    text = "; ".join(filter(None, commands))
    if text:
        driven += f' --customise_commands "{text}"'  # in double quotes: the shell fills in its variables
    return "\n".join([f"{step})", *lines, f"  {driven}", f"  cmsRun {name}_driver.py", "  ;;\n"])
