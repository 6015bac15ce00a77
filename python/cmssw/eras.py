"""Defaults of every data-taking era: what central production used, step by step.

The Monte Carlo rows are the commands of McM (``pdmv`` lists them), as published with private productions of the same
campaigns. Global tags are never guessed: each is written in one of

* Run 2: the chains of ``TOP-RunIISummer20UL1*`` and ``SMP-RunIISummer20UL16*APV`` (GEN to MiniAODv2);
* 2022, 2023, 2024: ``github.com/ekoenig4/private_production``, ``conditions/`` (commit a100715c), which quotes
  PdmV's recipe and ``HIG-RunIII2024Summer24*-00303``;
* NanoAODv15 of all eras: the datasets' names, and the commands of ``GEN-Run3Summer23BPixNanoAODv15-00008``.

Not confirmed: that FastSim of an era takes the conditions of its full simulation; that 2016 (after the VFP fix) made
its MiniAODv2 in the release of 2016preVFP; and newer tags than these (data: ``150X_dataRun3_v6`` is also in use).
UL generated in an earlier step than it simulated, partly with older tags: here both take those of the simulation.
"""

from __future__ import annotations

from dataclasses import dataclass

GEOMETRY = "DB:Extended"
TUNE = "CP5"
"""Of all these campaigns; a frozen generator block carries its own tune, setting by setting."""


@dataclass(frozen=True)
class Step:
    """One step of a campaign: the release that made it, and what ``cmsDriver.py`` was told there.

    ``modifiers`` are those of ``--era``, ``content`` and ``tier`` the event content and data tier of the output,
    ``more`` further options as they are written, ``commands`` those of ``--customise_commands``. ``unscheduled`` stands
    for ``--runUnscheduled``, without which 10_6_X makes no MiniAOD.
    """

    release: str
    arch: str
    step: str
    conditions: str
    modifiers: str
    content: str
    tier: str
    more: tuple[str, ...] = ()
    commands: str = ""
    unscheduled: bool = False

    @property
    def python3(self) -> bool:
        """Whether the configurations of the release are Python 3."""
        return not self.release.startswith(("CMSSW_8_", "CMSSW_9_", "CMSSW_10_"))


@dataclass(frozen=True)
class Era:
    """A data-taking era: its energy (GeV), its beam spot, its premixed pileup and the steps of its Monte Carlo.

    ``data_conditions`` are those of NanoAODv15 made from collision data.
    """

    energy: float
    beamspot: str
    pileup: str
    steps: dict[str, Step]
    data_conditions: str


_PREMIX = ("--procModifiers", "premix_stage2", "--datamix", "PreMix")
_OLDER_INPUT = "process.source.bypassVersionCheck = cms.untracked.bool(True)"
_OLD_ROOT = ("--inputCommands", "keep *,drop *_*_BMTF_*,drop *PixelFEDChannel*_*_*_*",
             "--outputCommands", "keep *_mix_*_*,keep *_genPUProtons_*_*")  # fmt: skip
_NANO = ("CMSSW_15_0_15_patch4", "el8_amd64_gcc12", "NANO")


def _ultra_legacy(
    modifiers: str,
    beamspot: str,
    pileup: str,
    sim: str,
    mini: tuple[str, str],
    nano: str,
    hlt: tuple[str, str, str, str],
    reco: str = "RAW2DIGI,L1Reco,RECO,RECOSIM",
    hlt_more: tuple[str, ...] = (),
) -> Era:
    """Run 2 as it was made again in 10_6_X; the trigger ran in the release of its year."""
    area = ("CMSSW_10_6_17_patch1", "slc7_amd64_gcc700")
    release, arch, menu, conditions = hlt
    mini_release, mini_tag = mini
    trigger = modifiers.replace("_HIPM", "")
    return Era(13_000.0, beamspot, f"dbs:/Neutrino_E-10_gun/{pileup}/PREMIX", {
        "gensim": Step(*area, "GEN,SIM", sim, modifiers, "RAWSIM", "GEN-SIM", unscheduled=True),
        "digi": Step(*area, "DIGI,DATAMIX,L1,DIGI2RAW", sim, modifiers, "PREMIXRAW", "GEN-SIM-DIGI", _PREMIX,
                     unscheduled=True),
        "hlt": Step(release, arch, f"HLT:{menu}", conditions, trigger, "RAWSIM", "GEN-SIM-RAW", hlt_more,
                    _OLDER_INPUT),
        "reco": Step(*area, reco, sim, modifiers, "AODSIM", "AODSIM", unscheduled=True),
        "mini": Step(mini_release, "slc7_amd64_gcc700", "PAT", mini_tag, modifiers, "MINIAODSIM", "MINIAODSIM",
                     ("--procModifiers", "run2_miniAOD_UL"), unscheduled=True),
        "nano": Step(*_NANO, nano, f"{modifiers},run2_nanoAOD_106Xv2", "NANOAODSIM", "NANOAODSIM"),
    }, "150X_dataRun2_v1")  # fmt: skip


def _run3(
    modifiers: str,
    beamspot: str,
    pileup: str,
    area: tuple[str, str],
    sim: str,
    menu: str,
    mini: tuple[str, str, str, str],
    nano: tuple[str, str],
    data: str,
    quality: str = "",
) -> Era:
    """Run 3: the trigger runs in the release of the simulation; ``quality`` is one more process modifier."""
    premix = ("--procModifiers", f"premix_stage2{',' + quality if quality else ''}", *_PREMIX[2:])
    reco = ("--procModifiers", quality) if quality else ()
    mini_release, mini_arch, mini_tag, mini_modifiers = mini
    content = "MINIAODSIM1" if mini_release.startswith("CMSSW_15") else "MINIAODSIM"
    return Era(13_600.0, beamspot, f"dbs:/Neutrino_E-10_gun/{pileup}/PREMIX", {
        "gensim": Step(*area, "GEN,SIM", sim, modifiers, "RAWSIM", "GEN-SIM"),
        "digi": Step(*area, f"DIGI,DATAMIX,L1,DIGI2RAW,HLT:{menu}", sim, modifiers, "PREMIXRAW", "GEN-SIM-RAW",
                     premix),
        "reco": Step(*area, "RAW2DIGI,L1Reco,RECO,RECOSIM", sim, modifiers, "AODSIM", "AODSIM", reco),
        "mini": Step(mini_release, mini_arch, "PAT", mini_tag, mini_modifiers, content, "MINIAODSIM"),
        "nano": Step(*_NANO, nano[0], nano[1], "NANOAODSIM", "NANOAODSIM"),
    }, data)  # fmt: skip


_2016_HLT = ("CMSSW_8_0_36_UL_patch2", "slc7_amd64_gcc530", "25ns15e33_v4", "80X_mcRun2_asymptotic_2016_TrancheIV_v6")
_2016_PILEUP = "RunIISummer20ULPrePremix-UL16_106X_mcRun2_asymptotic_v13-v1"
_2022_AREA, _2023_AREA = ("CMSSW_12_4_14_patch3", "el8_amd64_gcc10"), ("CMSSW_13_0_13", "el8_amd64_gcc11")
_2022_PILEUP = "Run3Summer21PrePremix-Summer22_124X_mcRun3_2022_realistic_v11-v2"
_2022, _2023 = "Realistic25ns13p6TeVEarly2022Collision", "Realistic25ns13p6TeVEarly2023Collision"
_PIXEL = "siPixelQualityRawToDigi"

ERAS: dict[str, Era] = {
    "2016preVFP": _ultra_legacy(
        "Run2_2016_HIPM", "Realistic25ns13TeV2016Collision", _2016_PILEUP, "106X_mcRun2_asymptotic_preVFP_v8",
        ("CMSSW_10_6_25", "106X_mcRun2_asymptotic_preVFP_v11"), "150X_mcRun2_asymptotic_preVFP_v1", _2016_HLT,
        hlt_more=_OLD_ROOT),
    "2016": _ultra_legacy(
        "Run2_2016", "Realistic25ns13TeV2016Collision", _2016_PILEUP, "106X_mcRun2_asymptotic_v13",
        ("CMSSW_10_6_25", "106X_mcRun2_asymptotic_v17"), "150X_mcRun2_asymptotic_v1", _2016_HLT,
        hlt_more=_OLD_ROOT),
    "2017": _ultra_legacy(
        "Run2_2017", "Realistic25ns13TeVEarly2017Collision",
        "RunIISummer20ULPrePremix-UL17_106X_mc2017_realistic_v6-v3", "106X_mc2017_realistic_v6",
        ("CMSSW_10_6_20", "106X_mc2017_realistic_v9"), "150X_mc2017_realistic_v1",
        ("CMSSW_9_4_14_UL_patch1", "slc7_amd64_gcc630", "2e34v40", "94X_mc2017_realistic_v15")),
    "2018": _ultra_legacy(
        "Run2_2018", "Realistic25ns13TeVEarly2018Collision",
        "RunIISummer20ULPrePremix-UL18_106X_upgrade2018_realistic_v11_L1v1-v2", "106X_upgrade2018_realistic_v11_L1v1",
        ("CMSSW_10_6_20", "106X_upgrade2018_realistic_v16_L1v1"), "150X_mc2018_realistic_v1",
        ("CMSSW_10_2_16_UL", "slc7_amd64_gcc700", "2018v32", "102X_upgrade2018_realistic_v15"),
        reco="RAW2DIGI,L1Reco,RECO,RECOSIM,EI"),
    "2022": _run3(
        "Run3", _2022, _2022_PILEUP, _2022_AREA, "124X_mcRun3_2022_realistic_v12", "2022v12",
        (*_2023_AREA, "130X_mcRun3_2022_realistic_v5", "Run3,run3_miniAOD_12X"),
        ("150X_mcRun3_2022_realistic_v1", "Run3,run3_nanoAOD_pre142X"), "150X_dataRun3_v5", quality=_PIXEL),
    "2022EE": _run3(
        "Run3", _2022, _2022_PILEUP, _2022_AREA, "124X_mcRun3_2022_realistic_postEE_v1", "2022v14",
        (*_2023_AREA, "130X_mcRun3_2022_realistic_postEE_v6", "Run3,run3_miniAOD_12X"),
        ("150X_mcRun3_2022_realistic_postEE_v1", "Run3,run3_nanoAOD_pre142X"), "150X_dataRun3_v5", quality=_PIXEL),
    "2023": _run3(
        "Run3_2023", _2023, "Run3Summer21PrePremix-Summer23_130X_mcRun3_2023_realistic_v13-v1", _2023_AREA,
        "130X_mcRun3_2023_realistic_v14", "2023v12", (*_2023_AREA, "130X_mcRun3_2023_realistic_v14", "Run3_2023"),
        ("150X_mcRun3_2023_realistic_v1", "Run3_2023,run3_nanoAOD_pre142X"), "150X_dataRun3_v5"),
    "2023BPix": _run3(
        "Run3_2023", _2023, "Run3Summer21PrePremix-Summer23BPix_130X_mcRun3_2023_realistic_postBPix_v1-v1",
        _2023_AREA, "130X_mcRun3_2023_realistic_postBPix_v2", "2023v12",
        (*_2023_AREA, "130X_mcRun3_2023_realistic_postBPix_v2", "Run3_2023"),
        ("150X_mcRun3_2023_realistic_postBPix_v1", "Run3_2023,run3_nanoAOD_pre142X"), "150X_dataRun3_v5"),
    "2024": _run3(
        "Run3_2024", "DBrealistic", "RunIIISummer24PrePremix-Premixlib2024_140X_mcRun3_2024_realistic_v26-v1",
        ("CMSSW_14_0_21", "el8_amd64_gcc12"), "140X_mcRun3_2024_realistic_v26", "2024v14",
        ("CMSSW_15_0_4", "el8_amd64_gcc12", "150X_mcRun3_2024_realistic_v2", "Run3_2024"),
        ("150X_mcRun3_2024_realistic_v2", "Run3_2024"), "150X_dataRun3_v2"),
}  # fmt: skip
"""The eras, from the first to the last."""


def era(name: str) -> Era:
    """Return an era; a :class:`ValueError` lists the known ones."""
    if name not in ERAS:
        raise ValueError(f"the era {name!r} is unknown; known: {', '.join(ERAS)}")
    return ERAS[name]
