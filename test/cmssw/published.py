"""What central production ran, step by step, as its commands are published; no value comes from ``cmssw.eras``.

Read off the public requests HIG-RunIISummer20UL16{SIM,DIGIPremix,HLT,RECO}APV-02799/02820 and MiniAODAPVv2-02465,
SMP-RunIISummer20UL16*-00018/00021, HIG-RunIISummer20UL17*-00599, HIG-RunIISummer20UL18*-00480/00570 and
TOP-RunIISummer20UL18MiniAODv2-00117, HIG-Run3Summer22(EE)*-00005/00013, B2G-Run3Summer23BPixDRPremix-00003 and
SUS-RunIII2024Summer24*. Ultra-legacy samples were simulated (SIM) from generated events of an earlier step: our first
step is both (GEN,SIM). Of two versions of a global tag in use (2023), the first.
"""

from __future__ import annotations

MONITORING = "Configuration/DataProcessing/Utils.addMonitoring"
"""A customise function of every command: it reports on time and memory, and changes no event. Not in ours."""

_OLD = "CMSSW_10_6_17_patch1 slc7_amd64_gcc700"
_UL = """
gensim {area} --step GEN,SIM --eventcontent RAWSIM --datatier GEN-SIM --conditions {sim} --beamspot {spot}
  --era {era} --geometry DB:Extended --runUnscheduled --mc
digi {area} --step DIGI,DATAMIX,L1,DIGI2RAW --eventcontent PREMIXRAW --datatier GEN-SIM-DIGI --conditions {sim}
  --era {era} --procModifiers premix_stage2 --datamix PreMix --geometry DB:Extended --runUnscheduled --mc
  --pileup_input dbs:/Neutrino_E-10_gun/RunIISummer20ULPrePremix-{pileup}/PREMIX
hlt {hlt} --eventcontent RAWSIM --datatier GEN-SIM-RAW --geometry DB:Extended --mc --era {trigger_era}
  --customise_commands 'process.source.bypassVersionCheck = cms.untracked.bool(True)'
reco {area} --step {reco} --eventcontent AODSIM --datatier AODSIM --conditions {sim} --era {era} --geometry DB:Extended
  --runUnscheduled --mc
mini {mini} --step PAT --eventcontent MINIAODSIM --datatier MINIAODSIM --era {era} --procModifiers run2_miniAOD_UL
  --geometry DB:Extended --runUnscheduled --mc
"""
_HLT_2016 = (
    "CMSSW_8_0_36_UL_patch2 slc7_amd64_gcc530 --step HLT:25ns15e33_v4"
    " --conditions 80X_mcRun2_asymptotic_2016_TrancheIV_v6"
    " --outputCommands 'keep *_mix_*_*,keep *_genPUProtons_*_*'"
    " --inputCommands 'keep *,drop *_*_BMTF_*,drop *PixelFEDChannel*_*_*_*'"
)
_RECO = "RAW2DIGI,L1Reco,RECO,RECOSIM"
_RUN3 = """
gensim {area} --step GEN,SIM --eventcontent RAWSIM --datatier GEN-SIM --conditions {sim} --beamspot {spot}
  --era {era} --geometry DB:Extended --mc
digi {area} --step DIGI,DATAMIX,L1,DIGI2RAW,HLT:{menu} --eventcontent PREMIXRAW --datatier GEN-SIM-RAW
  --conditions {sim} --era {era} --procModifiers premix_stage2{quality} --datamix PreMix --geometry DB:Extended --mc
  --pileup_input dbs:/Neutrino_E-10_gun/{pileup}/PREMIX
reco {area} --step RAW2DIGI,L1Reco,RECO,RECOSIM --eventcontent AODSIM --datatier AODSIM --conditions {sim} --era {era}
  --geometry DB:Extended --mc {reco}
mini {mini} --step PAT --datatier MINIAODSIM --geometry DB:Extended --mc
"""
_EARLY = {
    "area": "CMSSW_12_4_14_patch3 el8_amd64_gcc10", "spot": "Realistic25ns13p6TeVEarly2022Collision", "era": "Run3",
    "quality": ",siPixelQualityRawToDigi", "reco": "--procModifiers siPixelQualityRawToDigi",
    "pileup": "Run3Summer21PrePremix-Summer22_124X_mcRun3_2022_realistic_v11-v2",
}  # fmt: skip
_MINI_2022 = "CMSSW_13_0_13 el8_amd64_gcc11 --eventcontent MINIAODSIM --era Run3,run3_miniAOD_12X --conditions "
_2023 = {
    "area": "CMSSW_13_0_13 el8_amd64_gcc11", "spot": "Realistic25ns13p6TeVEarly2023Collision", "era": "Run3_2023",
    "quality": "", "reco": "", "menu": "2023v12",
}  # fmt: skip
_MINI_2023 = "CMSSW_13_0_13 el8_amd64_gcc11 --eventcontent MINIAODSIM --era Run3_2023 --conditions "

COMMANDS: dict[str, str] = {
    "2016preVFP": _UL.format(
        area=_OLD, sim="106X_mcRun2_asymptotic_preVFP_v8", spot="Realistic25ns13TeV2016Collision", era="Run2_2016_HIPM",
        trigger_era="Run2_2016", pileup="UL16_106X_mcRun2_asymptotic_v13-v1", hlt=_HLT_2016, reco=_RECO,
        mini="CMSSW_10_6_25 slc7_amd64_gcc700 --conditions 106X_mcRun2_asymptotic_preVFP_v11"),
    "2016": _UL.format(
        area=_OLD, sim="106X_mcRun2_asymptotic_v13", spot="Realistic25ns13TeV2016Collision", era="Run2_2016",
        trigger_era="Run2_2016", pileup="UL16_106X_mcRun2_asymptotic_v13-v1", hlt=_HLT_2016, reco=_RECO,
        mini="CMSSW_10_6_25 slc7_amd64_gcc700 --conditions 106X_mcRun2_asymptotic_v17"),
    "2017": _UL.format(
        area=_OLD, sim="106X_mc2017_realistic_v6", spot="Realistic25ns13TeVEarly2017Collision", era="Run2_2017",
        trigger_era="Run2_2017", pileup="UL17_106X_mc2017_realistic_v6-v3", reco=_RECO,
        hlt="CMSSW_9_4_14_UL_patch1 slc7_amd64_gcc630 --step HLT:2e34v40 --conditions 94X_mc2017_realistic_v15",
        mini="CMSSW_10_6_20 slc7_amd64_gcc700 --conditions 106X_mc2017_realistic_v9"),
    "2018": _UL.format(
        area=_OLD, sim="106X_upgrade2018_realistic_v11_L1v1", spot="Realistic25ns13TeVEarly2018Collision",
        era="Run2_2018", trigger_era="Run2_2018", pileup="UL18_106X_upgrade2018_realistic_v11_L1v1-v2",
        hlt="CMSSW_10_2_16_UL slc7_amd64_gcc700 --step HLT:2018v32 --conditions 102X_upgrade2018_realistic_v15",
        reco=f"{_RECO},EI", mini="CMSSW_10_6_20 slc7_amd64_gcc700 --conditions 106X_upgrade2018_realistic_v16_L1v1"),
    "2022": _RUN3.format(
        **_EARLY, sim="124X_mcRun3_2022_realistic_v12", menu="2022v12",
        mini=f"{_MINI_2022}130X_mcRun3_2022_realistic_v5"),
    "2022EE": _RUN3.format(
        **_EARLY, sim="124X_mcRun3_2022_realistic_postEE_v1", menu="2022v14",
        mini=f"{_MINI_2022}130X_mcRun3_2022_realistic_postEE_v6"),
    "2023": _RUN3.format(
        **_2023, sim="130X_mcRun3_2023_realistic_v14",
        pileup="Run3Summer21PrePremix-Summer23_130X_mcRun3_2023_realistic_v13-v1",
        mini=f"{_MINI_2023}130X_mcRun3_2023_realistic_v14"),
    "2023BPix": _RUN3.format(
        **_2023, sim="130X_mcRun3_2023_realistic_postBPix_v2",
        pileup="Run3Summer21PrePremix-Summer23BPix_130X_mcRun3_2023_realistic_postBPix_v1-v1",
        mini=f"{_MINI_2023}130X_mcRun3_2023_realistic_postBPix_v2"),
    "2024": _RUN3.format(
        area="CMSSW_14_0_21 el8_amd64_gcc12", spot="DBrealistic", era="Run3_2024", quality="", reco="", menu="2024v14",
        sim="140X_mcRun3_2024_realistic_v26",
        pileup="RunIIISummer24PrePremix-Premixlib2024_140X_mcRun3_2024_realistic_v26-v1",
        mini="CMSSW_15_0_4 el8_amd64_gcc12 --eventcontent MINIAODSIM1 --era Run3_2024"
             " --conditions 150X_mcRun3_2024_realistic_v2"),
}  # fmt: skip


def steps(era: str) -> dict[str, tuple[list[str], str]]:
    """Return release and architecture, and the options of cmsDriver, of every step before NanoAOD."""
    lines = COMMANDS[era].replace("\n  ", " ").strip().splitlines()
    words = [line.split(maxsplit=3) for line in lines]
    return {name: ([release, arch], options) for name, release, arch, options in words}
