"""Generate events: a gun or a process of Pythia 8, and filters on its decays.

cmsRun gen_cfg.py --generator ttbar.json --era 2022 --events 1000
cmsRun gen_cfg.py --gun 36 --pt 20 100 --mass 0.1 6 --settings "36:oneChannel = 1 1. 103 11 -11"
"""

from PhysicsTools.NanoForge.cmssw import configurations

process = configurations.gen(__doc__)
