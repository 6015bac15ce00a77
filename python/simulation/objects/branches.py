"""The reconstructed branches: type and title of each, as NanoAOD (v12 and later) has them."""

from __future__ import annotations

F, B, U1, I2, I4 = "f4", "?", "u1", "i2", "i4"

_KINEMATICS = {"pt": (F, "pt"), "eta": (F, "eta"), "phi": (F, "phi"), "mass": (F, "mass")}
_CHARGED = {
    "charge": (I4, "electric charge"),
    "pdgId": (I4, "PDG code assigned by the event reconstruction (not by MC truth)"),
    "dxy": (F, "dxy (with sign) wrt first PV, in cm"),
    "dxyErr": (F, "dxy uncertainty, in cm"),
    "dz": (F, "dz (with sign) wrt first PV, in cm"),
    "dzErr": (F, "dz uncertainty, in cm"),
    "ip3d": (F, "3D impact parameter wrt first PV, in cm"),
    "sip3d": (F, "3D impact parameter significance wrt first PV, in cm"),
    "pfRelIso03_chg": (F, "PF relative isolation dR=0.3, charged component"),
    "miniPFRelIso_chg": (F, "mini PF relative isolation, charged component"),
    "miniPFRelIso_all": (F, "mini PF relative isolation, total (with scaled rho*EA PU corrections)"),
    "jetIdx": (I2, "index of the associated jet (-1 if none)"),
    "jetRelIso": (F, "Relative isolation in matched jet (1/ptRatio-1, pfRelIso04_all if no matched jet)"),
    "genPartIdx": (I2, "Index into genParticle list for MC matching to status==1 particles"),
}
_LEPTON_FLAVOUR = (
    "Flavour of genParticle for MC matching to status==1 {0}: 1 = prompt {0}, 15 = {0} from prompt tau, "
    "5 = {0} from b, 4 = {0} from c, 3 = {0} from light or unknown, 0 = unmatched"
)
_SHOWER = {
    "hoe": (F, "H over E"),
    "sieie": (F, "sigma_IetaIeta of the supercluster, calculated with full 5x5 region"),
    "r9": (F, "R9 of the supercluster, calculated with full 5x5 region"),
    "energyErr": (F, "energy error of the cluster"),
    "cutBased": (U1, ""),
}

MUON = _KINEMATICS | _CHARGED | {
    "ptErr": (F, "ptError of the muon track"),
    "pfRelIso03_all": (F, "PF relative isolation dR=0.3, total (deltaBeta corrections)"),
    "pfRelIso04_all": (F, "PF relative isolation dR=0.4, total (deltaBeta corrections)"),
    "tkRelIso": (F, "Tracker-based relative isolation dR=0.3 for highPt, trkIso/tunePpt"),
    "looseId": (B, "muon is loose muon"),
    "mediumId": (B, "cut-based ID, medium WP"),
    "mediumPromptId": (B, "cut-based ID, medium prompt WP"),
    "tightId": (B, "cut-based ID, tight WP"),
    "softId": (B, "soft cut-based ID"),
    "highPtId": (U1, "high-pT cut-based ID (1 = tracker high pT, 2 = global high pT, which includes tracker high pT)"),
    "isGlobal": (B, "muon is global muon"),
    "isTracker": (B, "muon is tracker muon"),
    "isPFcand": (B, "muon is PF candidate"),
    "pfIsoId": (U1, "PFIso ID from miniAOD selector (1=PFIsoVeryLoose, 2=PFIsoLoose, 3=PFIsoMedium, 4=PFIsoTight, "
                    "5=PFIsoVeryTight, 6=PFIsoVeryVeryTight)"),
    "nStations": (U1, "number of matched stations with default arbitration (segment & track)"),
    "nTrackerLayers": (U1, "number of layers in the tracker"),
    "tightCharge": (U1, "Tight charge criterion using pterr/pt of muonBestTrack (0:fail, 2:pass)"),
    "genPartFlav": (U1, _LEPTON_FLAVOUR.format("muon")),
}  # fmt: skip
ELECTRON = (
    _KINEMATICS
    | _CHARGED
    | _SHOWER
    | {
        "pfRelIso03_all": (F, "PF relative isolation dR=0.3, total (with rho*EA PU corrections)"),
        "pfRelIso04_all": (F, "PF relative isolation dR=0.4, total (with rho*EA PU corrections)"),
        "cutBased": (U1, "cut-based ID (0:fail, 1:veto, 2:loose, 3:medium, 4:tight)"),
        "mvaIso": (F, "MVA Iso ID score"),
        "mvaIso_WP80": (B, "MVA Iso ID WP80"),
        "mvaIso_WP90": (B, "MVA Iso ID WP90"),
        "mvaNoIso": (F, "MVA noIso ID score"),
        "mvaNoIso_WP80": (B, "MVA noIso ID WP80"),
        "mvaNoIso_WP90": (B, "MVA noIso ID WP90"),
        "convVeto": (B, "pass conversion veto"),
        "lostHits": (U1, "number of missing inner hits"),
        "isPFcand": (B, "electron is PF candidate"),
        "deltaEtaSC": (F, "delta eta (SC,ele) with sign"),
        "tightCharge": (
            U1,
            "Tight charge criteria (0:none, 1:isGsfScPixChargeConsistent, 2:isGsfCtfScPixChargeConsistent)",
        ),
        "photonIdx": (I2, "index of the first associated photon (-1 if none)"),
        "genPartFlav": (U1, _LEPTON_FLAVOUR.format("electron")),
    }
)
PHOTON = {name: _KINEMATICS[name] for name in ("pt", "eta", "phi")} | _SHOWER | {
    "pfRelIso03_chg": (F, "PF relative isolation dR=0.3, charged component"),
    "pfRelIso03_all": (F, "PF relative isolation dR=0.3, total (with rho*EA PU corrections)"),
    "cutBased": (U1, "cut-based ID bitmap (0:fail, 1:loose, 2:medium, 3:tight)"),
    "mvaID": (F, "MVA ID score"),
    "mvaID_WP80": (B, "MVA ID WP80"),
    "mvaID_WP90": (B, "MVA ID WP90"),
    "electronVeto": (B, "pass electron veto"),
    "pixelSeed": (B, "has pixel seed"),
    "isScEtaEB": (B, "is supercluster eta within barrel acceptance"),
    "isScEtaEE": (B, "is supercluster eta within endcap acceptance"),
    "jetIdx": (I2, "index of the associated jet (-1 if none)"),
    "electronIdx": (I2, "index of the associated electron (-1 if none)"),
    "genPartIdx": (I2, "Index into genParticle list for MC matching to status==1 photons or electrons"),
    "genPartFlav": (U1, "Flavour of genParticle for MC matching to status==1 photons or electrons: 1 = prompt photon, "
                        "13 = prompt electron, 0 = unknown or unmatched"),
}  # fmt: skip
_DEEP_TAU = "byDeepTau2018v2p5VS{} "
_POINTS = "ID working points: " + ", ".join(
    f"{k} = {name}" for k, name in enumerate(
        ("VVVLoose", "VVLoose", "VLoose", "Loose", "Medium", "Tight", "VTight", "VVTight"), 1))  # fmt: skip
TAU = _KINEMATICS | {
    "charge": (I2, "electric charge"),
    "decayMode": (U1, "decayMode()"),
    "dxy": (F, "d_{xy} of lead track with respect to PV, in cm (with sign)"),
    "dz": (F, "d_{z} of lead track with respect to PV, in cm (with sign)"),
    "leadTkDeltaEta": (F, "eta of the leading track, minus tau eta"),
    "leadTkDeltaPhi": (F, "phi of the leading track, minus tau phi"),
    "leadTkPtOverTauPt": (F, "pt of the leading track divided by tau pt"),
    "chargedIso": (F, "charged isolation"),
    "neutralIso": (F, "neutral (photon) isolation"),
    "photonsOutsideSignalCone": (F, "sum of photons outside signal cone"),
    "puCorr": (F, "pileup correction"),
    "rawIso": (F, "combined isolation (deltaBeta corrections)"),
    "idDecayModeNewDMs": (B, "tauID('decayModeFindingNewDMs')"),
    "idDecayModeOldDMs": (B, "tauID('decayModeFinding')"),
    "rawDeepTau2018v2p5VSjet": (F, _DEEP_TAU.format("jet") + "raw output discriminator (deepTau2018v2p5)"),
    "rawDeepTau2018v2p5VSe": (F, _DEEP_TAU.format("e") + "raw output discriminator (deepTau2018v2p5)"),
    "rawDeepTau2018v2p5VSmu": (F, _DEEP_TAU.format("mu") + "raw output discriminator (deepTau2018v2p5)"),
    "idDeepTau2018v2p5VSjet": (U1, _DEEP_TAU.format("jet") + _POINTS),
    "idDeepTau2018v2p5VSe": (U1, _DEEP_TAU.format("e") + _POINTS),
    "idDeepTau2018v2p5VSmu": (U1, _DEEP_TAU.format("mu")
                              + "ID working points: 1 = VLoose, 2 = Loose, 3 = Medium, 4 = Tight"),
    "jetIdx": (I2, "index of the associated jet (-1 if none)"),
    "genPartIdx": (I2, "Index into genParticle list for MC matching to status==2 taus (GenVisTau for genPartFlav 5)"),
    "genPartFlav": (U1, "Flavour of genParticle for MC matching to status==2 taus: 1 = prompt electron, "
                        "2 = prompt muon, 3 = tau->e decay, 4 = tau->mu decay, 5 = hadronic tau decay, "
                        "0 = unknown or unmatched"),
}  # fmt: skip
_JET = _KINEMATICS | {
    "rawFactor": (F, "1 - Factor to get back to raw pT"),
    "area": (F, "jet catchment area, for JECs"),
    "nConstituents": (U1, "Number of particles in the jet"),
    "chHEF": (F, "charged Hadron Energy Fraction"),
    "neHEF": (F, "neutral Hadron Energy Fraction"),
    "chEmEF": (F, "charged Electromagnetic Energy Fraction"),
    "neEmEF": (F, "neutral Electromagnetic Energy Fraction"),
    "muEF": (F, "muon Energy Fraction"),
    "hfHEF": (F, "hadronic Energy Fraction in HF"),
    "hfEmEF": (F, "electromagnetic Energy Fraction in HF"),
    "chMultiplicity": (U1, "(Puppi-weighted) Number of charged particles in the jet"),
    "neMultiplicity": (U1, "(Puppi-weighted) Number of neutral particles in the jet"),
    "jetId": (U1, "Jet ID flag: bit2 is tight, bit3 is tightLepVeto"),
    "hadronFlavour": (U1, "flavour from hadron ghost clustering"),
}
_TAGS = {
    "B": (F, "{} b vs. udscg discriminator"),
    "CvB": (F, "{} c vs b+bb discriminator"),
    "CvL": (F, "{} c vs uds+g discriminator"),
}
JET = _JET | {
    "partonFlavour": (I2, "flavour from parton matching"),
    "muonSubtrFactor": (F, "1-(muon-subtracted raw pt)/(raw pt)"),
    "puIdDisc": (F, "share of the charged pt around the jet that comes from the primary vertex (1 without tracks)"),
    "genJetIdx": (I2, "index of matched gen jet"),
    "electronIdx1": (I2, "index of first matching electron"),
    "electronIdx2": (I2, "index of second matching electron"),
    "muonIdx1": (I2, "index of first matching muon"),
    "muonIdx2": (I2, "index of second matching muon"),
    "svIdx1": (I2, "index of first matching secondary vertex"),
    "svIdx2": (I2, "index of second matching secondary vertex"),
    "nElectrons": (U1, "number of electrons in the jet"),
    "nMuons": (U1, "number of muons in the jet"),
    "nSVs": (U1, "number of secondary vertices in the jet"),
} | {f"btagDeepFlav{k}": (t, d.format("DeepFlavour-like")) for k, (t, d) in _TAGS.items()} | {
    f"btagPNet{k}": (t, d.format("ParticleNet-like")) for k, (t, d) in _TAGS.items()
}  # fmt: skip
FAT_JET = _JET | {
    "msoftdrop": (F, "Corrected soft drop mass with PUPPI"),
    **{f"tau{n}": (F, f"Nsubjettiness ({n} axis)") for n in (1, 2, 3, 4)},
    "subJetIdx1": (I2, "index of first subjet"),
    "subJetIdx2": (I2, "index of second subjet"),
    "genJetAK8Idx": (I2, "index of matched gen AK8 jet"),
}
SUB_JET = _KINEMATICS | {"rawFactor": (F, "1 - Factor to get back to raw pT")}
SECONDARY = _KINEMATICS | {
    "x": (F, "secondary vertex X position, in cm"),
    "y": (F, "secondary vertex Y position, in cm"),
    "z": (F, "secondary vertex Z position, in cm"),
    "dlen": (F, "decay length in cm"),
    "dlenSig": (F, "decay length significance"),
    "dxy": (F, "2D decay length in cm"),
    "dxySig": (F, "2D decay length significance"),
    "pAngle": (F, "pointing angle, i.e. acos(p_SV * (SV - PV))"),
    "ntracks": (U1, "number of tracks"),
    "chi2": (F, "reduced chi2, i.e. chi/ndof"),
    "ndof": (F, "number of degrees of freedom"),
    "charge": (I2, "sum of the charge of the SV tracks"),
}
CANDIDATE = _KINEMATICS | {
    "charge": (I4, "electric charge"),
    "pdgId": (I4, "PF candidate type (+/-211 = ChgHad, 130 = NeuHad, 22 = Photon, +/-11 = Electron, +/-13 = Muon, "
                  "1 = HFHad, 2 = HFEM)"),
    "d0": (F, "pf d0 wrt PV, in cm"),
    "d0Err": (F, "pf d0 error, in cm"),
    "dz": (F, "pf dz wrt PV, in cm"),
    "dzErr": (F, "pf dz error, in cm"),
    "puppiWeight": (F, "Puppi weight"),
    "pvAssocQuality": (I4, "association with the PV: 7 used in fit, 5 compatible in dz, 0 other vertex"),
    "etaCalo": (F, "eta on the inner face of the calorimeters, seen from the detector's centre (nanoforge)"),
    "phiCalo": (F, "phi on the inner face of the calorimeters (nanoforge)"),
}  # fmt: skip
JET_CANDIDATE = {
    "jetIdx": (I4, "Index of the parent jet"),
    "pFCandsIdx": (I4, "Index in the candidate list"),
}

COLLECTIONS = {
    "Muon": MUON, "Electron": ELECTRON, "Photon": PHOTON, "Tau": TAU, "Jet": JET, "FatJet": FAT_JET, "SubJet": SUB_JET,
    "SV": SECONDARY, "PFCands": CANDIDATE, "JetPFCands": JET_CANDIDATE,
    "OtherPV": {"z": (F, "Z position of other primary vertices, excluding the main PV")},
}  # fmt: skip

_MISSING = {
    "pt": "pt", "phi": "phi", "sumEt": "scalar sum of Et", "covXX": "xx element of met covariance matrix",
    "covXY": "xy element of met covariance matrix", "covYY": "yy element of met covariance matrix",
    "significance": "MET significance",
}  # fmt: skip
SCALARS = {
    "PV_x": (F, "main primary vertex position x coordinate"),
    "PV_y": (F, "main primary vertex position y coordinate"),
    "PV_z": (F, "main primary vertex position z coordinate"),
    "PV_ndof": (F, "main primary vertex number of degree of freedom"),
    "PV_chi2": (F, "main primary vertex reduced chi2"),
    "PV_score": (F, "main primary vertex score, i.e. sum pt2 of clustered objects"),
    "PV_npvs": (U1, "total number of reconstructed primary vertices"),
    "PV_npvsGood": (U1, "number of good reconstructed primary vertices. selection:!isFake && ndof > 4 && abs(z) <= 24 "
                        "&& position.Rho <= 2"),
    "fixedGridRhoFastjetAll": (F, "rho from all PF Candidates, used e.g. for JECs"),
} | {f"{kind}_{name}": (F, title) for kind in ("MET", "PuppiMET") for name, title in _MISSING.items()} | {
    f"{kind}_{name}": (F, _MISSING[name]) for kind in ("RawMET", "RawPuppiMET") for name in ("pt", "phi", "sumEt")
}  # fmt: skip

DOCS: dict[str, str] = {
    f"{collection}_{name}": title for collection, columns in COLLECTIONS.items() for name, (_, title) in columns.items()
} | {name: title for name, (_, title) in SCALARS.items()}
"""The title of every branch."""
