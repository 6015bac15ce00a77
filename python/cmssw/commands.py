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
_FRAGMENT = "Configuration/GenProduction/python"
_RANDOM = (
    "process.RandomNumberGeneratorService.generator.initialSeed=$seed; "
    "process.source.firstLuminosityBlock=cms.untracked.uint32($lumi)"
)
_ACCEPT = (
    f"; process.simulation_step += process.{gen.ACCEPTANCE}; "
    "process.RAWSIMoutput.SelectEvents.SelectEvents = ['simulation_step']"
)
_HEAD = """\
#!/bin/bash
# Sample {sample}, era {era}, as central production runs it. Written by nanoforge cmsrun.
#
#     bash commands.sh STEP          steps, in this order: {steps}
#
# Each runs in its own release, which is set up here if need be; what is for slc6 or slc7 has to run inside cmssw-el6
# or cmssw-el7. Where a configuration needs PhysicsTools/NanoForge, clone it into src of that release and build it.
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
_NUMBERS = "# jobs of the same sample need numbers of their own: seed=2 lumi=2 bash commands.sh ...\n"
_TAIL = """\
*)
  echo "steps: {steps}" >&2
  exit 2
  ;;
esac
"""


def generation(era: str, block: Mapping[str, Any], step: str, fragment: str) -> str:
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
    """
    rows, sample = eras.era(era).steps, block["sample"]
    names = [name for name in SIMULATION if name in rows] if step == "sim" else ["gen"]
    numbers = f"{_NUMBERS}seed=${{seed:-{block['seed']}}} lumi=${{lumi:-1}}\n"
    out = [_HEAD.format(sample=sample, era=era, steps=" ".join(names), numbers=numbers)]
    out.append(_first(era, block, names[0], fragment))
    for before, name in zip(names, names[1:]):
        out.append(_later(era, sample, name, name, before))
    return "".join([*out, _TAIL.format(steps=" ".join(names))])


def reading(era: str, sample: str, step: str, data: bool, more: Sequence[str]) -> str:
    """Write the script that makes NanoAOD of a sample's MiniAOD.

    Parameters
    ----------
    era, sample
        A key of ``eras.ERAS``; the input is ``<sample>_mini.root``.
    step
        "nano", or "skim", which writes EDM NanoAOD too.
    data
        Collision data.
    more
        Further arguments.
    """
    content = f"{FLAT},{EDM}" if step == "skim" else FLAT
    body = _later(era, sample, step, "nano", "mini", content=content, data=data, more=more)
    return _HEAD.format(sample=sample, era=era, steps=step, numbers="") + body + _TAIL.format(steps=step)


def _first(era: str, block: Mapping[str, Any], name: str, fragment: str) -> str:
    row, sample = eras.era(era).steps["gensim"], block["sample"]
    steps, tier = ("GEN", "GEN") if name == "gen" else (None, None)
    more = ["--number_out", str(block["events"])]
    words = driver.arguments(era, "gensim", f"{sample}_{name}.root", steps=steps, tier=tier, more=more)
    random = _RANDOM + (_ACCEPT if block["acceptance"] and name != "gen" else "")
    lines = [
        f"  enter {row.release} {row.arch}",
        f'  mkdir -p "$CMSSW_BASE/src/{_FRAGMENT}"',
        f'  cp {shlex.quote(fragment)} "$CMSSW_BASE/src/{_FRAGMENT}/"',
        '  (cd "$CMSSW_BASE/src" && scramv1 build)',
        "  " + _driver(f"{_FRAGMENT}/{fragment}", words, f"{sample}_{name}") + f' --customise_commands "{random}"',
    ]
    return _case(name, lines, f"{sample}_{name}")


def _later(era: str, sample: str, name: str, key: str, before: str, **changes: Any) -> str:
    row = eras.era(era).steps[key]
    words = driver.arguments(era, key, f"{sample}_{name}.root", inputs=[f"file:{sample}_{before}.root"], **changes)
    lines = [f"  enter {row.release} {row.arch}", "  " + _driver("step", words, f"{sample}_{name}")]
    return _case(name, lines, f"{sample}_{name}")


def _driver(kind: str, words: Sequence[str], name: str) -> str:
    return shlex.join(["cmsDriver.py", kind, *words, "--python_filename", f"{name}_driver.py", "--no_exec"])


def _case(step: str, lines: Sequence[str], name: str) -> str:
    return "\n".join([f"{step})", *lines, f"  cmsRun {name}_driver.py", "  ;;\n"])
