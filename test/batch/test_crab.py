"""The target ``crab``: configurations that CRAB takes, its job script, and what becomes of the jobs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
from directories import make, write_part
from nanoforge.batch.causes import Cause
from nanoforge.batch.crab_answers import reported
from nanoforge.batch.crab_rules import MOST_JOBS, SANDBOX_BYTES, Configuration, check
from nanoforge.batch.events import JobState
from nanoforge.batch.jobdir import JobDir
from nanoforge.batch.plan import BatchJob
from nanoforge.batch.resubmit import resubmit
from nanoforge.batch.status import JobSurvey
from nanoforge.batch.targets import crab
from nanoforge.errors import UserError

TARGET = crab.CrabTarget("crab")
HERE = Path(__file__).resolve().parent
SCRIPT = HERE.parents[1] / "crab" / "crab_job.py"
OFFICIAL = "/store/mc/RunIISummer20UL18NanoAODv9/TTTo2L2Nu_TuneCP5/NANOAODSIM/106X_upgrade2018-v1/2500000"
BATCH = """
crab: {site: T2_CH_CERN, output: /store/user/jdoe/nanoforge, whitelist: [T2_CH_CERN, T2_US_*]}
site: generic
shared: [/cvmfs]
"""
ANALYSIS = f"""
name: toy
samples:
  tt: {{files: [{OFFICIAL}/A.root, {OFFICIAL}/B.root, {OFFICIAL}/C.root], label: signal}}
  own: {{files: [root://eos//store/user/jdoe/x1.root, root://eos//store/user/jdoe/x2.root], label: background}}
inputs: {{event: {{features: [MET_pt]}}}}
target: {{regression: {{ht: MET_pt}}}}
skim: {{keep: [keep MET_*]}}
batch:
  environment: {{lcg: {{view: LCG_107}}}}
  crab: {{site: T2_CH_CERN, output: /store/user/jdoe/nanoforge, whitelist: [T2_CH_CERN, "T2_US_*"]}}
"""
GENERATED = """
name: toy
samples:
  zee: {label: signal, generator: {process: ttbar, events: 2600, seed: 1}}
inputs: {event: {features: [MET_pt]}}
target: {regression: {ht: MET_pt}}
batch:
  environment: {lcg: {view: LCG_107}}
  crab: {site: T2_CH_CERN, output: /store/group/top/jdoe}
"""


@pytest.fixture
def directory(tmp_path):
    directory = make(tmp_path / "jobs", target="crab")
    (directory.path / "batch.yaml").write_text(BATCH)
    (directory.path / "job.sh").write_text("#!/bin/bash\n")
    return directory


def all_jobs(directory: JobDir) -> range:
    return range(len(directory.plan.jobs))


def prepared(directory: JobDir) -> list[crab.Task]:
    TARGET.prepare(directory, all_jobs(directory), directory.plan.resources, (), 0)
    return crab.tasks(directory, 0, all_jobs(directory))


def read(task: crab.Task) -> Configuration:
    return Configuration(task.configuration.read_text(), task.folder)


# -- configurations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stage, tasks, jobs", [("generate", 1, 6), ("skim", 2, 3), ("convert", 2, 3)], ids=["generate", "skim", "convert"]
)
def test_each_stage_passes_the_rules(tmp_path, nanoforge, stage, tasks, jobs):
    (tmp_path / "a.yaml").write_text(GENERATED if stage == "generate" else ANALYSIS)
    answer = nanoforge("submit", "crab", "a.yaml", "--stage", stage, "--split", 2, "-o", "jobs", "--dry-run")
    assert answer.returncode == 0, answer.stderr
    found = sorted((tmp_path / "jobs" / "crab").glob("*/crab_cfg.py"))
    assert len(found) == tasks
    configurations = [Configuration(path.read_text(), path.parent) for path in found]
    assert all(not check(path.read_text(), path.parent) for path in found)
    assert sum(configuration.jobs for configuration in configurations) == jobs
    rows = [row for path in found for row in path.with_name("items.txt").read_text().splitlines()]
    assert [row.split()[0] for row in rows] == [f"part-{number:05}" for number in range(jobs)]
    first = configurations[0]
    assert first.get("JobType.pluginName") == ("PrivateMC" if stage == "generate" else "Analysis")
    if stage != "generate":
        assert (
            first.get("Data.inputDataset")
            == "/TTTo2L2Nu_TuneCP5/RunIISummer20UL18NanoAODv9-106X_upgrade2018-v1/NANOAODSIM"
        )
        assert first.get("Data.userInputFiles") == [f"{OFFICIAL}/A.root", f"{OFFICIAL}/C.root"]
        assert not configurations[1].has("Data.inputDataset")


def test_what_the_grid_does_not_see_is_refused(tmp_path, nanoforge):
    config = tmp_path / "a.yaml"
    config.write_text(ANALYSIS.replace("root://eos//store/user/jdoe/x1.root", str(config)))
    answer = nanoforge("submit", "crab", "a.yaml", "--stage", "convert", "-o", "jobs")
    assert answer.returncode == 2 and "/cvmfs" in answer.stderr
    config.write_text(ANALYSIS.replace("  environment: {lcg: {view: LCG_107}}\n", ""))
    answer = nanoforge("submit", "crab", "a.yaml", "--stage", "convert", "-o", "jobs")
    assert answer.returncode == 2 and "batch.environment" in answer.stderr
    answer = nanoforge("submit", "crab", "a.yaml", "--stage", "train", "-o", "jobs", "--dry-run")
    assert answer.returncode == 2 and "generate, produce, skim, convert" in answer.stderr


def test_a_task_has_as_many_jobs_as_the_server_takes(tmp_path):
    jobs = tuple(BatchJob(i, "tt", i, i, None, (f"root://one//store/tt{i}.root",)) for i in range(MOST_JOBS + 1))
    directory = make(tmp_path / "jobs", target="crab", jobs=jobs)
    assert [len(task.jobs) for task in crab.tasks(directory, 0, range(MOST_JOBS + 1))] == [MOST_JOBS, 1]
    assert crab.tasks(directory, 1, [3, 5])[0].jobs == (jobs[3], jobs[5])


def test_without_a_place_for_the_results(directory):
    (directory.path / "batch.yaml").write_text("site: generic\n")
    with pytest.raises(UserError, match=r"batch\.crab"):
        prepared(directory)


NEEDS = {"GPUMemoryMB": 8000}
MANY = [f"/store/user/jdoe/{i}.root" for i in range(MOST_JOBS + 1)]
BREAKING = [
    ("plugin", "JobType.pluginName", None),
    ("spelling", "JobType.pluginName", "CMSSW"),
    ("spelling", "General.requestName", "tt.v2"),
    ("spelling", "General.requestName", "x" * 101),
    ("unknown", "JobType.outputFile", ["a.root"]),
    ("deprecated", "JobType.sendPythonFolder", True),
    ("deprecated", "JobType.eventsPerLumi", 100),
    ("deprecated", "Data.publishDataName", "tag"),
    ("type", "Data.unitsPerJob", "10"),
    ("type", "Data.publication", 0),
    ("type", "JobType.outputFiles", "part.tar"),
    ("type", "JobType.scriptArgs", [1]),
    ("spelling", "JobType.scriptArgs", ["verbose"]),
    ("spelling", "JobType.scriptArgs", ["NAME=a b"]),
    ("spelling", "JobType.outputFiles", ["out put.h5"]),
    ("spelling", "Data.splitting", "FilesBased"),
    ("spelling", "Data.outputDatasetTag", "v1.2"),
    ("tag", "Data.outputDatasetTag", "x" * 170),
    ("spelling", "Data.outLFNDirBase", "/eos/user/j/jdoe"),
    ("spelling", "Data.userInputFiles", ["/store/a b.root"]),
    ("repeated", "Data.userInputFiles", ["/store/a.root", "/store/a.root"]),
    ("spelling", "Data.inputDataset", "/TT/NANOAODSIM"),
    ("spelling", "Data.outputPrimaryDataset", "2tt"),
    ("spelling", "Site.storageSite", "CERN"),
    ("storage", "Site.storageSite", None),
    ("whitelist", "Site.whitelist", None),
    ("spelling", "Site.whitelist", ["T2_us_*"]),
    ("pset", "JobType.psetName", None),
    ("file", "JobType.scriptExe", "absent.py"),
    ("memory", "JobType.maxMemoryMB", 3001),
    ("cores", "JobType.numCores", 3),
    ("runtime", "JobType.maxJobRuntimeMin", 3000),
    ("units", "Data.unitsPerJob", None),
    ("units", "Data.unitsPerJob", 0),
    ("jobs", "Data.userInputFiles", MANY),
    ("splitting", "Data.splitting", "LumiBased"),
    ("splitting", "Data.splitting", "EventBased"),
    ("splitting", "Data.splitting", None),
    ("inputs", "Data.userInputFiles", None),
    ("primary", "Data.inputDataset", "/TT/Run3-v1/NANOAODSIM"),
    ("publication", "Data.publication", True),
    ("accelerator", "Site.acceleratorParams", NEEDS),
    ("parents", ("Data.useParent", "Data.secondaryInputDataset"), (True, "/TT/Run3-v1/MINIAODSIM")),
    ("dbs", ("Data.inputDBS", "Data.inputDataset"), ("phys03", "/TT/Run3-v1/NANOAODSIM")),
    ("accelerator", ("Site.requireAccelerator", "Site.acceleratorParams"), (True, {"GPUMemory": 8000})),
    ("type", ("Site.requireAccelerator", "Site.acceleratorParams"), (True, {"GPUMemoryMB": "8000"})),
    ("spelling", ("Site.requireAccelerator", "Site.acceleratorParams"), (True, {"GPUMinimumCapability": "7"})),
    ("spelling", ("Site.requireAccelerator", "Site.acceleratorParams"), (True, {"GPURuntime": "twelve"})),
]  # fmt: skip
GENERATION = [
    ("generation", "Data.splitting", "FileBased"),
    ("total", "Data.totalUnits", None),
    ("total", "Data.totalUnits", 0),
    ("inputs", "Data.userInputFiles", ["/store/a.root"]),
    ("inputs", "Data.inputDataset", "/TT/Run3-v1/NANOAODSIM"),
    ("lumis", "Data.lumisPerFile", 1001),
    ("jobs", "Data.totalUnits", 1_000_100),
]


def written(values: dict[str, object]) -> str:
    return "config = config()\n" + "".join(f"config.{name} = {value!r}\n" for name, value in values.items())


def rules_broken(values: dict[str, object], names, changes, folder: Path) -> set[str]:
    names, changes = (names, changes) if isinstance(names, tuple) else ((names,), (changes,))
    values = {**values, **dict(zip(names, changes))}
    text = written({name: value for name, value in values.items() if value is not None})
    return {finding.rule for finding in check(text, folder)}


@pytest.mark.parametrize("rule, names, changes", BREAKING, ids=str)
def test_each_rule_has_a_configuration_that_breaks_it(directory, rule, names, changes):
    task = prepared(directory)[0]
    values = read(task).values
    assert not rules_broken(values, (), (), task.folder)
    assert rule in rules_broken(values, names, changes, task.folder)


@pytest.mark.parametrize("rule, name, change", GENERATION, ids=str)
def test_each_rule_of_generation_has_a_configuration_that_breaks_it(tmp_path, rule, name, change):
    jobs = tuple(BatchJob(i, "zee", 4 * i, 4 * i + 3, 100) for i in range(3))
    directory = make(tmp_path / "jobs", target="crab", stage="generate", jobs=jobs)
    (directory.path / "batch.yaml").write_text(BATCH)
    (directory.path / "job.sh").touch()
    task = prepared(directory)[0]
    values = read(task).values
    assert not rules_broken(values, (), (), task.folder)
    assert rule in rules_broken(values, name, change, task.folder)


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ("source", '"EmptySource"', '"PoolSource"'),
        ("threads", "uint32(1)", "uint32(4)"),
        ("accepted", "input=cms.untracked.int32(1)", "input=cms.untracked.int32(9), output=cms.untracked.int32(5)"),
    ],
)
def test_each_rule_of_the_pset_has_one_that_breaks_it(tmp_path, rule, before, after):
    directory = make(tmp_path / "jobs", target="crab", stage="produce", jobs=(BatchJob(0, "zee", 0, 0, 100),))
    (directory.path / "batch.yaml").write_text(BATCH)
    (directory.path / "job.sh").touch()
    [task] = prepared(directory)
    text = (task.folder / "pset.py").read_text()
    assert before in text and not check(task.configuration.read_text(), task.folder)
    (task.folder / "pset.py").write_text(text.replace(before, after))
    assert [finding.rule for finding in check(task.configuration.read_text(), task.folder)] == [rule]


def test_what_is_no_plain_assignment(directory):
    task = prepared(directory)[0]
    text = task.configuration.read_text()
    again = 'config.Data.splitting = "FileBased"\n'
    assert [f.rule for f in check(text + again, task.folder)] == ["twice"]
    assert [f.rule for f in check(text + "config.Debug.extraJDL = make()\n", task.folder)] == ["literal"]
    assert [f.rule for f in check(text + "config.Data\n(", task.folder)] == ["syntax"]


def test_the_sandbox_has_a_limit(directory):
    with (directory.path / "venv.tar.gz").open("wb") as file:
        file.truncate(SANDBOX_BYTES + 1)
    with pytest.raises(UserError, match=r"\[sandbox\]"):
        prepared(directory)


def test_names_pass_the_lexicon_of_wmcore(directory):
    lexicon = pytest.importorskip("WMCore.Lexicon", reason="pip install --no-deps wmcore future")
    for task in prepared(directory):
        values = read(task)
        assert lexicon.userprocdataset(f"jdoe-{values.get('Data.outputDatasetTag')}-{'0' * 32}")
        assert lexicon.primdataset(values.get("Data.outputPrimaryDataset"))
        assert lexicon.requestName(task.request)
    with pytest.raises(AssertionError):
        lexicon.userprocdataset(f"jdoe-v1.2-{'0' * 32}")
    assert lexicon.dataset(crab.dataset_of(f"{OFFICIAL}/A.root"))


@pytest.mark.parametrize("stage", ["generate", "convert"])
def test_splitting_of_wmcore_makes_the_jobs_of_the_plan(tmp_path, stage):
    factory = pytest.importorskip("WMCore.JobSplitting.SplitterFactory", reason="pip install --no-deps wmcore future")
    from WMCore.DataStructs.File import File
    from WMCore.DataStructs.Fileset import Fileset
    from WMCore.DataStructs.Run import Run
    from WMCore.DataStructs.Subscription import Subscription
    from WMCore.DataStructs.Workflow import Workflow

    sizes = (250, 500, 500)
    inputs = [() if stage == "generate" else (f"/store/user/jdoe/{i}.root",) for i in range(3)]
    jobs = tuple(BatchJob(i, "tt", i, i, sizes[i], inputs[i]) for i in range(3))
    directory = make(tmp_path / "jobs", target="crab", stage=stage, jobs=jobs)
    (directory.path / "batch.yaml").write_text(BATCH)
    (directory.path / "job.sh").touch()
    values = read(prepared(directory)[0])
    files = Fileset(name="task")
    if stage == "generate":  # as the server's MakeFakeFileSet
        fake = File("MCFakeFile", size=1000, events=values.get("Data.totalUnits"))
        fake.addRun(Run(1, *range(1, 100)))
        fake["first_event"], fake["last_event"] = 1, values.get("Data.totalUnits")
        parameters = {
            "events_per_job": values.get("Data.unitsPerJob"),
            "events_per_lumi": values.get("Data.unitsPerJob"),
        }
        found = [fake]
    else:  # as its UserDataDiscovery
        found = [File(name, size=1000, events=1) for name in values.get("Data.userInputFiles")]
        parameters = {"files_per_job": values.get("Data.unitsPerJob"), "total_files": values.get("Data.totalUnits")}
    for number, file in enumerate(found):
        file.setLocation(["T2_CH_CERN"])
        file["block"] = "block"
        if stage != "generate":
            file.addRun(Run(1, number))
        files.addFile(file)
    kind = "Production" if stage == "generate" else "Processing"
    subscription = Subscription(
        fileset=files, workflow=Workflow(name="task"), split_algo=values.get("Data.splitting"), type=kind
    )
    groups = factory.SplitterFactory()(subscription=subscription)(
        algorithm=values.get("Data.splitting"), applyLumiCorrection=True, **parameters
    )
    assert sum(len(group.getJobs()) for group in groups) == values.jobs == 3


# -- the job ----------------------------------------------------------------------------------------------------------

STAND_IN = """#!/bin/bash
echo "$@" > words
env > variables
case $(cat behaviour) in
  mistake) echo "error: a < b is no cut" >&2; echo "job.sh: exit code 2" >&2; exit 2;;
  killed) kill -9 $$;;
  unreadable) echo "error: tt, step digi: could not read an input: cmsRun ended with 8021 (x)" >&2; exit 1;;
  configuration) echo "error: tt, step digi: cmsRun ended with 8009 (Configuration)" >&2; exit 2;;
esac
mkdir -p $1
cat > $1/manifest.json <<END
{"inputs": [{"path": "root://one//store/tt1.root", "entries": 100}, {"path": "/store/tt2.root", "entries": 40}]}
END
"""
PSET = """
class process:
    class source:
        lumisToProcess = ["1:3-1:4", "2:7"]
"""
GENERATING = """
class process:
    class source:
        class firstLuminosityBlock:
            value = staticmethod(lambda: 1)
"""


def run_job(folder: Path, behaviour: str = "", *variables: str, pset: str = PSET) -> int:
    (folder / "job.sh").write_text(STAND_IN)
    (folder / "items.txt").write_text("part-00003 convert\npart-00007 convert 'tt of mine:0-1'\n")
    (folder / "behaviour").write_text(behaviour)
    (folder / "PSet.py").write_text(pset)
    shutil.copy(SCRIPT, folder)
    environment = {**os.environ, "CMSSW_BASE": "/somewhere", "PYTHONPATH": ""}
    return subprocess.run(
        [sys.executable, "crab_job.py", "2", *variables], cwd=folder, env=environment, check=False
    ).returncode


def test_the_job_does_its_line(tmp_path):
    assert run_job(tmp_path, "", "NANOFORGE_REDIRECTORS=root://b/,root://a/") == 0
    assert (tmp_path / "words").read_text() == "part-00007 convert tt of mine:0-1\n"
    variables = (tmp_path / "variables").read_text()
    assert "NANOFORGE_REDIRECTORS=root://b/ root://a/\n" in variables and "CMSSW_BASE" not in variables
    with tarfile.open(tmp_path / "part.tar") as archive:
        assert archive.getnames() == ["part-00007", "part-00007/manifest.json"]
    report = ElementTree.parse(tmp_path / "FrameworkJobReport.xml").getroot()
    assert [e.text for e in report.iter("LFN")] == ["/store/tt1.root", "/store/tt2.root"]
    assert [e.text for e in report.iter("EventsRead")] == ["100", "40"]
    lumis = [(run.get("ID"), lumi.get("ID")) for run in report.iter("Run") for lumi in run.iter("LumiSection")]
    assert lumis == [("1", "3"), ("1", "4"), ("2", "7")]
    assert report.find("FrameworkError") is None


def test_a_job_that_generates_does_the_line_of_its_luminosity_block(tmp_path):
    assert run_job(tmp_path, pset=GENERATING) == 0
    assert (tmp_path / "words").read_text() == "part-00003 convert\n"
    assert run_job(tmp_path, pset="import FWCore.ParameterSet.Config") == 0, "a release without it for Python 3"
    assert (tmp_path / "words").read_text() == "part-00007 convert tt of mine:0-1\n"


@pytest.mark.parametrize(
    "behaviour, code, told, text",
    [
        ("mistake", 2, 2, "error: a < b is no cut"),
        ("killed", 137, 137, "see the"),
        ("unreadable", 1, 8021, "could not read an input"),
        ("configuration", 2, 2, "cmsRun ended with 8009"),
    ],
)
def test_the_job_tells_why_it_failed(tmp_path, behaviour, code, told, text):
    assert run_job(tmp_path, behaviour) == code
    error = ElementTree.parse(tmp_path / "FrameworkJobReport.xml").getroot().find("FrameworkError")
    assert error.get("ExitStatus") == str(told) and text in error.text
    assert not (tmp_path / "part.tar").exists()


@pytest.mark.parametrize("behaviour, code", [("", 0), ("mistake", 2)])
def test_wmcore_reads_the_report(tmp_path, behaviour, code):
    reports = pytest.importorskip("WMCore.FwkJobReport.Report", reason="pip install --no-deps wmcore future")
    assert run_job(tmp_path, behaviour) == code
    report = reports.Report("cmsRun")
    report.parse(str(tmp_path / "FrameworkJobReport.xml"), "cmsRun")
    assert report.getExitCode() == code
    content = report.__to_json__(None)["steps"]["cmsRun"]
    assert "output" in content  # cmscp wants it
    if code == 0:
        assert sum(source["events"] for source in content["input"]["source"]) == 140


# -- with a client ----------------------------------------------------------------------------------------------------

CLIENT = """
import json, os, pathlib, re, tarfile
HERE = pathlib.Path(os.environ["CRAB_STAND_IN"])

def crabCommand(command, **options):
    with (HERE / "calls").open("a") as file:
        print(command, json.dumps(options), file=file)
    if command == "submit":
        text = pathlib.Path(options["config"]).read_text()
        area, request = (re.search(key + ' = "(.*)"', text)[1] for key in ("workArea", "requestName"))
        project = pathlib.Path(area) / f"crab_{request}"
        (project / "results").mkdir(parents=True)
        if (HERE / "refuse").exists():
            raise RuntimeError("Problem sending the request: Incorrect 'JobType.outputFiles' parameter")
        (project / ".requestcache").touch()
        return {"commandStatus": "SUCCESS", "uniquerequestname": "261122_030000:jdoe_crab_" + request}
    if command == "status":
        return {"commandStatus": "SUCCESS", "jobs": json.loads((HERE / "states").read_text())}
    for number in options["jobids"].split(","):
        part = "part-%05d" % (int(number) - 1)
        with tarfile.open(pathlib.Path(options["dir"]) / "results" / f"part_{number}.tar", "w") as archive:
            archive.add(HERE / part, part)
    return {"commandStatus": "SUCCESS"}
"""


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A stand-in for CRAB's client, which answers what ``states`` says."""
    folder = tmp_path / "client"
    (folder / "CRABAPI").mkdir(parents=True)
    (folder / "CRABAPI" / "__init__.py").touch()
    (folder / "CRABAPI" / "RawCommand.py").write_text(CLIENT)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("CRAB_STAND_IN", str(folder))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def no_client(monkeypatch):
    monkeypatch.setattr(crab, "_client", lambda: False)


def calls(client: Path) -> list[str]:
    return [line.split()[0] for line in (client / "calls").read_text().splitlines()]


def states(directory: JobDir) -> list[JobState]:
    return [status.state for status in JobSurvey(directory).look()]


def submit(directory: JobDir):
    return TARGET.submit(directory, all_jobs(directory), directory.plan.resources)


def info(state: str, *error) -> dict:
    return {"State": state, "Retries": 1, "StartTimes": [10.0, 50.0], "EndTimes": [20.0, 90.0], "Error": list(error)}


def test_from_submission_to_parts(directory, client):
    submission = submit(directory)
    assert submission.state == "submitted" and calls(client) == ["submit"]
    assert TARGET.reconcile(directory, submission).state == "submitted" and calls(client) == ["submit"]
    answers = [info("finished"), info("failed", 2, "NanoForgeMistake\nerror: no such branch"), info("running"),
               info("failed", 50664, "Not retrying job due to wall clock limit")]  # fmt: skip
    (client / "states").write_text(json.dumps({i: answer for i, answer in enumerate(answers, 1)}))
    found = JobSurvey(directory).look()
    assert [status.state for status in found] == [JobState.IDLE, JobState.FAILED, JobState.RUNNING, JobState.FAILED]
    assert "crab getoutput" in found[0].reason
    assert found[1].cause is Cause.MISTAKE and "no such branch" in found[1].reason
    assert found[3].cause is Cause.TIME
    write_part(directory, 0)
    shutil.move(directory.part(0), client / "part-00000")
    TARGET.retrieve(directory)
    assert states(directory)[0] is JobState.DONE
    assert calls(client) == ["submit", "status", "getoutput"]  # an answer serves for a minute
    TARGET.submit(directory, [1, 3], directory.plan.resources)
    assert [task.jobs for task in crab.tasks(directory, 1, [1, 3])] == [directory.plan.jobs[1:4:2]]
    assert [row.split()[0] for row in (crab.tasks(directory, 1, [1, 3])[0].folder / "items.txt").open()] == [
        "part-00001",
        "part-00003",
    ]


def test_what_the_server_refuses_is_told_and_sent_again(directory, client):
    (client / "refuse").touch()
    with pytest.raises(crab.DataError, match="outputFiles"):
        submit(directory)
    assert directory.submissions()[0].state == "intent"
    (client / "refuse").unlink()
    assert TARGET.reconcile(directory, directory.submissions()[0]).state == "submitted"
    assert calls(client) == ["submit", "submit"]


def test_a_task_that_the_server_cannot_divide(directory, no_client):
    task = submitted_by_hand(directory)
    answer = {"status": "SUBMITFAILED", "taskFailureMsg": "The splitting on your task\ngenerated 0 jobs", "jobs": {}}
    (task.folder / "status.json").write_text(json.dumps(answer))
    found = JobSurvey(directory).look()
    assert {s.state for s in found} == {JobState.REMOVED} and "generated 0 jobs" in found[0].reason


@pytest.mark.parametrize("state", ["SUBMITREFUSED", "KILLED", "FAILED", "FAILED (KILLED)"])
def test_jobs_of_a_task_that_has_ended_do_not_wait(directory, no_client, state):
    task = submitted_by_hand(directory)
    answer = {
        "status": state,
        "taskWarningMsg": "too many jobs",
        "jobs": {"1": info("idle"), "2": info("failed", 1, "x")},
    }
    (task.folder / "status.json").write_text(json.dumps(answer))
    found = JobSurvey(directory).look()
    assert [s.state for s in found] == [JobState.REMOVED, JobState.FAILED, JobState.REMOVED, JobState.REMOVED]
    assert state.split()[0] in found[0].reason and "too many jobs" in found[3].reason


@pytest.mark.parametrize("state", ["TAPERECALL", "KILLFAILED", "RESUBMITFAILED", "NEW", "HOLDING", "UPLOADED"])
def test_a_task_that_goes_on_waits(directory, no_client, state):
    task = submitted_by_hand(directory)
    (task.folder / "status.json").write_text(json.dumps({"status": state, "jobs": {}}))
    assert states(directory) == [JobState.IDLE] * 4


def test_an_input_that_crab_names_is_read_from_elsewhere(directory, no_client):
    path = directory.plan.jobs[0].inputs[0]
    task = submitted_by_hand(directory)
    answer = {
        "1": info("failed", 1, f"NanoForgeError\nerror: {path}: timed out"),
        "2": info("failed", 8020, "FileOpenError"),
    }
    (task.folder / "status.json").write_text(json.dumps(answer))
    assert [s.cause for s in JobSurvey(directory).look()[:2]] == [Cause.INPUT] * 2
    resubmit(directory.path)
    assert directory.submissions()[-1].overrides == ("redirectors=[root://two//,root://one//]",)


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]", "{", "null", '{"jobs": [1]}', '{"jobs": null}', '{"0": {}, "9": {}, "0-1": {}, "x": 1}',
        '{"1": null, "2": [], "3": {"State": ["failed"]}, "4": {"Retries": "many"}}',
        '{"1": {"State": "running", "Error": "text", "StartTimes": null, "EndTimes": 3, "Retries": null}}',
    ],
)  # fmt: skip
def test_odd_answers_are_no_answers(directory, no_client, text):
    task = submitted_by_hand(directory)
    (task.folder / "status.json").write_text(text)
    (task.results / "part_x.tar").touch()
    (task.results / "part_77.tar").touch()
    assert set(states(directory)) <= {JobState.IDLE, JobState.RUNNING}
    TARGET.retrieve(directory)
    (task.folder / "status.json").unlink()
    (task.results / "processedFiles.json").write_text("{")
    with pytest.raises(crab.DataError, match=r"processedFiles.json: cannot be read .*'crab report'"):
        states(directory)


def test_memory_grows_with_cores(directory, no_client):
    task = submitted_by_hand(directory)
    answer = {"1": info("failed", 50660, "Job killed by HTCondor due to excessive memory use")}
    (task.folder / "status.json").write_text(json.dumps(answer))
    resubmit(directory.path)
    again = read(crab.tasks(directory, 1, [0])[0])
    assert (again.get("JobType.maxMemoryMB"), again.get("JobType.numCores"), again.jobs) == (4000, 2, 1)


def test_a_part_that_was_damaged_is_made_again(directory, client):
    submit(directory)
    (client / "states").write_text(json.dumps({"1": info("finished")}))
    time.sleep(0.02)  # the kernel's clock for files is coarse
    (directory.path / "parts-damaged" / "part-00000-261122-030000").mkdir(parents=True)
    assert states(directory)[0] is JobState.FAILED
    time.sleep(0.02)
    TARGET.submit(directory, [0], directory.plan.resources)
    assert states(directory)[0] is JobState.IDLE


# -- without a client -------------------------------------------------------------------------------------------------


def test_the_commands_are_told(directory, no_client, capsys):
    submission = submit(directory)
    assert submission.state == "prepared" and TARGET.reconcile(directory, submission).state == "prepared"
    task = crab.tasks(directory, 0, all_jobs(directory))[0]
    assert f"crab submit -c {task.configuration}" in capsys.readouterr().err.replace("\n", " ").replace("  ", " ")
    found = JobSurvey(directory).look()
    assert {status.state for status in found} == {JobState.IDLE} and "crab submit" in found[0].reason
    task.project.mkdir()
    (task.project / ".requestcache").touch()
    assert f"crab status -d {task.project} --json" in JobSurvey(directory).look()[0].reason
    assert TARGET.reconcile(directory, directory.submissions()[0]).state == "submitted"


def submitted_by_hand(directory: JobDir) -> crab.Task:
    submit(directory)
    task = crab.tasks(directory, 0, all_jobs(directory))[0]
    task.results.mkdir(parents=True)
    (task.project / ".requestcache").touch()
    return task


def test_what_crab_status_prints_is_read(directory, no_client):
    task = submitted_by_hand(directory)
    table = {"1": info("finished"), "2": info("killed"), "3": info("cooloff"), "4": info("unsubmitted")}
    text = f"CRAB project directory: x\n{json.dumps(table)}\nLog file is x\n"
    (task.folder / "status.json").write_text(text)
    assert states(directory) == [JobState.IDLE, JobState.REMOVED, JobState.EVICTED, JobState.IDLE]
    write_part(directory, 0)
    with tarfile.open(task.results / "part_1.tar", "w") as archive:
        archive.add(directory.part(0), "part-00000")
    shutil.rmtree(directory.part(0))
    (task.results / "part_2.tar").write_bytes(b"no archive")
    assert states(directory) == [JobState.DONE, JobState.REMOVED, JobState.EVICTED, JobState.IDLE]


def test_what_crab_report_writes_is_read(directory, no_client):
    results = submitted_by_hand(directory).results
    with tarfile.open(results / "run_and_lumis.tar.gz", "w:gz") as archive:
        for number, lumis in enumerate([[[1, 4]], [[5, 9]], [[10, 12], [20, 21]], [[13, 13]]], 1):
            path = results / f"job_lumis_{number}.json"
            path.write_text(json.dumps({"1": lumis}))
            archive.add(path, path.name)
    (results / "notFinishedLumis.json").write_text(json.dumps({"1": [[7, 7], [21, 30]], "2": [[1, 4]]}))
    assert reported(results) == ({1, 4}, {2, 3})
    assert states(directory) == [JobState.IDLE, JobState.FAILED, JobState.FAILED, JobState.IDLE]
    (results / "notFinishedLumis.json").unlink()
    (results / "processedFiles.json").write_text(json.dumps({"2": ["/store/tt1.root"]}))
    (results / "failedFiles.json").write_text(json.dumps({"3": ["/store/tt2.root"]}))
    assert reported(results) == ({2}, {3})
