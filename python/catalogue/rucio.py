"""Where datasets of CMS lie, by Rucio's client where it is at hand (``source /cvmfs/cms.cern.ch/rucio/setup-py3.sh``).

A dataset is a container of Rucio, its blocks are the datasets there.
"""

from __future__ import annotations

from typing import Any

from ..console import say

_SCOPE = "cms"
NOT_DISK = ("_Tape", "_MSS", "_Buffer", "_Export", "_Test", "_Temp")
"""Ends of the names of what is no disk that jobs read from."""


def sites_on_disk(dataset: str) -> tuple[str, ...] | None:
    """Return where all blocks of a dataset are on disk as a whole; None where Rucio cannot be asked."""
    try:
        from rucio.client import Client
    except ImportError:
        return None
    try:
        client = Client()
        blocks = [str(block["name"]) for block in client.list_content(_SCOPE, dataset)]
        found = [_sites(client, block) for block in blocks]
    except Exception as error:  # it has many, also for a missing account or proxy
        say(f"note: {dataset}: Rucio does not tell its sites ({' '.join(str(error).split())[:200]}): DAS is asked")
        return None
    return tuple(sorted(set.intersection(*found))) if found else ()


def _sites(client: Any, block: str) -> set[str]:
    return {
        str(replica["rse"])
        for replica in client.list_dataset_replicas(_SCOPE, block)
        if replica["state"] == "AVAILABLE"
        and replica["available_length"] == replica["length"]
        and not str(replica["rse"]).endswith(NOT_DISK)
    }
