"""Score EDM NanoAOD (of skim_cfg.py, or of nano_cfg.py --edm), and write it as flat NanoAOD.

cmsRun infer_cfg.py --input skim_inNANOEDMAODSIM.root --model PhysicsTools/NanoForge/data/ttbar/model.onnx
"""

from PhysicsTools.NanoForge.cmssw import configurations

process = configurations.infer(__doc__)
