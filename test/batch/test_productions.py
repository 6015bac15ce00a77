"""Productions as batch jobs: the same plan, journal, retries and parts as of every other stage."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from nanoforge.batch.causes import Cause
from nanoforge.batch.crab_rules import Configuration
from nanoforge.batch.events import ACTIVE, JobState
from nanoforge.batch.jobdir import JobDir
from nanoforge.batch.status import JobStatus, JobSurvey
from nanoforge.provenance import Manifest
from pool import Pool
from slurm_cluster import Cluster, cluster
from xrootd_server import Server

from production import cms_software

__all__ = ["cluster"]
Command = Callable[..., Any]
BATCH = {"site": "generic", "retries": 1, "cores": 1, "memory": 500, "disk": 100, "runtime": 600}
ONE = {"samples": {"other": cms_software.ANALYSIS["samples"]["other"]}}
PATIENCE = 400


@pytest.fixture
def cms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in of CMS's software, for the jobs too, whose Python sets it up first."""
    folder = cms_software.install(tmp_path / "cms")
    monkeypatch.setenv("CMS_PATH", str(folder))
    (folder / "sitecustomize.py").write_text(f"import os\nos.environ['CMS_PATH'] = {str(folder)!r}\n")
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("COLUMNS", "400")
    return folder


def write(folder: Path, count: int, **produce: Any) -> Path:
    (folder / "pileup.txt").write_text("\n".join(f"premix{i}.root" for i in range(60)))
    block = {"events": 2 * count, "events_per_job": 2, "seconds_per_event": 1, **produce}
    return cms_software.analysis(folder, block, batch=BATCH, **ONE)


def look(directory: Path) -> list[JobStatus]:
    return JobSurvey(JobDir.open(directory)).look()


def truth(directory: Path, numbers: list[int]) -> tuple[int, set[tuple[int, ...]]]:
    """Return how many events the jobs tried, and which they accepted, by the files that the stand-in wrote."""
    files = [path for n in numbers for path in (directory / "parts" / f"part-{n:05}" / "other").glob("digi-*.root")]
    contents = [json.loads(path.read_text()) for path in files]
    return sum(c["tried"] for c in contents), {tuple(event[:3]) for c in contents for event in c["events"]}


def listed(result: Path) -> set[tuple[int, ...]]:
    """Return the events of the files that a result lists."""
    names = [line.split("  ad:")[0] for line in (result / "files" / "other.txt").read_text().splitlines()]
    return {tuple(event[:3]) for name in names for event in cms_software.events(Path(name))}


def test_jobs_of_this_machine_make_what_one_command_makes(cms: Path, tmp_path: Path, nanoforge: Command) -> None:
    write(tmp_path, 3, chain="digi")
    (cms / "faults" / "gensim-2").write_text("8009")
    submit = ["submit", "local", "analysis.yaml", "--stage", "produce", "-o", "jobs", "-j", 2]
    assert nanoforge(*submit, "--dry-run").returncode == 0
    assert not (tmp_path / "lumis.jsonl").exists(), "nothing is given to a dry run"
    assert nanoforge(*submit).returncode == 0
    states = look(tmp_path / "jobs")
    assert [status.state for status in states] == [JobState.DONE, JobState.FAILED, JobState.DONE]
    assert states[1].cause is Cause.MISTAKE and "its configuration is wrong" in states[1].reason
    assert {path.name for path in (tmp_path / "jobs/chain/other").glob("*_cfg.py")} == {"gensim_cfg.py", "digi_cfg.py"}
    (cms / "faults" / "gensim-2").unlink()
    assert nanoforge("resubmit", "jobs").returncode == 2
    assert nanoforge("resubmit", "jobs", "--permanent").returncode == 0
    done = nanoforge("collect", "jobs", "-o", "produced")
    assert done.returncode == 0, done.stderr
    tried, accepted = truth(tmp_path / "jobs", [0, 1, 2])
    assert listed(tmp_path / "produced") == accepted and len(accepted) == 6
    manifest = Manifest.read(tmp_path / "produced", "produce")
    assert manifest.accounting is not None and manifest.accounting.events.read == tried
    assert sorted({lumi for _, lumi, _ in accepted}) == [1, 2, 3]
    assert nanoforge(*submit).returncode == 0 and len(JobDir.open(tmp_path / "jobs").submissions()) == 2
    assert nanoforge(*submit[:-3], "more", "--dry-run").returncode == 0
    frozen = yaml.safe_load((tmp_path / "more" / "analysis.yaml").read_text())
    assert frozen["cmssw"]["produce"]["first_lumi"] == {"other": 4}


def test_jobs_that_last_too_long_are_not_submitted(cms: Path, tmp_path: Path, nanoforge: Command) -> None:
    write(tmp_path, 3, seconds_per_event=500)
    done = nanoforge("submit", "local", "analysis.yaml", "--stage", "produce", "-o", "jobs")
    assert done.returncode == 2 and "2 events of 500 s (seconds_per_event) take 0.3 h on 1 core(s)" in done.stderr
    assert "make it 1 at most" in done.stderr and not (tmp_path / "jobs").exists()
    image = "batch.environment={apptainer: {image: /cvmfs/image}}"
    done = nanoforge(
        "submit", "local", "analysis.yaml", image, "cmssw.produce.seconds_per_event=1", "--stage", "produce"
    )
    assert done.returncode == 2 and "batch.environment.apptainer: a production starts a container" in done.stderr


DAS = """#!/bin/bash
# A stand-in of dasgoclient: one dataset, on disk at Fermilab only
[[ $* == *T1_US_FNAL_Disk* ]] || { echo '[]'; exit; }
echo '[{"file": [{"name": "/store/mc/premix/1.root", "adler32": "1a2b3c4d"}]}]'
"""
PROXY = "#!/bin/bash\necho 60\n"


def test_premixed_events_come_from_the_disks_of_the_grid(
    cms: Path, tmp_path: Path, nanoforge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("dasgoclient", DAS), ("voms-proxy-info", PROXY), ("condor_submit", "#!/bin/bash\nexit 1\n")):
        (cms / "bin" / name).write_text(text)
        (cms / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(cms / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("X509_USER_PROXY", str(tmp_path / "proxy"))
    write(tmp_path, 3, pileup={"dataset": "/Neutrino/Premix-v1/PREMIX"}, chain="digi")
    submit = ["submit", "condor", "analysis.yaml", "--stage", "produce", "-o", "jobs"]
    done = nanoforge(*submit)
    assert done.returncode == 2 and "there is no proxy" in done.stderr
    assert (tmp_path / "jobs" / "chain" / "other" / "pileup.txt").read_text() == "/store/mc/premix/1.root\n"
    (tmp_path / "proxy").touch()
    done = nanoforge(*submit)
    assert done.returncode == 2 and "ends in 0.0 h, and a job may run for 0.2 h" in done.stderr
    assert not JobDir.open(tmp_path / "jobs").submissions()
    (cms / "bin" / "dasgoclient").write_text("#!/bin/bash\necho '[]'\n")
    write(tmp_path, 3, pileup={"dataset": "/Neutrino/Tape-v1/PREMIX"}, chain="digi")
    done = nanoforge(*submit[:-1], "other")
    assert done.returncode == 2 and "/Neutrino/Tape-v1/PREMIX is on disk at none of T2_CH_CERN" in done.stderr


def test_files_at_an_address_are_listed_there(cms: Path, tmp_path: Path, nanoforge: Command) -> None:
    pytest.importorskip("fsspec_xrootd")
    (tmp_path / "eos").mkdir()
    server = Server(tmp_path / "eos", tmp_path / "server")
    try:
        write(tmp_path, 2, chain="gensim")
        words = ["submit", "local", "analysis.yaml", f"batch.output={server.address}/eos/prod"]
        assert nanoforge(*words, "--stage", "produce", "-o", "jobs").returncode == 0
        done = nanoforge("collect", "jobs", "-o", "produced")
        assert done.returncode == 0, done.stderr
        lines = (tmp_path / "produced" / "files" / "other.txt").read_text().splitlines()
        run = JobDir.open(tmp_path / "jobs").plan.run_id
        assert [line.split()[0] for line in lines] == [
            f"{server.address}/eos/prod/{run}/part-{n:05}/other/gensim-{n + 1:05}.root" for n in range(2)
        ]
        assert not list((tmp_path / "jobs" / "fetched").rglob("*.root")), "they stay there"
    finally:
        server.kill()


def test_a_pipeline_reads_what_is_produced(cms: Path, tmp_path: Path, nanoforge: Command) -> None:
    write(tmp_path, 3)
    words = ["submit", "condor", "analysis.yaml", "--stage", "all", "-o", "all", "--dry-run"]
    target = "target={regression: {x: MET_pt}}"
    done = nanoforge(*words, target)
    assert done.returncode == 0, done.stderr
    frozen = yaml.safe_load((tmp_path / "all" / "convert" / "analysis.yaml").read_text())
    parts = tmp_path / "all" / "produce" / "parts"
    assert frozen["samples"]["other"]["files"] == [
        str(parts / f"part-{n:05}" / "other" / f"nano-{n + 1:05}.root") for n in range(3)
    ]
    dag = (tmp_path / "all" / "pipeline.dag").read_text()
    assert "PARENT produce-merge CHILD convert-00000" in dag
    mini = nanoforge(*words, target, "cmssw.produce.chain=mini")
    assert mini.returncode == 2 and "cmssw.produce.chain: 'mini' makes no NanoAOD" in mini.stderr


PSET = """
class process:
    class source:
        class firstLuminosityBlock:
            value = staticmethod(lambda: {lumi})
"""


def run_on_grid(task: Path, sandbox: Path, number: int) -> tuple[int, ElementTree.Element]:
    """Do as CRAB's wrapper does: unpack the files of a task, tweak PSet.py, call the script with the number of the job.

    Returns the exit code of the script, and the job report.
    """
    values = Configuration((task / "crab_cfg.py").read_text(), task)
    sandbox.mkdir()
    for name in (values.get("JobType.scriptExe"), *values.get("JobType.inputFiles")):
        copy = shutil.copytree if Path(name).is_dir() else shutil.copyfile
        copy(name, sandbox / Path(name).name)
    (sandbox / "PSet.py").write_text(PSET.format(lumi=number))
    words = [sys.executable, "crab_job.py", str(number)]
    code = subprocess.run(words, cwd=sandbox, capture_output=True, check=False).returncode
    return code, ElementTree.parse(sandbox / "FrameworkJobReport.xml").getroot()


def bring(task: Path, sandbox: Path, number: int) -> None:
    """Put the output of a job where the client puts what it fetches, and say that the job is finished."""
    project = task.with_name(f"crab_{task.name}")
    (project / "results").mkdir(parents=True, exist_ok=True)
    (project / ".requestcache").touch()
    status = task / "status.json"
    states = json.loads(status.read_text()) if status.exists() else {}
    whole = (sandbox / "part.tar").exists()
    error = {} if whole else {"Error": [8020, "cmsRun ended with 8020"]}
    states[str(number)] = {"State": "finished" if whole else "failed", **error}
    status.write_text(json.dumps(states))
    if whole:
        shutil.copyfile(sandbox / "part.tar", project / "results" / f"part_{number}.tar")


def test_crabs_wrapper_runs_whole_chains(
    cms: Path, tmp_path: Path, nanoforge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job reports of all steps are merged to one; a recovery task makes the section that is missing, no other."""
    monkeypatch.setattr("nanoforge.batch.targets.crab._client", lambda: False)
    write(tmp_path, 3, keep=["digi"])
    grid = ["batch.crab={site: T2_CH_CERN, output: /store/user/jdoe}", f"batch.shared=[{sys.prefix}]"]
    done = nanoforge("submit", "crab", "analysis.yaml", *grid, "--stage", "produce", "-o", "jobs")
    assert done.returncode == 0, done.stderr
    [task] = [path.parent for path in (tmp_path / "jobs" / "crab").glob("*/crab_cfg.py")]
    values = Configuration((task / "crab_cfg.py").read_text(), task)
    assert (values.get("JobType.pluginName"), values.get("Data.unitsPerJob"), values.jobs) == ("PrivateMC", 2, 3)
    (cms / "faults" / "reco-2").write_text("8020")
    reports = {}
    for number in (1, 2, 3):
        code, reports[number] = run_on_grid(task, tmp_path / f"sandbox{number}", number)
        error = reports[number].find("FrameworkError")
        assert (code, error is not None and error.get("ExitStatus")) == ((1, "8020") if number == 2 else (0, False))
        bring(task, tmp_path / f"sandbox{number}", number)
    (cms / "faults" / "reco-2").unlink()
    states = look(tmp_path / "jobs")
    assert [status.state for status in states] == [JobState.DONE, JobState.FAILED, JobState.DONE]
    done = nanoforge("resubmit", "jobs")
    assert done.returncode == 0, done.stderr
    [again] = [path.parent for path in (tmp_path / "jobs" / "crab").glob("*-1-0/crab_cfg.py")]
    assert len((again / "items.txt").read_text().splitlines()) == 1
    assert run_on_grid(again, tmp_path / "recovery", 1)[0] == 0
    bring(again, tmp_path / "recovery", 1)
    done = nanoforge("collect", "jobs", "-o", "produced")
    assert done.returncode == 0, done.stderr
    tried, accepted = truth(tmp_path / "jobs", [0, 1, 2])
    assert len(accepted) == 6 and sorted({lumi for _, lumi, _ in accepted}) == [1, 2, 3]
    manifest = Manifest.read(tmp_path / "produced", "produce")
    assert manifest.accounting is not None and manifest.accounting.events.read == tried

    files = {file.findtext("ModuleLabel"): file for file in reports[3].findall("File")}
    assert set(files) == {"RAWSIMoutput", "NANOAODSIMoutput"}, "of the steps whose files are left"
    nano = files["NANOAODSIMoutput"]
    assert nano.findtext("PFN") == "part-00002/other/nano-00003.root" and nano.findtext("TotalEvents") == "2"
    assert (tmp_path / "sandbox3" / str(nano.findtext("PFN"))).is_file(), "the wrapper looks at its size"
    assert nano.find("Inputs") is not None and not list(nano.iter("Input")), "what it was made from is gone"
    assert [(run.get("ID"), [b.get("ID") for b in run]) for run in nano.iter("Run")] == [("1", ["3"])]
    times = {m.get("Name"): m.get("Value") for m in reports[3].iter("Metric")}
    assert times == {"PeakValueRss": "1234.5", "TotalJobCPU": "17.5", "TotalJobTime": "22.5"}, "five steps"


@pytest.mark.parametrize("events", [2, 0])
def test_wmcore_reads_the_report_of_a_chain(events: int, tmp_path: Path) -> None:
    reports = pytest.importorskip("WMCore.FwkJobReport.Report", reason="pip install --no-deps wmcore future")
    path = merged_report(tmp_path, events)
    report = reports.Report("cmsRun")
    report.parse(str(path), "cmsRun")
    assert report.getExitCode() == 0
    content = report.__to_json__(None)["steps"]["cmsRun"]
    [file] = content["output"]["NANOAODSIMoutput"]
    assert (file["pfn"], file["events"], file["runs"]) == ("part-00000/x/nano-00004.root", events, {"1": {4: events}})
    assert content["performance"]["cpu"]["TotalJobCPU"] == "7"


STEP_REPORT = """<FrameworkJobReport>{input}
<File><LFN></LFN><PFN>{name}.root</PFN><Catalog></Catalog><ModuleLabel>{module}</ModuleLabel><GUID>A-{name}</GUID>
<OutputModuleClass>{kind}</OutputModuleClass><TotalEvents>{events}</TotalEvents><DataType>MC</DataType>
<BranchHash>00</BranchHash><Runs>{runs}</Runs><Inputs><Input><LFN></LFN><PFN>gone.root</PFN></Input></Inputs>
<Branches></Branches></File>
<Process><ParameterSetID>{name}-hash</ParameterSetID></Process>
<PerformanceReport><PerformanceSummary Metric="Timing"><Metric Name="TotalJobCPU" Value="3.5"/>
<Metric Name="AvgEventTime" Value="1"/></PerformanceSummary></PerformanceReport></FrameworkJobReport>"""
MIXED = """<InputFile><LFN>/store/mix.root</LFN><PFN>{name}</PFN><Catalog></Catalog><ModuleLabel>mix</ModuleLabel>
<GUID></GUID><InputType>{kind}</InputType><InputSourceClass>EmbeddedRootSource</InputSourceClass>
<EventsRead>1</EventsRead><Runs></Runs></InputFile>"""


def merged_report(folder: Path, events: int) -> Path:
    """Merge the reports of two steps, of which the file of the second is left, by the code of the job script."""
    script = runpy.run_path(str(Path(__file__).resolve().parents[2] / "crab" / "crab_job.py"))
    made = folder / "part-00000" / "x"
    made.mkdir(parents=True)
    (made / "nano-00004.root").touch()
    runs = '<Run ID="1"><LumiSection ID="4" NEvents="{}"/></Run>'
    texts = {
        "gensim": {"module": "RAWSIMoutput", "kind": "PoolOutputModule", "runs": runs.format(events), "input": ""},
        "nano": {"module": "NANOAODSIMoutput", "kind": "NanoAODOutputModule", "runs": "" if not events else
                 runs.format(events), "input": MIXED.format(name="b", kind="primaryFiles") +
                 MIXED.format(name="a", kind="mixingFiles")},
    }  # fmt: skip
    for name, values in texts.items():
        (made / f"FJR-{name}-00004.xml").write_text(STEP_REPORT.format(name=name, events=events, **values))
    details = {"lumis": {"x": [{"lumi": 4, "steps": [{"name": "gensim"}, {"name": "nano"}]}]}}
    root = ElementTree.Element("FrameworkJobReport")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        script["add_production"](root, {"details": details}, "part-00000")
    ElementTree.ElementTree(root).write(folder / "FrameworkJobReport.xml")
    return folder / "FrameworkJobReport.xml"


@pytest.mark.parametrize("events", [2, 0])
def test_the_report_of_a_chain_is_that_of_what_is_left(events: int, tmp_path: Path) -> None:
    root = ElementTree.parse(merged_report(tmp_path, events)).getroot()
    [file] = root.findall("File")
    assert (file.findtext("PFN"), file.findtext("GUID")) == ("part-00000/x/nano-00004.root", "A-nano")
    assert [(b.get("ID"), b.get("NEvents")) for b in file.iter("LumiSection")] == [("4", str(events))]
    assert [e.findtext("PFN") for e in root.findall("InputFile")] == ["a"], "premixed events, not the steps before"
    assert [e.findtext("ParameterSetID") for e in root.findall("Process")] == ["nano-hash"]
    assert [(m.get("Name"), m.get("Value")) for m in root.iter("Metric")] == [("TotalJobCPU", "7")]


# -- on a real pool ---------------------------------------------------------------------------------------------------


@pytest.fixture
def queue(pool: Pool, cms: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    for name, value in pool.environment.items():
        monkeypatch.setenv(name, value)
    yield pool


FAULTS = {
    "gensim-1": "once 1", "gensim-2": "8009", "gensim-3": "signal 11", "gensim-4": "8004", "digi-5": "once 8021",
    "digi-6": "8020", "gensim-7": "once signal 11",
}  # fmt: skip


def wait(directory: Path) -> list[JobStatus]:
    end = time.monotonic() + PATIENCE
    while True:
        states = look(directory)
        if not any(s.state in (*ACTIVE, JobState.NEW, JobState.LOST) for s in states):
            return states
        assert time.monotonic() < end, [(s.state, s.reason) for s in states]
        time.sleep(1)


def test_slurm_makes_what_is_missing_and_nothing_else(
    cms: Path, tmp_path: Path, nanoforge: Command, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    write(tmp_path, 3, chain="digi", pileup="none")
    for name, what in {"gensim-1": "once 1", "digi-2": "8020"}.items():
        (cms / "faults" / name).write_text(what)
    jobs = tmp_path / "jobs"
    submit = ["submit", "slurm", "analysis.yaml", "--stage", "produce", "-o", jobs]
    for _ in range(2):
        done = nanoforge(*submit)
        assert done.returncode == 0, done.stderr
    states = wait(jobs)
    assert [status.state for status in states] == [JobState.DONE, JobState.FAILED, JobState.DONE]
    assert states[1].cause is Cause.INPUT
    (cms / "faults" / "digi-2").unlink()
    assert nanoforge("resubmit", jobs).returncode == 0
    assert JobDir.open(jobs).submissions()[-1].jobs == (1,)
    assert {status.state for status in wait(jobs)} == {JobState.DONE}
    assert nanoforge("collect", jobs, "-o", tmp_path / "produced").returncode == 0
    tried, accepted = truth(jobs, [0, 1, 2])
    assert listed(tmp_path / "produced") == accepted and len(accepted) == 6
    accounting = Manifest.read(tmp_path / "produced", "produce").accounting
    assert accounting is not None and accounting.events.read == tried


def kill_soon(seconds: float, *words: object) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "nanoforge", *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(seconds)
    process.kill()
    process.wait()


def test_twelve_jobs_fail_in_every_way(queue: Pool, cms: Path, tmp_path: Path, nanoforge: Command) -> None:
    path, jobs = write(tmp_path, 12, chain="digi", pileup={"files": "pileup.txt"}), tmp_path / "jobs"
    for name, what in FAULTS.items():
        (cms / "faults" / name).write_text(what)
    submit = ["submit", "condor", path, "--stage", "produce", "-o", jobs]
    for seconds in (2.5, 5):
        kill_soon(seconds, *submit)
    done = nanoforge(*submit)
    assert done.returncode == 0, done.stderr
    assert [s.state for s in JobDir.open(jobs).submissions()].count("submitted") == 1
    kill_soon(1.5, "status", jobs)
    states = wait(jobs)
    first = yaml.safe_load((jobs / "analysis.yaml").read_text())["cmssw"]["produce"]["first_lumi"]["other"]
    assert first == 1, "what was killed had no jobs"
    failed = {status.job.number + 1: status.cause for status in states if status.state is not JobState.DONE}
    assert failed == {2: Cause.MISTAKE, 3: Cause.MISTAKE, 4: Cause.MEMORY, 6: Cause.INPUT}
    assert "crashed twice with the same random numbers" in states[2].reason

    for name in ("gensim-4", "digi-6"):
        (cms / "faults" / name).unlink()
    assert nanoforge("resubmit", jobs).returncode == 0
    again = {n: s.resources.memory for s in JobDir.open(jobs).submissions()[-2:] for n in s.jobs}
    assert again == {3: 1000, 5: 500}
    states = wait(jobs)
    assert [s.job.number for s in states if s.state is not JobState.DONE] == [1, 2]

    kill_soon(2, "collect", jobs, "-o", tmp_path / "some", "--skip-bad-files")
    some = nanoforge("collect", jobs, "-o", tmp_path / "some", "--skip-bad-files")
    assert some.returncode == 0, some.stderr
    done_jobs = [0, *range(3, 12)]
    tried, accepted = truth(jobs, done_jobs)
    manifest = Manifest.read(tmp_path / "some", "produce")
    assert manifest.accounting is not None
    assert [loss.file for loss in manifest.accounting.lost] == [f"other: run 1, lumi section {n}" for n in (2, 3)]
    assert (manifest.accounting.events.read, len(accepted)) == (tried, 20) and listed(tmp_path / "some") == accepted
    assert manifest.details["samples"]["other"]["trials"]["tried"] == tried

    for name in ("gensim-2", "gensim-3"):
        (cms / "faults" / name).unlink()
    assert nanoforge("resubmit", jobs, "--permanent").returncode == 0
    assert {s.state for s in wait(jobs)} == {JobState.DONE}
    assert nanoforge("collect", jobs, "-o", tmp_path / "all").returncode == 0
    tried, accepted = truth(jobs, list(range(12)))
    assert listed(tmp_path / "all") == accepted and len(accepted) == 24
