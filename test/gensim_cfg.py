"""Generate and simulate events.

cmsRun gensim_cfg.py --generator ttbar.json --era 2022
cmsRun gensim_cfg.py --generator ttbar.json --fast                   up to MiniAOD, by FastSim, without a trigger
cmsRun gensim_cfg.py --generator ttbar.json --steps GEN,SIM,DIGI,L1,DIGI2RAW

Full simulation up to MiniAOD is no single job: the trigger is a process of its own, in Run 2 even in another release,
and the pileup comes from premixed events. 'nanoforge cmsrun --step sim' writes the commands of all steps.
"""

from PhysicsTools.NanoForge.cmssw import configurations

process = configurations.gensim(__doc__)
