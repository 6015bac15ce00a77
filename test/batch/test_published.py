"""Productions that CRAB publishes, a task for each step, with a stand-in of its client that runs the jobs at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uproot
import yaml
from nanoforge.batch.crab_rules import Configuration, check
from nanoforge.provenance import Manifest

from production import cms_software

Command = Callable[..., Any]
CRAB = {"site": "T2_CH_CERN", "output": "/store/user/jdoe/nanoforge"}
BATCH = {"site": "generic", "cores": 1, "memory": 2000, "runtime": 600, "crab": CRAB}
SIGNAL = {"samples": {"signal": cms_software.ANALYSIS["samples"]["signal"]}}
CLIENT = """
import json, os, pathlib, re, shutil, subprocess, sys
from nanoforge.batch.crab_rules import Configuration, check
SITE = pathlib.Path(os.environ["CMS_PATH"]) / "site"
JOB = '''
import runpy
import FWCore.ParameterSet.Config as cms
process = runpy.run_path({pset!r})["process"]
generates = process.source.type_() == "EmptySource"
assert generates == ({files!r} == []) and not hasattr(process.maxEvents, "output")
process.maxEvents.input = cms.untracked.int32({units} if generates else -1)
if generates:
    process.source.firstLuminosityBlock = cms.untracked.uint32({number})
    process.source.firstEvent = cms.untracked.uint32(1)
else:
    process.source.fileNames = cms.untracked.vstring(*{files!r})
if hasattr(process, "RandomNumberGeneratorService"):
    process.RandomNumberGeneratorService.generator.initialSeed = {number} + 40
'''

def run(project, number):
    task = json.loads((project / "task.json").read_text())
    work = project / f"job{number}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    files = task["inputs"][number - 1 : number]
    text = JOB.format(pset=task["pset"], files=[f"file:{f}" for f in files], units=task["units"], number=number)
    (work / "PSet.py").write_text(text)
    code = subprocess.call(["cmsRun", "-e", "-j", "FrameworkJobReport.xml", "PSet.py"], cwd=work)
    datasets = json.loads((SITE / "datasets.json").read_text())
    if code == 0:
        [made] = work.glob("*.root")
        datasets.setdefault(task["dataset"], []).append(str(made))
        (SITE / "datasets.json").write_text(json.dumps(datasets))
    task["jobs"][str(number)] = {"State": "finished" if code == 0 else "failed", "Error": [code, "cmsRun"],
                                 "SiteHistory": ["Unknown", "T2_DE_DESY"]}
    (project / "task.json").write_text(json.dumps(task))

def submit(config):
    path = pathlib.Path(config)
    values = Configuration(path.read_text(), path.parent)
    assert not check(path.read_text(), path.parent)
    project = pathlib.Path(values.get("General.workArea")) / ("crab_" + values.get("General.requestName"))
    project.mkdir(parents=True)
    if (SITE / "refuse").exists():
        raise RuntimeError("Problem sending the request")
    (project / ".requestcache").touch()
    datasets = json.loads((SITE / "datasets.json").read_text())
    inputs = datasets.get(values.get("Data.inputDataset"), [])
    primary = values.get("Data.outputPrimaryDataset") or values.get("Data.inputDataset").split("/")[1]
    dataset = "/%s/jdoe-%s-%s/USER" % (primary, values.get("Data.outputDatasetTag"), "0" * 32)
    task = {"pset": values.get("JobType.psetName"), "units": values.get("Data.unitsPerJob"), "inputs": inputs,
            "dataset": dataset, "jobs": {}, "resubmitted": [], "release": os.path.basename(os.environ["CMSSW_BASE"])}
    (project / "task.json").write_text(json.dumps(task))
    for number in range(1, values.jobs + 1):
        run(project, number)

def crabCommand(command, *switches, **options):
    if command == "submit":
        submit(options["config"])
    else:
        project = pathlib.Path(options["dir"])
        refused = SITE / "unpublished"
        if command == "resubmit" and switches == ("--publication",):
            assert list(options) == ["dir"]
            refused.unlink()
        elif command == "resubmit":
            task = json.loads((project / "task.json").read_text())
            task["resubmitted"].append({k: v for k, v in options.items() if k != "dir"})
            (project / "task.json").write_text(json.dumps(task))
            for number in options["jobids"].split(","):
                run(project, int(number))
        task = json.loads((project / "task.json").read_text())
        done = sum(job["State"] == "finished" for job in task["jobs"].values())
        failed = done if refused.exists() else 0
        return {"commandStatus": "SUCCESS", "status": "SUBMITTED", "jobs": task["jobs"],
                "outdatasets": str([task["dataset"]]), "publication": {"done": done - failed, "failed": failed}}
    return {"commandStatus": "SUCCESS"}
"""
DAS = """#!/usr/bin/env python3
import json, os, re, sys
query = sys.argv[sys.argv.index("-query") + 1]
dataset, instance = re.fullmatch("file dataset=(.*) instance=(.*)", query).groups()
assert instance == "prod/phys03"
with open(os.environ["CMS_PATH"] + "/site/datasets.json") as file:
    names = json.load(file)[dataset]
print(json.dumps([{"file": [{"name": name}]} for name in names]))
"""


@pytest.fixture
def cms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in of CMS's software, with CRAB's client and DAS."""
    folder = cms_software.install(tmp_path / "cms")
    (folder / "site").mkdir()
    (folder / "site" / "datasets.json").write_text("{}")
    client = folder / "client" / "CRABAPI"
    client.mkdir(parents=True)
    (client / "__init__.py").touch()
    (client / "RawCommand.py").write_text(CLIENT)
    (tmp_path / "setup").mkdir()
    common = folder / "common"
    scripts = list(common.iterdir())
    common.unlink()  # a link to the sources of the tests
    common.mkdir()
    for path in scripts:
        (common / path.name).symlink_to(cms_software.HERE / "common" / path.name)
    (common / "crab-setup.sh").write_text(f"export PYTHONPATH={client.parent}\n")
    (folder / "bin" / "dasgoclient").write_text(DAS)
    (folder / "bin" / "dasgoclient").chmod(0o755)
    monkeypatch.setenv("CMS_PATH", str(folder))
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("COLUMNS", "400")
    return folder


def write(folder: Path, **produce: Any) -> None:
    block = {"events": 4, "events_per_job": 2, "tries_per_job": 3, "publish": True, "seconds_per_event": 1, **produce}
    cms_software.analysis(folder, block, batch=BATCH, **SIGNAL)


SUBMIT = ["submit", "crab", "analysis.yaml", "--stage", "produce", "-o", "jobs"]


def test_each_step_reads_what_the_one_before_published(cms: Path, tmp_path: Path, nanoforge: Command) -> None:
    write(tmp_path)
    (cms / "faults" / "digi-2").write_text("8020")
    (cms / "site" / "refuse").touch()
    refused = nanoforge(*SUBMIT)
    assert refused.returncode == 1 and "crab submit fails (exit code 1): RuntimeError: Problem" in refused.stderr
    (cms / "site" / "refuse").unlink()
    done = nanoforge(*SUBMIT)
    assert done.returncode == 0, done.stderr
    plan = (tmp_path / "jobs" / "plan.json").read_text()
    assert nanoforge(*SUBMIT).returncode == 0 and (tmp_path / "jobs" / "plan.json").read_text() == plan
    assert len(list((tmp_path / "jobs" / "crab").glob("*/task.json"))) == 1, "nothing is submitted twice"
    assert "nothing" not in nanoforge("resubmit", "jobs").stderr
    rows = {row["step"]: row for row in json.loads(nanoforge("status", "jobs", "--json").stdout)}
    assert (rows["gensim"]["published"], rows["digi"]["published"]) == (2, 1)
    assert rows["digi"]["states"] == {"done": 1, "failed": 1} and not rows["reco"]["submitted"]
    (cms / "faults" / "digi-2").unlink()
    early = nanoforge("collect", "jobs", "-o", "produced")
    assert early.returncode == 1 and "step nano has made nothing yet" in early.stderr
    for _ in range(3):  # digi once more and reco; mini; nano
        done = nanoforge("resubmit", "jobs")
        assert done.returncode == 0, done.stderr
    assert "there is nothing to submit now" in nanoforge("resubmit", "jobs").stderr

    folders = {
        path.parent.name.rpartition("-")[2]: path.parent for path in (tmp_path / "jobs/crab").glob("*/crab_cfg.py")
    }
    configurations = {s: Configuration((f / "crab_cfg.py").read_text(), f) for s, f in folders.items()}
    assert list(map(bool, (c.has("JobType.scriptExe") for c in configurations.values()))) == [False] * 5
    first, second = configurations["gensim"], configurations["digi"]
    assert (first.plugin, first.get("Data.unitsPerJob"), first.get("Data.totalUnits")) == ("privatemc", 3, 6)
    assert (second.plugin, second.get("Data.inputDBS"), second.jobs) == ("analysis", "phys03", 2)
    name = f"/signal/jdoe-{first.get('Data.outputDatasetTag')}-{'0' * 32}/USER"
    assert second.get("Data.inputDataset") == name and second.get("Data.publication")
    projects = {step: folder.with_name(f"crab_{folder.name}") for step, folder in folders.items()}
    releases = {json.loads((project / "task.json").read_text())["release"] for project in projects.values()}
    assert releases == {"CMSSW_12_4_14_patch3", "CMSSW_13_0_13", "CMSSW_15_0_15_patch4"}

    done = nanoforge("collect", "jobs", "-o", "produced")
    assert done.returncode == 0, done.stderr
    simulated = [json.loads((projects["gensim"] / f"job{n}" / "gensim.root").read_text()) for n in (1, 2)]
    accepted = [tuple(event[:3]) for content in simulated for event in content["events"]]
    listed = (tmp_path / "produced" / "files" / "signal.txt").read_text().split()
    columns = [uproot.open(path)["Events"].arrays(["run", "luminosityBlock", "event"], library="np") for path in listed]
    found = [tuple(map(int, row)) for c in columns for row in zip(c["run"], c["luminosityBlock"], c["event"])]
    assert sorted(found) == sorted(accepted) and len(set(found)) == len(found) > 0
    manifest = Manifest.read(tmp_path / "produced", "produce")
    assert manifest.accounting is not None
    ledger = manifest.accounting.events
    assert (ledger.read, ledger.used) == (6, len(found)) and ledger.rejected == {"signal.filters": 6 - len(found)}
    block = yaml.safe_load((tmp_path / "produced" / "samples.yaml").read_text())
    assert block["samples"]["signal"]["sumw"] == pytest.approx(2.0 * 6)


def test_a_job_that_failed_is_tried_again_as_its_exit_code_says(cms: Path, tmp_path: Path, nanoforge: Command) -> None:
    write(tmp_path, events=6)
    for lumi, code in ((1, 139), (2, 50660), (3, 8020)):
        (cms / "faults" / f"gensim-{lumi}").write_text(str(code))
    assert nanoforge(*SUBMIT).returncode == 0
    [task] = (tmp_path / "jobs" / "crab").glob("*/task.json")
    first = nanoforge("resubmit", "jobs")
    assert first.returncode == 0, first.stderr
    again = json.loads(task.read_text())["resubmitted"]
    assert again == [{"jobids": "1"}, {"jobids": "2", "maxmemory": "4000"},
                     {"jobids": "3", "siteblacklist": "T2_DE_DESY"}]  # fmt: skip
    (cms / "faults" / "gensim-3").write_text("7001")
    nanoforge("resubmit", "jobs")
    last = nanoforge("resubmit", "jobs")
    assert "job 1 crashed again with the same random numbers: its lumi section is lost" in last.stderr
    assert "job 3 its configuration is wrong" in last.stderr
    again = json.loads(task.read_text())["resubmitted"][3:]
    assert again == [{"jobids": "2", "maxmemory": "8000"}, {"jobids": "3", "siteblacklist": "T2_DE_DESY"},
                     {"jobids": "2", "maxmemory": "16000"}]  # fmt: skip
    assert not any("1" in options["jobids"].split(",") for options in again)


def test_a_lumi_section_that_is_lost_holds_up_no_other(cms: Path, tmp_path: Path, nanoforge: Command) -> None:
    write(tmp_path, tries_per_job=30)
    (cms / "faults" / "digi-1").write_text("signal 11")
    assert nanoforge(*SUBMIT).returncode == 0
    (cms / "site" / "unpublished").touch()
    waiting = nanoforge("resubmit", "jobs")
    assert "step gensim: 2 files are put into DBS again" in waiting.stderr, waiting.stderr
    for _ in range(5):  # digi; its job once more; reco, mini, nano
        assert nanoforge("resubmit", "jobs").returncode == 0
    rows = {row["step"]: row for row in json.loads(nanoforge("status", "jobs", "--json").stdout)}
    assert {step: (row["jobs"], row["lost"]) for step, row in rows.items()} == {
        "gensim": (2, []), "digi": (2, [1]), "reco": (1, []), "mini": (1, []), "nano": (1, []),
    }  # fmt: skip
    done = nanoforge("collect", "jobs", "-o", "produced")
    assert done.returncode == 1 and "DBS has 1 of 2 files" in done.stderr
    done = nanoforge("collect", "jobs", "-o", "produced", "--skip-bad-files")
    assert done.returncode == 0 and "lumi section 1" in done.stderr, done.stderr
    accounting = Manifest.read(tmp_path / "produced", "produce").accounting
    assert accounting is not None and accounting.events.read == 30 and "lumi section 1" in accounting.lost[0].file


@pytest.mark.parametrize(
    ("words", "produce", "message"),
    [
        (["submit", "local"], {}, "cmssw.produce.publish: it is CRAB that publishes"),
        (["submit", "crab"], {"tries_per_job": None}, "cmssw.produce.tries_per_job: CRAB counts the events of signal"),
        (["submit", "crab"], {"chain": "mini"}, "cmssw.produce.publish: the sums of weights come from NanoAOD"),
        (["submit", "crab"], {"first_lumi": 4}, "CRAB counts the lumi sections of a task from 1"),
    ],
    ids=["target", "tries", "chain", "lumi"],
)
def test_what_cannot_be_published(
    words: list[str], produce: dict[str, Any], message: str, cms: Path, tmp_path: Path, nanoforge: Command
) -> None:
    write(tmp_path, **produce)
    done = nanoforge(*words, "analysis.yaml", "--stage", "produce", "-o", "jobs", "--dry-run")
    assert done.returncode == 2 and done.stderr.count("error:") == 1 and message in done.stderr, done.stderr
    assert not (tmp_path / "jobs").exists()


BREAKING = [
    ("primary", "gensim", "Data.outputPrimaryDataset", None),
    ("events", "gensim", "Data.totalUnits", 2**32),
    ("accepted", "gensim", None, None),
    ("threads", "gensim", "JobType.numCores", 2),
    ("dbs", "digi", "Data.inputDBS", "global"),
    ("dbs", "digi", "Data.inputDataset", "/signal/Run3-v1/MINIAODSIM"),
    ("publication", "digi", "General.transferOutputs", False),
    ("publication", "gensim", "JobType.outputFiles", ["a.txt"]),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "step", "name", "value"), BREAKING, ids=[f"{r} {n}" for r, _, n, _ in BREAKING])
def test_each_rule_of_published_tasks_has_one_that_breaks_it(
    rule: str, step: str, name: str | None, value: object, tmp_path: Path
) -> None:
    first = step == "gensim"
    text = "import FWCore\nprocess.options.numberOfThreads = cms.untracked.uint32(1)\n"
    limit = "process.maxEvents = cms.untracked.PSet(output=cms.untracked.int32(5))\n"
    (tmp_path / "pset.py").write_text(text + (limit if name is None else ""))
    values: dict[str, object] = {
        "General.requestName": "r", "General.transferOutputs": True,
        "JobType.pluginName": "PrivateMC" if first else "Analysis",
        "JobType.psetName": "pset.py", "JobType.numCores": 1, "Data.splitting": "EventBased" if first else "FileBased",
        "Data.unitsPerJob": 3, "Data.totalUnits": 6, "Data.publication": True, "Data.publishDBS": "phys03",
        "Data.outLFNDirBase": "/store/user/jdoe", "Site.storageSite": "T2_CH_CERN",
        **({"Data.outputPrimaryDataset": "signal"} if first else
           {"Data.inputDataset": "/signal/jdoe-r-0/USER", "Data.inputDBS": "phys03"}),
    }  # fmt: skip

    def rules(changed: dict[str, object]) -> set[str]:
        lines = [f"config.{key} = {content!r}\n" for key, content in changed.items() if content is not None]
        return {finding.rule for finding in check("".join(lines), tmp_path)}

    assert rules(values) == (set() if name else {"accepted"})
    assert rule in rules({**values, **({name: value} if name else {})})
