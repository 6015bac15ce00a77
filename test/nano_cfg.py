"""Make NanoAOD of MiniAOD, with the particles of jets, the scores of a model, and hits of the calorimeters.

cmsRun nano_cfg.py --input mini.root --era 2018 --pfcands --model PhysicsTools/NanoForge/data/ttbar/model.onnx
"""

from PhysicsTools.NanoForge.cmssw import configurations

process = configurations.nano(__doc__)
