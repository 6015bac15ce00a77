"""Keep some events of MiniAOD, and write them as NanoAOD: flat, and as EDM for infer_cfg.py.

cmsRun skim_cfg.py --input mini.root --skim cuts.json --era 2018
"""

from PhysicsTools.NanoForge.cmssw import configurations

process = configurations.skim(__doc__)
