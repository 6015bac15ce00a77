#!/usr/bin/env python3
"""A stand-in of cmsDriver.py: checks its options, and writes a configuration that the stubs of the release can load."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

STUBS = Path(__file__).resolve().parents[3] / "cmssw" / "release"
sys.path.insert(0, str(STUBS))
from Configuration.Applications.cmsDriverOptions import parser  # noqa: E402

base, kind, arguments = Path(os.environ["CMSSW_BASE"]), sys.argv[1], sys.argv[2:]
options = parser().parse_args(arguments)
assert os.environ["INSIDE"] == {"slc7": "el7", "el8": "el8"}[os.environ["SCRAM_ARCH"].split("_")[0]], "the wrong system"
assert options.no_exec and (options.runUnscheduled or "CMSSW_10_6" not in base.name)
assert "DATAMIX" not in options.step or options.pileup_input, "nothing to mix in"
assert "PREMIX" not in options.eventcontent or "DATAMIX" in options.step
assert ("--fileout", f"file:{options.python_filename[:-7]}.root") in zip(arguments, arguments[1:])
fragment = (base / "src" / kind).read_text().replace("'", '"') if "/" in kind else ""
needed = set(re.findall(r'"(GenDecayFilter|Pythia8PtMassGun|SimAcceptanceFilter)"', fragment))
needed |= {"EventSkimFilter"} if "addSkim" in (options.customise_commands or "") else set()
for name in sorted(needed):
    if not (base / "lib" / f"{name}.cc").exists():
        sys.exit(f"cmsDriver.py: no plugin {name}")
Path(options.python_filename).write_text(f"""# made {os.times().elapsed}
import sys
sys.path.insert(0, {str(STUBS)!r})
import FWCore.ParameterSet.Config as cms
from Configuration.Applications.ConfigBuilder import ConfigBuilder
from Configuration.Applications.cmsDriverOptions import OptionsFromItems
options = OptionsFromItems({[*arguments, "--evt_type", "fragment"]!r})
options.arguments = "as above"
builder = ConfigBuilder(options, with_output=True, with_input=True)
builder.prepare()
process = builder.process
if "DATAMIX" in options.step:
    files = cms.untracked.vstring(*options.pileup_input.split(","))
    process.mixData = cms.EDProducer("PreMixingModule", input=cms.PSet(fileNames=files))
{options.customise_commands or ""}
""")
