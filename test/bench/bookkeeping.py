"""How long 10,000 jobs take to be planned, and ``nanoforge status`` to read their logs and manifests."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from measure import OURS, Comparison, Method, Settings, at_most, compare

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "batch"))
import directories

JOBS = 10_000
FAILED = 50
"""Every so many-th job failed."""
SUBMIT, STATUS = "nanoforge submit --dry-run", "nanoforge status"
HOST = "<188.184.90.1:9618?addrs=188.184.90.1-9618&alias=bigbird20.cern.ch&noUDP&sock=schedd_1234_5678_3>"
USAGE = (
    "\t\tUsr 0 00:09:01, Sys 0 00:00:01  -  Run Remote Usage\n\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Local Usage\n"
    "\t12345  -  Run Bytes Sent By Job\n\t12345  -  Run Bytes Received By Job\n"
    "\tPartitionable Resources :    Usage  Request Allocated\n\t   Cpus                 :     0.95        1         1\n"
    "\t   Disk (KB)            :    12345 20971520  20971520\n\t   Memory (MB)          :      902     2000      2000"
)


def run(settings: Settings) -> Iterator[Comparison]:
    yield _planning(settings)
    yield _reading(settings)


def _planning(settings: Settings) -> Comparison:
    folder = settings.folder / "plans"
    folder.mkdir(exist_ok=True)
    (folder / "files.txt").write_text("".join(f"{folder}/data/{number}.root\n" for number in range(JOBS)))
    sample = {"files": "files.txt", "label": "tt"}
    content = {"name": "tt", "samples": {"tt": sample, "dy": {**sample, "files": "no.root", "label": "dy"}}}
    content |= {"inputs": {"event": {"features": ["MET_pt"]}}, "batch": {"site": "generic", "shared": ["/"]}}
    (folder / "analysis.yaml").write_text(json.dumps(content))
    methods = [Method(SUBMIT, "bookkeeping.plan", {"folder": str(folder)}, {}, 1, OURS)]
    result = compare(f"plan of {JOBS + 1:,} jobs", methods, settings)
    result.targets = [at_most("seconds to plan", result[SUBMIT].wall, 10)]
    return result


def plan(scratch: Path, folder: str):
    """Plan all jobs, into a new directory."""
    jobs = str(scratch / "jobs")
    words = ["submit", "condor", f"{folder}/analysis.yaml", "--stage", "convert", "--split", "1", "--dry-run", "-o"]
    command = [sys.executable, "-m", "nanoforge", *words, jobs]

    def call() -> None:
        shutil.rmtree(jobs, ignore_errors=True)
        subprocess.run(command, check=True, capture_output=True)

    return call


def _reading(settings: Settings) -> Comparison:
    folder = settings.folder / "jobs"
    if not folder.exists():
        _write(folder)
    arguments = ["-m", "nanoforge", "status", str(folder)]
    methods = [Method(STATUS, "startup.call", {"arguments": arguments}, {}, 1, OURS)]
    result = compare(f"status of {JOBS:,} jobs", methods, settings, repeat=max(settings.repeat, 3))
    result.targets = [at_most("seconds to status", result[STATUS].wall, 3)]
    return result


def _write(folder: Path) -> None:
    """Write a directory whose jobs all ended."""
    directory = directories.make(folder, count=JOBS)
    directories.submit(directory)
    directories.tell(directory, 0, *(text for number in range(JOBS) for text in _events(number)))
    config = {"features": [f"expression_{i}" for i in range(150)]}
    for number in range(JOBS):
        if number % FAILED:
            directories.write_part(directory, number, config=config)
        else:
            directory.stderr(0, number).write_text("error: file.root: truncated: copy it again\n")


def _events(number: int) -> Iterator[str]:
    """Tell a job's life as HTCondor does."""
    event = directories.event
    yield event(0, number, f"Job submitted from host: {HOST}\n    NanoForge job {number}")
    for what in ("Started", "Finished"):
        yield event(40, number, f"{what} transferring input files\n\tTransferring to host: {HOST}")
    yield event(1, number, f'Job executing on host: {HOST}\n\tSlotName: slot1_1@b7s01\n\tCondorScratchDir = "/pool/1"')
    for megabytes in (500, 900, 902):
        yield event(6, number, f"Image size of job updated: 1000\n\t{megabytes}  -  MemoryUsage of job (MB)")
    for what in ("Started", "Finished"):
        yield event(40, number, f"{what} transferring output files\n\tTransferring to host: {HOST}")
    code = 0 if number % FAILED else 1
    yield event(5, number, f"Job terminated.\n\t(1) Normal termination (return value {code})\n{USAGE}", "02:19:05")
