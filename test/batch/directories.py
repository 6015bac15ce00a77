"""Job directories as ``submit`` makes them and as jobs leave them, without any batch system."""

from __future__ import annotations

import json
from pathlib import Path

from nanoforge.batch.events import JobLog
from nanoforge.batch.jobdir import JobDir, Submission, sha256
from nanoforge.batch.plan import BatchJob, Plan, Resources
from nanoforge.provenance.manifest import adler32

RESOURCES = Resources(cores=1, memory=2000, disk=10_000, runtime=7200, flavour="longlunch")
ANALYSIS = """
name: toy
samples: {tt: {files: [tt0.root, tt1.root, tt2.root, tt3.root], label: signal}}
inputs: {event: {features: [MET_pt]}}
target: {regression: {ht: MET_pt}}
redirectors: [root://one//, root://two//]
"""


def make(
    path: Path,
    count: int = 4,
    target: str = "condor",
    stage: str = "convert",
    analysis: str = ANALYSIS,
    **changes: object,
) -> JobDir:
    """A job directory of some jobs with a file of 100 events each; nothing of it was submitted."""
    path.mkdir()
    (path / "parts").mkdir()
    (path / "analysis.yaml").write_text(analysis)
    (path / "batch.yaml").write_text("site: lxplus\n")
    (path / "environment.sh").touch()
    sample = "tt" if stage in ("generate", "skim", "convert") else None
    jobs = tuple(BatchJob(i, sample, i, i, 100, (f"root://one//store/tt{i}.root",)) for i in range(count))
    plan = {
        "run_id": "toy-1", "name": "toy", "stage": stage, "target": target, "jobs": jobs,
        "analysis_sha256": sha256(analysis), "resources": RESOURCES, "parts": "parts",
        "command": (stage, "analysis.yaml"),
    }  # fmt: skip
    Plan(**{**plan, **changes}).write(path / "plan.json")
    return JobDir.open(path)


def submit(directory: JobDir, jobs=None, resources: Resources | None = None, overrides=()) -> Submission:
    """What a submission leaves in the journal, with an empty log."""
    jobs = range(len(directory.plan.jobs)) if jobs is None else jobs
    submission = directory.intend(list(jobs), resources or directory.plan.resources, overrides)
    directory.make_logs(submission.attempt, submission.jobs)
    directory.event_log(submission.attempt).touch()
    return directory.conclude(submission, "submitted", 17 + submission.attempt, "schedd")


def log(directory: JobDir, attempt: int = 0) -> JobLog:
    return JobLog(directory.event_log(attempt))


def tell(directory: JobDir, attempt: int, *texts: str) -> None:
    """Append events as HTCondor writes them: ``number (cluster.process.0) time text``."""
    with directory.event_log(attempt).open("a") as file:
        file.writelines(f"{text}\n...\n" for text in texts)


def event(kind: int, process: int, text: str, clock: str = "02:09:05", cluster: int = 17) -> str:
    return f"{kind:03} ({cluster:03}.{process:03}.000) 2026-11-22 {clock} {text}"


def write_part(directory: JobDir, number: int, content: bytes = b"events", read: int = 100, **changes: object) -> Path:
    """What a job brings back: one file, and a manifest."""
    job = directory.plan.jobs[number]
    folder = Path(directory.part(number))
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    name = f"shards/tt-{number:05}.h5"
    (folder / name).write_bytes(content)
    in_parts = directory.plan.in_parts
    manifest = {
        "stage": f"{directory.plan.stage} part" if in_parts else directory.plan.stage,
        "details": {"part": {"sample": job.sample, "first": job.first, "last": job.last}} if in_parts else {},
        "outputs": [{"path": name, "size": len(content), "adler32": adler32(folder / name)}],
        "accounting": {"events": {"read": read}, "lost": []},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))
    return folder
