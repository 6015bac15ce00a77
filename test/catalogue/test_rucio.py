"""Where datasets lie, by answers in the form of Rucio's client (rucio.core.replica.list_dataset_replicas)."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from nanoforge.catalogue.rucio import sites_on_disk

DATASET = "/TTto2L2Nu_TuneCP5/Run3Summer22NanoAODv15-v2/NANOAODSIM"


def replica(block: str, rse: str, available: int = 5, state: str = "AVAILABLE") -> dict[str, Any]:
    """One replica, with the keys and times of a recorded answer (a comment of das2go's ``services/combined.go``)."""
    return {"accessed_at": None, "name": block, "rse": rse, "created_at": "Thu, 07 May 2020 08:49:50 UTC",
            "bytes": 500, "state": state, "updated_at": "Tue, 30 Jun 2020 19:05:27 UTC", "available_length": available,
            "length": 5, "scope": "cms", "available_bytes": 100 * available,
            "rse_id": "be0c1696016e4297a1573425d4a9b0a6"}  # fmt: skip


REPLICAS = {
    f"{DATASET}#1": [("T2_CH_CERN",), ("T1_US_FNAL_Disk",), ("T1_US_FNAL_Tape",), ("T2_DE_DESY",)],
    f"{DATASET}#2": [("T2_CH_CERN",), ("T1_US_FNAL_Disk", 4), ("T1_US_FNAL_Tape",), ("T2_DE_DESY", 5, "UNAVAILABLE")],
}


class Client:
    """Answers as Rucio's."""

    def list_content(self, scope: str, name: str) -> list[dict[str, Any]]:
        if name != DATASET:
            raise RuntimeError("Data identifier not found.\nDetails: Data identifier 'cms:/x' not found")
        return [{"scope": scope, "name": block, "type": "DATASET", "bytes": None, "adler32": None, "md5": None}
                for block in REPLICAS]  # fmt: skip

    def list_dataset_replicas(self, scope: str, name: str) -> list[dict[str, Any]]:
        assert scope == "cms"
        return [replica(name, *values) for values in REPLICAS[name]]


def test_only_what_is_whole_on_disk_counts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    assert sites_on_disk(DATASET) is None, "without the client"
    module = ModuleType("rucio.client")
    module.Client = Client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rucio", ModuleType("rucio"))
    monkeypatch.setitem(sys.modules, "rucio.client", module)
    assert sites_on_disk(DATASET) == ("T2_CH_CERN",)
    assert sites_on_disk("/x") is None, "DAS is asked"
    assert "Rucio does not tell its sites (Data identifier not found." in capsys.readouterr().err
