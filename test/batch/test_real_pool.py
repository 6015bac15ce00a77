"""Jobs that fail in all ways, on a real HTCondor pool."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
import yaml
from compare import assert_same_files
from nanoforge.batch import condor_commands, condor_description
from nanoforge.batch.causes import Cause
from nanoforge.batch.events import ACTIVE, JobState
from nanoforge.batch.jobdir import JobDir
from nanoforge.batch.plan import STAGES
from nanoforge.batch.status import JobStatus, JobSurvey, dagman
from nanoforge.batch.targets import find_target
from nanoforge.config import load
from nanoforge.provenance import Manifest
from nanoforge.stages.convert import convert
from pool import Pool
from xrootd_server import Server

EVENTS = 200
RUNTIME = 600
PATIENCE = 400
"""Seconds in which any of these jobs must be done, on a busy machine too."""

BATCH = {"site": "generic", "retries": 1, "cores": 1, "memory": 500, "disk": 100, "runtime": RUNTIME}
GPU = {"train": {"gpu": {"devices": ["A100"]}, "checkpoint": 5}}
LONG = {"epochs": 100, "patience": 100}

FAULTS = '''
"""Every Python of a job imports this first: it does what a file with the name of the job's share says."""
import os, pathlib, sys, time
FAULTS, words = pathlib.Path(__file__).parent, sys.orig_argv
if "--part" in words:
    fault = FAULTS / words[words.index("--part") + 1]
    what = fault.read_text() if fault.exists() else ""
    if what in ("fail once", "sleep once"):
        fault.unlink()
    if what.startswith("fail"):
        print("error: the machine is broken", file=sys.stderr)
        os._exit(1)
    if what.startswith("sleep"):
        time.sleep(600)
if "train" in words:
    replace = os.replace

    def replace_and_rest(source, target):
        replace(source, target)
        if str(target).endswith("last.ckpt") and (FAULTS / "train").exists():
            time.sleep(1)

    os.replace = replace_and_rest
'''

Work = Callable[..., Any]


@pytest.fixture
def faults(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Talk to the pool from this process, and let jobs fail: call this with a job's share and a fault."""
    folder = tmp_path / "faults"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(FAULTS)
    for name, value in pool.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("COLUMNS", "400")
    return lambda share, what: (folder / share).write_text(what)


def write_analysis(folder: Path, files: int, **changes: Any) -> Path:
    names = [str(folder / f"file{i}.root") for i in range(files)]
    for i, name in enumerate(names):
        toys.write(Path(name), toys.nano_events(EVENTS, signal=i % 2 == 0, first=i * EVENTS))
    content = {
        "name": "tt",
        "samples": {"tt": {"files": names}},
        "inputs": {"event": {"features": ["MET_pt", "MET_phi"]}},
        "target": {"classes": {"many": "nJet > 3", "few": "nJet <= 3"}},
        "keep": ["event"],
        "model": {"type": "mlp", "hidden": [4]},
        "training": {"epochs": 2},
        "batch": BATCH,
    }
    path = folder / "analysis.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return path


def look(directory: Path) -> list[JobStatus]:
    return JobSurvey(JobDir.open(directory)).look()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.5)


def wait(directory: Path) -> list[JobStatus]:
    """Wait until all jobs have ended."""
    wait_for(lambda: all(job.state not in ACTIVE for job in look(directory)))
    return look(directory)


def assert_collected_is_local(nanoforge: Work, jobs: Path) -> None:
    """Merge the parts; it is what one process makes, byte for byte."""
    done = nanoforge("collect", jobs, "-o", jobs / "dataset")
    assert done.returncode == 0, done.stderr
    convert(load(JobDir.open(jobs).analysis), jobs / "local")
    assert_same_files(jobs / "dataset", jobs / "local")


def test_jobs_that_fail_in_all_ways(
    pool: Pool, faults: Work, nanoforge: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(condor_description, "MOST_JOBS", 5)  # six jobs are more: they come into the queue by twos
    path, jobs = write_analysis(tmp_path, 12), tmp_path / "jobs"
    mended = {i: (tmp_path / f"file{i}.root").read_bytes() for i in (5, 7)}
    toys.write(tmp_path / "file5.root", toys.nano_events(EVENTS), tree="Other")
    (tmp_path / "file7.root").write_bytes(mended[7][:-1000])
    for share, what in {"tt:0-1": "sleep once", "tt:2-3": "fail once", "tt:8-9": "fail once"}.items():
        faults(share, what)

    assert nanoforge("submit", "condor", path, "--stage", "convert", "--split", 2, "-o", jobs).returncode == 0
    cluster = JobDir.open(jobs).submissions()[0].cluster
    assert pool.run("condor_q", str(cluster), "-factory", "-af", "JobMaterializeLimit").stdout.split() == ["2"]
    again = nanoforge("submit", "condor", path, "--stage", "convert", "--split", 2, "-o", jobs)
    assert "was submitted already" in again.stdout + again.stderr
    assert len(JobDir.open(jobs).submissions()) == 1

    wait_for(lambda: look(jobs)[0].state is JobState.RUNNING)
    pool.run(
        "condor_qedit", "-forward", f"{cluster}.0", "MaxRuntime", "1"
    )  # just the one that sleeps is too slow for the pool
    found = wait(jobs)
    assert [job.state for job in found] == [
        JobState.REMOVED, JobState.DONE, JobState.FAILED, JobState.FAILED, JobState.DONE, JobState.DONE,
    ]  # fmt: skip
    assert [found[i].cause for i in (0, 2)] == [Cause.TIME, Cause.MISTAKE]
    assert "file5.root" in found[2].reason and "file7.root" in found[3].reason
    assert pool.run("condor_q", str(cluster), "-hold", "-af", "ProcId").stdout == ""
    shown = nanoforge("status", jobs).stdout
    assert all(text in shown for text in ("file5.root", "file7.root", "removed", Cause.TIME.value))
    refused = nanoforge("collect", jobs, "-o", tmp_path / "dataset")
    assert refused.returncode == 1 and "3 of 6 jobs are not done" in refused.stderr

    for i, content in mended.items():
        (tmp_path / f"file{i}.root").write_bytes(content)
    assert nanoforge("resubmit", jobs, "--permanent").returncode == 0
    later = JobDir.open(jobs).submissions()[1:]
    assert sorted(number for submission in later for number in submission.jobs) == [0, 2, 3]
    runtimes = {number: submission.resources.runtime for submission in later for number in submission.jobs}
    assert runtimes == {0: 2 * RUNTIME, 2: RUNTIME, 3: RUNTIME}
    assert {job.state for job in wait(jobs)} == {JobState.DONE}
    assert_collected_is_local(nanoforge, jobs)


def test_a_pipeline_goes_on_from_its_rescue(pool: Pool, faults: Work, nanoforge: Work, tmp_path: Path) -> None:
    path, jobs = write_analysis(tmp_path, 2, batch=BATCH | {"split": 1}), tmp_path / "jobs"
    faults("tt:1-1", "fail")
    submitted = nanoforge("submit", "condor", path, "-o", jobs)
    assert submitted.returncode == 0, submitted.stderr
    stages = {directory.plan.stage: directory for directory in JobDir.all(jobs)}
    assert list(stages) == ["convert", "train", "evaluate", "predict"]
    wait_for(lambda: dagman(jobs) not in (*ACTIVE, JobState.LOST))
    assert [job.state for job in look(stages["convert"].path)] == [JobState.DONE, JobState.FAILED]
    assert (jobs / "pipeline.dag.rescue001").exists()
    submits = count_submits(stages["convert"])

    (tmp_path / "faults" / "tt:1-1").unlink()
    again = nanoforge("resubmit", jobs)
    assert again.returncode == 0, again.stderr
    wait_for(lambda: all(job.state is JobState.DONE for stage in stages.values() for job in look(stage.path)))
    wait_for(lambda: dagman(jobs) is JobState.DONE)
    assert count_submits(stages["convert"]) == submits + 1  # just the one that had failed


def count_submits(directory: JobDir) -> int:
    return directory.event_log(0).read_text().count("Job submitted")


def test_spool_mode(pool: Pool, faults: Work, nanoforge: Work, tmp_path: Path) -> None:
    path, jobs = write_analysis(tmp_path, 2, batch=BATCH | {"mode": "spool"}), tmp_path / "jobs"
    assert nanoforge("submit", "condor", path, "--stage", "convert", "--split", 2, "-o", jobs).returncode == 0
    assert {job.state for job in wait(jobs)} == {JobState.DONE}
    assert_collected_is_local(nanoforge, jobs)


def test_a_training_goes_on_from_its_checkpoint(pool: Pool, faults: Work, nanoforge: Work, tmp_path: Path) -> None:
    """It is evicted from its (simulated) GPU in the middle."""
    faults("train", "a second for each epoch")
    path, jobs = write_analysis(tmp_path, 2, batch=BATCH | GPU, training=LONG), tmp_path / "jobs"
    convert(load(path), tmp_path / "dataset")
    submitted = nanoforge("submit", "condor", path, "--stage", "train", "--data", tmp_path / "dataset", "-o", jobs)
    assert submitted.returncode == 0, submitted.stderr
    directory = JobDir.open(jobs)
    log = directory.event_log(0)

    def ask(*attributes: str) -> list[str]:
        return pool.run("condor_q", str(directory.submissions()[0].cluster), "-af", *attributes).stdout.split()

    wait_for(lambda: "Job executing" in log.read_text())
    wait_for(lambda: ask("AssignedGPUs")[0].startswith("GPU-"))
    wait_for(lambda: "Finished transferring output files" in log.read_text())  # the first checkpoint
    pool.run("condor_vacate_job", "-fast", str(directory.submissions()[0].cluster))
    wait_for(lambda: "Job was evicted" in log.read_text())
    (tmp_path / "faults" / "train").unlink()
    assert {job.state for job in wait(jobs)} == {JobState.DONE}
    last = directory.stderr(0, 0).with_suffix(".out").read_text() + directory.stderr(0, 0).read_text()
    assert "goes on after epoch" in last, last
    assert log.read_text().count("Job executing") >= 2


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_submission_that_is_killed_is_not_repeated(
    pool: Pool, faults: Work, nanoforge: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """``nanoforge submit`` dies just before or just after condor_submit: jobs are in the queue once."""
    path, jobs = write_analysis(tmp_path, 2, batch=BATCH), tmp_path / "jobs"
    for share in ("tt:0-0", "tt:1-1"):
        faults(share, "fail")  # at once: it is their number that matters
    submit = [
        sys.executable,
        "-m",
        "nanoforge",
        "submit",
        "condor",
        path,
        "--stage",
        "convert",
        "--split",
        "1",
        "-o",
        jobs,
    ]
    bin = tmp_path / "bin"
    bin.mkdir()
    real = shutil.which("condor_submit", path=pool.environment["PATH"])
    (bin / "condor_submit").write_text(
        f'#!/bin/bash\n[[ $* == *-dry-run* ]] && exec {real} "$@"\n'
        + ("" if moment == "before" else f'{real} "$@"\n')
        + "kill -9 $PPID\n"
    )
    (bin / "condor_submit").chmod(0o755)
    killed = subprocess.run(
        submit, env=os.environ | {"PATH": f"{bin}{os.pathsep}{os.environ['PATH']}"}, capture_output=True, check=False
    )
    assert killed.returncode == -9, killed.stderr
    assert [submission.state for submission in JobDir.open(jobs).submissions()] == ["intent"]
    assert nanoforge(*submit[3:]).returncode == 0
    submissions = JobDir.open(jobs).submissions()
    assert [submission.state for submission in submissions] == (["void"] if moment == "before" else []) + ["submitted"]
    wait(jobs)
    run = JobDir.open(jobs).plan.run_id
    seen = [
        pool.run(command, "-constraint", f'NanoForgeRun == "{run}"', "-af", "NanoForgeJob").stdout.split()
        for command in ("condor_q", "condor_history")
    ]
    assert sorted([*seen[0], *seen[1]]) == ["0", "1"]


def test_the_commands_survive_being_killed(pool: Pool, faults: Work, nanoforge: Work, tmp_path: Path) -> None:
    """Killed at any moment, submit, status and collect do the rest when they are called again."""
    path, jobs = write_analysis(tmp_path, 2, batch=BATCH), tmp_path / "jobs"
    start = [sys.executable, "-m", "nanoforge"]
    commands = {
        "submit": ["submit", "condor", path, "--stage", "convert", "--split", "1", "-o", jobs],
        "status": ["status", jobs],
        "collect": ["collect", jobs, "-o", jobs / "dataset"],
    }
    rng = np.random.default_rng(2)
    for name, words in commands.items():
        for _ in range(3):
            process = subprocess.Popen([*start, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0.5, 4))
            process.kill()
            process.wait()
        end = time.monotonic() + PATIENCE
        while "is at work" in (done := nanoforge(*words)).stderr:  # a child of a command that was killed goes on
            assert time.monotonic() < end
        assert done.returncode == 0, done.stderr
        if name == "submit":
            wait(jobs)
    assert_collected_is_local(nanoforge, jobs)
    run = JobDir.open(jobs).plan.run_id
    history = pool.run("condor_history", "-constraint", f'NanoForgeRun == "{run}"', "-af", "NanoForgeJob").stdout
    assert sorted(history.split()) == ["0", "1"]


def test_outputs_go_to_a_server(pool: Pool, faults: Work, nanoforge: Work, tmp_path: Path) -> None:
    """Parts arrive at a root:// address, through a plugin that stands for that of a CERN worker node."""
    (tmp_path / "eos").mkdir()
    server = Server(tmp_path / "eos", tmp_path / "server")
    try:
        batch = BATCH | {"output": f"{server.address}/eos/tt"}
        path, jobs = write_analysis(tmp_path, 2, batch=batch), tmp_path / "jobs"
        assert nanoforge("submit", "condor", path, "--stage", "convert", "--split", 2, "-o", jobs).returncode == 0
        assert {job.state for job in wait(jobs)} == {JobState.DONE}, [job.reason for job in look(jobs)]
        assert not list((jobs / "parts").glob("*")) and list((tmp_path / "eos" / "eos" / "tt").iterdir())
        assert_collected_is_local(nanoforge, jobs)
    finally:
        server.kill()


def test_two_tries_at_once_make_one_output(pool: Pool, faults: Work, nanoforge: Work, tmp_path: Path) -> None:
    path, jobs = write_analysis(tmp_path, 2), tmp_path / "jobs"
    assert nanoforge("submit", "condor", path, "--stage", "convert", "--split", 2, "-o", jobs).returncode == 0
    directory = JobDir.open(jobs)
    find_target("condor").submit(directory, [0], directory.plan.resources)
    wait_for(lambda: all("Job terminated" in directory.event_log(attempt).read_text() for attempt in (0, 1)))
    assert [job.state for job in look(jobs)] == [JobState.DONE]
    assert_collected_is_local(nanoforge, jobs)


MODES = [
    ("generic", "afs"), ("generic", "spool"), ("lpc", "afs"), ("lxplus", "afs"), ("lxplus", "spool"),
    ("lxplus", "eossubmit"),
]  # fmt: skip


@pytest.mark.parametrize(("site", "mode"), MODES)
def test_condor_submit_accepts_all_descriptions(
    pool: Pool, faults: Work, nanoforge: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str, mode: str
) -> None:
    """``condor_submit -dry-run``, in which a warning counts as a failure, of every stage."""
    monkeypatch.setattr("nanoforge.batch.make._check_place", lambda *_: None)  # no /afs and no /eos here
    if mode == "eossubmit":  # our own rules want every path there
        monkeypatch.setattr("nanoforge.batch.targets.condor.check", lambda *_: None)
    batch = {"site": site, "mode": mode, "shared": ["/"], "train": {"gpu": {"count": 2, "memory": "20 GB"}}}
    names = [str(tmp_path / f"file{i}.root") for i in range(2)]
    samples = {"tt": {"files": names, "generator": {"process": "ttbar", "events": 500}}}
    produce = {"events_per_job": 5, "seconds_per_event": 1, "pileup": "none"}
    path = write_analysis(tmp_path, 2, batch=batch, samples=samples, cmssw={"era": "2022", "produce": produce})
    for name in ("dataset", "run"):
        (tmp_path / name).mkdir()
    Manifest("train", load(path).model_dump(mode="json"), []).write(tmp_path / "run", {})
    options = {"train": ["--data", "dataset"], "tune": ["--data", "dataset"], "evaluate": ["--run", "run"]}
    options["predict"] = options["evaluate"]
    for stage in STAGES:
        if stage == "tune" and mode == "spool":
            continue  # its workers meet in a folder
        words = ["submit", "condor", path, "--stage", stage, "--dry-run", "-o", stage, *options.get(stage, [])]
        made = nanoforge(*words)
        assert made.returncode == 0, (stage, made.stderr)
        condor_commands.dry_run(tmp_path / stage / f"{stage}-0.sub")
