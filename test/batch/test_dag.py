from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml
from nanoforge.batch import condor_commands, dag
from nanoforge.batch.jobdir import JobDir
from nanoforge.batch.submit import submit_all
from nanoforge.batch.targets import find_target
from nanoforge.config import load
from nanoforge.config.schema import Analysis
from nanoforge.errors import UserError
from nanoforge.events.files import listed

STUB = Path(__file__).with_name("stub.py")


@pytest.fixture
def analysis(tmp_path: Path) -> Callable[..., Analysis]:
    """An analysis of a generated sample and three files."""
    for i in range(3):
        (tmp_path / f"dy{i}.root").touch()

    def write(batch: dict[str, Any] | None = None, **blocks: Any) -> Analysis:
        content = {
            "name": "toy",
            "samples": {
                "gun": {"generator": {"process": "ttbar", "events": 1000}, "label": "signal"},
                "dy": {"files": "dy*.root", "label": "background"},
            },
            "inputs": {"event": {"features": ["MET_pt"]}},
            "batch": {
                "site": "generic", "runtime": "5 min", "split": 2, "memory": "100 MB", "disk": "100 MB",
                "train": {"cores": 1}, **(batch or {}),
            },
        }  # fmt: skip
        path = tmp_path / "analysis.yaml"
        path.write_text(yaml.safe_dump(content | blocks, sort_keys=False))
        return load(path)

    return write


def edges(text: str) -> set[tuple[str, str]]:
    """The pairs of nodes, one of which waits for the other."""
    found = set()
    for before, after in re.findall(r"^PARENT (.*) CHILD (.*)$", text, re.MULTILINE):
        found |= {(a, b) for a in before.split() for b in after.split()}
    return found


def test_the_stages_meet_in_files_that_are_known_by_name(analysis: Callable, tmp_path: Path):
    stages = {
        stage.plan.stage: stage
        for stage in dag.plan(find_target("condor"), listed(analysis(skim={})), tmp_path / "all")
    }
    assert list(stages) == ["generate", "skim", "convert", "train", "evaluate", "predict"]
    skimmed = load(stages["skim"].analysis).samples
    generated = tmp_path / "all" / "generate" / "merged"
    assert skimmed["gun"].files == [str(generated / "gun-00000.root"), str(generated / "gun-00002.root")]
    assert skimmed["dy"].files == [str(tmp_path / f"dy{i}.root") for i in range(3)]
    converted = load(stages["convert"].analysis).samples
    assert converted["dy"].files == [str(tmp_path / "all" / "skim" / "merged" / "dy" / f"dy{i}.root") for i in range(3)]
    assert stages["train"].plan.command == (
        "train", "analysis.yaml", "--data", str(tmp_path / "all" / "convert" / "merged"), "--trust",
    )  # fmt: skip
    run = str(tmp_path / "all" / "train" / "parts" / "part-00000")
    assert stages["predict"].plan.command == ("predict", run, "files.txt", "--trust")
    assert stages["evaluate"].plan.command == ("evaluate", run, "--trust")


def test_only_what_the_analysis_needs_is_done(analysis: Callable, tmp_path: Path):
    files = {"dy": {"files": "dy*.root", "label": "a"}}
    stages = dag.plan(find_target("condor"), listed(analysis(samples=files)), tmp_path / "all")
    assert [stage.plan.stage for stage in stages] == ["convert", "train", "evaluate", "predict"]
    assert JobDir.all(tmp_path / "all" / "train")[0].plan.stage == "train"


def test_each_job_is_a_node_and_waits_for_just_what_it_reads(analysis: Callable, tmp_path: Path):
    text = dag.text(dag.plan(find_target("condor"), listed(analysis()), tmp_path / "all"))
    nodes = re.findall(r"^JOB (\S+) ", text, re.MULTILINE)
    assert nodes == [
        "generate-00000", "generate-00001", "generate-merge", "convert-00000", "convert-00001", "convert-00002",
        "convert-merge", "train-00000", "evaluate-00000", "predict-00000", "predict-00001", "predict-00002",
        "predict-merge",
    ]  # fmt: skip
    found = edges(text)
    assert ("generate-00001", "generate-merge") in found
    assert ("generate-merge", "convert-00002") in found
    assert ("convert-merge", "train-00000") in found
    assert {("train-00000", "evaluate-00000"), ("train-00000", "predict-00002")} <= found
    assert ("evaluate-00000", "predict-00000") not in found
    assert 'VARS convert-00001 number="1" sample="gun" first="0" last="1"' in text or "sample=" in text
    assert "RETRY ALL_NODES 1 UNLESS-EXIT 2" in text
    assert set(re.findall(r"^MAXJOBS (\w+) ", text, re.MULTILINE)) == {
        "generate", "convert", "train", "evaluate", "predict",
    }  # fmt: skip


def test_results_on_eos_are_read_where_the_jobs_see_them(analysis: Callable, tmp_path: Path, monkeypatch: Any):
    monkeypatch.setattr("nanoforge.batch.make._check_place", lambda *_: None)  # tests do not run on AFS
    batch = {"site": "lxplus", "shared": ["/"], "output": "/eos/user/j/jdoe/ttbar"}
    stages = {
        stage.plan.stage: stage for stage in dag.plan(find_target("condor"), listed(analysis(batch)), tmp_path / "all")
    }
    run_id = stages["convert"].plan.run_id
    assert stages["convert"].plan.parts == f"root://eosuser.cern.ch//eos/user/j/jdoe/ttbar/{run_id}"
    assert stages["train"].plan.command[-2] == f"/eos/user/j/jdoe/ttbar/{run_id}-merged"


@pytest.mark.parametrize(
    "batch, blocks, words",
    [
        ({"mode": "spool"}, {}, "DAGMan does not go"),
        ({"shared": ["/cvmfs"]}, {}, "do not see"),
        ({"convert": {"split": {"events": 1000}}}, {}, "batch.convert.split"),
        ({}, {"skim": {"target_size": "1 GB"}}, "skim.target_size"),
    ],
)
def test_what_no_dag_can_do_is_refused(analysis: Callable, tmp_path: Path, batch: dict, blocks: dict, words: str):
    with pytest.raises(UserError, match=words):
        submit_all("condor", analysis(batch, **blocks), tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_all_stages_belong_to_condor_and_are_not_divided_alike(analysis: Callable, tmp_path: Path):
    with pytest.raises(UserError, match="nanoforge run"):
        submit_all("local", analysis(), tmp_path / "all")
    with pytest.raises(UserError, match=r"batch\.<stage>\.split"):
        submit_all("condor", analysis(), tmp_path / "all", split=3)


def finished(pool: Any, output: Path) -> int:
    """Wait for DAGMan to end; its exit code."""
    log = output / "pipeline.dag.dagman.log"
    end = time.monotonic() + 120
    while time.monotonic() < end:
        codes = re.findall(r"termination \(return value (\d+)\)", log.read_text())
        if len(codes) == log.read_text().count("Job submitted from host"):
            return int(codes[-1])
        time.sleep(0.2)
    raise AssertionError((output / "pipeline.dag.dagman.out").read_text()[-3000:])


def test_a_pool_runs_the_dag_and_its_rescue(
    pool: Any, analysis: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A node fails for good: DAGMan stops there, and goes on with its rescue without doing anything twice."""
    for name, value in pool.environment.items():
        monkeypatch.setenv(name, value)
    toy, output = analysis({"train": {"cores": 1, "gpu": 1}, "split": 4}), tmp_path / "all"
    stub = f"export STUB={tmp_path}\npython=({sys.executable} {STUB})\n"
    monkeypatch.setattr(
        "nanoforge.batch.jobdir.write_environment", lambda _, folder: (folder / "environment.sh").write_text(stub)
    )
    (tmp_path / "fail-predict-0").write_text("2")
    submit_all("condor", toy, output)
    stages = {stage.plan.stage: stage for stage in JobDir.all(output)}
    assert finished(pool, output) != 0
    assert (output / "pipeline.dag.rescue001").exists()
    assert not (Path(stages["predict"].part(0)) / "manifest.json").exists()
    trained = stages["train"].event_log(0).read_text()
    submit_all("condor", toy, output)  # says that it was submitted
    assert [s.state for s in stages["train"].submissions()] == ["submitted"]
    dag.resubmit(output, {})
    assert finished(pool, output) == 0
    for stage in stages.values():
        assert all((Path(stage.part(job.number)) / "manifest.json").exists() for job in stage.plan.jobs)
    assert (dag.merged(stages["predict"]) / "manifest.json").exists()
    words = json.loads((dag.merged(stages["convert"]) / "manifest.json").read_text())["words"]
    assert words[:4] == ["convert", "analysis.yaml", "--from-parts", str(stages["convert"].parts)]
    assert stages["train"].event_log(0).read_text() == trained
    assert condor_commands.in_log(output / "pipeline.dag.dagman.log") is not None
