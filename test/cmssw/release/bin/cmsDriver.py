#!/usr/bin/env python3
"""A stand-in of cmsDriver.py: refuses modules of ours that the area has not built; writes just the last commands."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

base, arguments = Path(os.environ["CMSSW_BASE"]), sys.argv[1:]
commands = arguments[arguments.index("--customise_commands") + 1]
fragment = (base / "src" / arguments[0]).read_text().replace("'", '"') if "/" in arguments[0] else ""
needed = set(re.findall(r'"(GenDecayFilter|Pythia8PtMassGun|SimAcceptanceFilter)"', fragment))
if "addSkim" in commands:
    needed.add("EventSkimFilter")
for name in sorted(needed):
    if not (base / "lib" / f"{name}.cc").exists():
        sys.exit(f"cmsDriver.py: no plugin {name}")
Path(arguments[arguments.index("--python_filename") + 1]).write_text(commands)
