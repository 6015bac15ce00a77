"""Descriptions and job scripts; what needs HTCondor is asked of a real pool (see pool.py)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml
from nanoforge.batch import condor_commands, condor_description, proxy
from nanoforge.batch.jobdir import JobDir
from nanoforge.batch.lint import Rules, lint
from nanoforge.batch.make import make
from nanoforge.batch.plan import STAGES
from nanoforge.batch.status import status
from nanoforge.batch.submit import submit
from nanoforge.batch.targets import condor, find_target
from nanoforge.config import load
from nanoforge.config.schema import Analysis
from nanoforge.errors import DataError, UserError
from nanoforge.events.files import listed

STUB = Path(__file__).with_name("stub.py")
LXPLUS = {"site": "lxplus", "shared": ["/"]}
GENERIC = {"site": "generic", "runtime": "2 min"}
SPOOL = {**LXPLUS, "mode": "spool"}
MODES = [LXPLUS, SPOOL, GENERIC, {"site": "lpc", "shared": ["/"], "proxy": False}]
PRODUCE = {"samples": ["gun"], "events_per_job": 20, "seconds_per_event": 1, "pileup": "none"}
CASES = [(stage, batch) for stage in STAGES for batch in MODES if (stage, batch) != ("tune", SPOOL)]


@pytest.fixture
def analysis(tmp_path: Path) -> Callable[..., Analysis]:
    """An analysis of five files, with a block ``batch``."""
    (tmp_path / "data").mkdir()
    for i in range(5):
        (tmp_path / "data" / f"tt{i}.root").touch()

    def write(**batch: Any) -> Analysis:
        content = {
            "name": "toy",
            "samples": {
                "tt": {"files": "data/tt*.root", "label": "signal"},
                "gun": {"generator": {"process": "ttbar", "events": 1000}, "files": "data/tt0.root", "label": "other"},
            },
            "inputs": {"event": {"features": ["MET_pt"]}},
            "cmssw": {"era": "2022", "produce": PRODUCE},
            "batch": batch,
        }
        path = tmp_path / "analysis.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return load(path)

    return write


def reads(stage: str, folder: Path) -> dict[str, Path]:
    """The dataset or training that a stage is to read."""
    data = {"data": folder / "ds"} if stage in ("train", "tune") else {}
    return {"run": folder / "run"} if stage in ("evaluate", "predict") else data


def prepared(analysis: Analysis, stage: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[JobDir, str]:
    """The job directory of a stage, and its description."""
    monkeypatch.setattr("nanoforge.batch.make._check_place", lambda *_: None)  # tests do not run on AFS
    directory = make(find_target("condor"), listed(analysis), stage, place, **reads(stage, place.parent))
    resources = directory.plan.resources
    description = find_target("condor").prepare(directory, range(len(directory.plan.jobs)), resources, (), 0)
    return directory, description.read_text()


def values(text: str) -> dict[str, str]:
    """The lines of a description, but for comments."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


# -- descriptions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stage, batch", CASES, ids=lambda c: c if isinstance(c, str) else " ".join(map(str, c.values()))
)
def test_every_description_keeps_the_rules(
    analysis: Callable, stage: str, batch: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    directory, text = prepared(analysis(**batch), stage, tmp_path / "jobs", monkeypatch)
    assert lint(text, directory.path, Rules(batch["site"], batch.get("mode", "afs"))) == []
    assert "@{" not in text
    assert "None" not in text


def test_every_description_passes_the_dry_run_of_condor(
    pool: Any, analysis: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in pool.environment.items():
        monkeypatch.setenv(name, value)
    for number, (stage, batch) in enumerate(CASES):
        directory, _ = prepared(analysis(**batch), stage, tmp_path / str(number), monkeypatch)
        condor_commands.dry_run(directory.path / f"{stage}-0.sub")


def test_what_lxplus_is_asked_for(analysis: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    batch = {
        **LXPLUS, "flavour": "workday", "accounting_group": "group_u_CMS.u_zh.users",
        "output": "/eos/user/j/jdoe/ttbar",
        "train": {"gpu": {"count": 2, "memory": "20 GB", "devices": ["A100", "H100"]}, "cores": 4},
    }  # fmt: skip
    directory, text = prepared(analysis(**batch), "train", tmp_path / "jobs", monkeypatch)
    found = values(text)
    assert found["+JobFlavour"] == '"workday"'
    assert found["MY.WantOS"] == '"el9"'
    assert found["MY.SendCredential"] == "True"
    assert found["+AccountingGroup"] == '"group_u_CMS.u_zh.users"'
    assert "output_destination" not in found, "HTCondor would lose the checkpoints"
    assert (found["request_gpus"], found["gpus_minimum_memory"]) == ("2", "20000 MB")
    assert found["requirements"] == 'regexp("A100|H100", TARGET.GPUs_DeviceName)'
    assert found["environment"] == '"NANOFORGE_PROCESSES=2 NANOFORGE_CHECKPOINT=3600"'
    assert (found["checkpoint_exit_code"], found["transfer_checkpoint_files"]) == ("85", ".$(part).unfinished")
    assert (found["max_retries"], found["retry_until"], found["success_exit_code"]) == ("2", "2", "0")
    assert found["+NanoForgeRun"] == '"$(run)"'
    assert "periodic_remove" not in found
    assert directory.parts == directory.path / "parts"
    directory, text = prepared(analysis(**batch), "convert", tmp_path / "convert", monkeypatch)
    found = values(text)
    assert found["output_destination"] == f"root://eosuser.cern.ch//eos/user/j/jdoe/ttbar/{directory.plan.run_id}"
    assert found["MY.XRDCP_CREATE_DIR"] == "True"
    assert directory.parts is None


def test_a_runtime_stands_in_the_place_of_a_flavour(
    analysis: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    found = values(prepared(analysis(**LXPLUS, runtime="3 h"), "convert", tmp_path / "a", monkeypatch)[1])
    assert found["+MaxRuntime"] == "10800"
    assert "+JobFlavour" not in found
    found = values(prepared(analysis(**GENERIC), "convert", tmp_path / "b", monkeypatch)[1])
    assert found["periodic_remove"].endswith("> 120")
    assert "MY.SendCredential" not in found


def test_what_the_jobs_do_not_see_goes_along(analysis: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "run").mkdir()
    batch = {**GENERIC, "shared": [str(tmp_path / "data"), sys.prefix]}
    directory, text = prepared(analysis(**batch), "predict", tmp_path / "jobs", monkeypatch)
    assert str(tmp_path / "run") in values(text)["transfer_input_files"]
    assert values(text)["arguments"] == '"$(part) predict run files.txt --trust --part $(first)-$(last) -o $(part)"'
    assert (directory.path / "files.txt").read_text().split() == [
        str(tmp_path / "data" / f"tt{i}.root") for i in range(5)
    ]


def test_more_jobs_than_a_queue_takes_are_put_in_gradually(
    analysis: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    samples = {"tt": {"files": [f"/data/{i}.root" for i in range(10_001)]}}
    many = Analysis.model_validate({**analysis(**GENERIC, split=1).model_dump(), "samples": samples})
    directory, text = prepared(many, "convert", tmp_path / "jobs", monkeypatch)
    assert values(text)["max_materialize"] == "5000"
    assert {p.name for p in (directory.logs / "0").iterdir()} == {str(i) for i in range(11)}


@pytest.mark.parametrize(
    "batch, stage, words",
    [
        ({"site": "lxplus"}, "convert", "scheduler sees /afs only"),
        ({"site": "lxplus", "mode": "eossubmit"}, "convert", "scheduler sees /eos only"),
        ({"site": "lxplus", "shared": ["/"], "mode": "spool"}, "tune", "workers of a search"),
        ({"site": "generic", "memory": "1 MB", "environment": {"venv": "/nowhere"}}, "convert", "no bin/python"),
        ({"site": "lpc", "shared": ["/data"]}, "generate", "do not see"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(
    analysis: Callable, tmp_path: Path, batch: dict, stage: str, words: str
):
    with pytest.raises(UserError, match=words):
        submit("condor", analysis(**batch), stage, tmp_path / "jobs", **reads(stage, tmp_path))
    assert not (tmp_path / "jobs").exists()


def test_too_much_for_a_spool_submission(analysis: Callable, tmp_path: Path):
    batch = {**LXPLUS, "mode": "spool", "split": 1}
    samples = {"tt": {"files": [f"/data/{i}.root" for i in range(101)]}}
    many = Analysis.model_validate({**analysis(**batch).model_dump(), "samples": samples})
    with pytest.raises(UserError, match="at most 100"):
        submit("condor", many, "convert", tmp_path / "jobs", dry_run=True)


def test_without_condor_the_user_is_told_where_it_is(
    analysis: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="condor_submit is not here"):
        submit("condor", analysis(**GENERIC), "convert", tmp_path / "jobs")


def test_the_lpc_copies_to_its_eos_by_itself(analysis: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    batch = {"site": "lpc", "shared": ["/"], "proxy": False, "output": "root://cmseos.fnal.gov//store/user/j"}
    directory, text = prepared(analysis(**batch), "convert", tmp_path / "jobs", monkeypatch)
    found = values(text)
    assert (
        found["environment"] == f'"NANOFORGE_DESTINATION=root://cmseos.fnal.gov//store/user/j/{directory.plan.run_id}"'
    )
    assert found["transfer_output_files"] == '""'
    assert "output_destination" not in found


def test_everything_is_on_eos_for_eossubmit(analysis: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As if the job directory were on EOS, which the tests have not."""
    monkeypatch.setattr(condor, "check", lambda *_: None)
    batch = {**LXPLUS, "mode": "eossubmit"}
    directory, text = prepared(analysis(**batch), "convert", tmp_path / "jobs", monkeypatch)
    assert {f.rule for f in lint(text, directory.path, Rules("lxplus", "eossubmit"))} == {"not-on-eos"}
    on_eos = text.replace(str(tmp_path), "/eos/user/j/jdoe")
    found = lint(on_eos, Path("/eos/user/j/jdoe/jobs"), Rules("lxplus", "eossubmit"))
    assert {f.rule for f in found} == {"missing-file", "missing-log-folder"}


# -- proxy and software -----------------------------------------------------------------------------------------------


@pytest.fixture
def voms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    """A stand-in for voms-proxy-info, and a proxy that is valid for so many seconds."""

    def install(seconds: int) -> Path:
        (tmp_path / "bin").mkdir(exist_ok=True)
        tool, certificate = tmp_path / "bin" / "voms-proxy-info", tmp_path / "x509up"
        tool.write_text(f"#!/bin/sh\necho {seconds}\n")
        tool.chmod(0o755)
        certificate.touch()
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("X509_USER_PROXY", str(certificate))
        return certificate

    return install


def remote(analysis: Analysis, address: str) -> Analysis:
    samples = {"tt": {"files": [address]}}
    return Analysis.model_validate({**analysis.model_dump(), "samples": samples})


def test_files_of_the_grid_need_a_proxy_that_lasts(
    analysis: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, voms: Callable
):
    certificate = voms(1800)
    grid = remote(analysis(**GENERIC), "root://cms-xrd-global.cern.ch//store/mc/x.root")
    directory, text = prepared(grid, "convert", tmp_path / "jobs", monkeypatch)
    assert values(text)["x509userproxy"] == str(certificate)
    proxy.check(directory.batch, directory.plan, 1700)
    with pytest.raises(UserError, match=r"ends in 0\.5 h.*voms-proxy-init"):
        proxy.check(directory.batch, directory.plan, 7200)
    certificate.unlink()
    with pytest.raises(UserError, match="there is no proxy"):
        proxy.check(directory.batch, directory.plan, 60)


def test_files_of_ones_own_eos_need_none_at_cern(
    analysis: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, voms: Callable
):
    voms(1800)
    own = remote(analysis(**LXPLUS), "root://eosuser.cern.ch//eos/user/j/jdoe/x.root")
    assert "x509userproxy" not in values(prepared(own, "convert", tmp_path / "jobs", monkeypatch)[1])


@pytest.mark.parametrize(
    "environment, words",
    [
        ({"lcg": {"view": "LCG_108"}}, "/cvmfs/sft.cern.ch/lcg/views/LCG_108/x86_64-el9-gcc13-opt/setup.sh"),
        ({"lcg": {"view": "LCG_107_cuda"}}, "/LCG_107_cuda/x86_64-el9-gcc11-opt/setup.sh"),
        ({"lcg": {"view": "dev4", "platform": "x86_64-el8-gcc12-opt"}}, "/dev4/x86_64-el8-gcc12-opt/setup.sh"),
        ({"apptainer": {"image": "docker://python:3.12"}}, "docker://python:3.12 python3"),
        ({"venv": sys.prefix}, f"python=({sys.prefix}/bin/python)"),
    ],
)
def test_the_software_of_the_jobs(analysis: Callable, tmp_path: Path, environment: dict, words: str):
    """The script is sound for bash, and the very code that submits goes along."""
    directory = make(
        find_target("condor"), listed(analysis(**GENERIC, environment=environment)), "convert", tmp_path / "jobs"
    )
    script = directory.path / "environment.sh"
    assert words in script.read_text()
    subprocess.run(["bash", "-n", script], check=True)
    with tarfile.open(directory.path / "nanoforge.tar.gz") as archive:
        names = archive.getnames()
    assert "nanoforge/cli/__init__.py" in names
    assert not [name for name in names if "__pycache__" in name]
    assert directory.path / "nanoforge.tar.gz" in directory.transferred()


def test_a_view_that_is_not_there_ends_the_job_and_is_refused_where_it_can_be_looked_for(
    analysis: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    toy = listed(analysis(**GENERIC, environment={"lcg": {"view": "LCG_0"}}))
    script = make(find_target("condor"), toy, "convert", tmp_path / "jobs").path / "environment.sh"
    done = subprocess.run(["bash", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "LCG_0" in done.stderr and done.stderr.count("\n") == 1
    monkeypatch.setattr("nanoforge.batch.environments.lcg._CVMFS", tmp_path)
    with pytest.raises(UserError, match=r"batch\.environment\.lcg: there is no .*LCG_0"):
        make(find_target("condor"), toy, "convert", tmp_path / "again")


def test_packages_that_a_view_lacks_go_along_in_an_archive(
    analysis: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """They come before what the view has of the same name."""
    for folder, place in (("site", "archive"), ("view", "view")):
        (tmp_path / folder / "extra").mkdir(parents=True)
        (tmp_path / folder / "extra" / "__init__.py").write_text(f"place = '{place}'")
    with tarfile.open(tmp_path / "site.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "site" / "extra", "extra")
    (tmp_path / "setup.sh").write_text(f"export PYTHONPATH={tmp_path / 'view'} LD_LIBRARY_PATH=/view/lib\n")
    monkeypatch.setattr("nanoforge.batch.environments.lcg.LCG.setup", property(lambda view: str(tmp_path / "setup.sh")))
    lcg = {"view": "LCG_108", "packages": str(tmp_path / "site.tar.xz")}
    directory = make(
        find_target("crab"), listed(analysis(environment={"lcg": lcg}, shared=["/"])), "convert", tmp_path / "jobs"
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for path in directory.transferred():
        (scratch / path.name).symlink_to(path)
    code = "import os, extra, nanoforge; print(extra.place, nanoforge.__file__, os.environ['LD_LIBRARY_PATH'])"
    script = f'source ./environment.sh; "${{python[@]}}" -c "{code}"'
    done = subprocess.run(["bash", "-euc", script], cwd=scratch, capture_output=True, text=True)
    place, ours, libraries = done.stdout.split()
    assert (place, ours) == ("archive", str(scratch / "software" / "nanoforge" / "__init__.py")), done.stderr
    assert libraries == f"{scratch}/packages/fastjet/lib64:/view/lib"
    with pytest.raises(UserError, match="make grid"):
        again = analysis(environment={"lcg": {**lcg, "packages": "no.tar.xz"}}, shared=["/"])
        make(find_target("crab"), listed(again), "convert", tmp_path / "b")


def test_a_package_that_the_jobs_python_lacks_is_a_mistake(tmp_path: Path):
    code = "import sys; sys.modules['typer'] = None; from nanoforge.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "lacks the package 'typer'" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("where", ["condor", "slurm", "crab"])
def test_a_laptop_makes_dry_runs_for_sites_that_it_is_not_part_of(
    where: str, analysis: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
):
    crab = {"crab": {"site": "T2_CH_CERN", "output": "/store/user/jdoe/toy", "whitelist": ["T2_*"]}}
    toy = analysis(site="lxplus", output=str(tmp_path / "results"), shared=["/cvmfs"], **crab)
    jobs = tmp_path / "jobs"
    if where != "slurm":
        with pytest.raises(UserError, match="see"):
            submit(where, toy, "convert", jobs)
        assert not jobs.exists()
    directory = submit(where, toy, "convert", jobs, dry_run=True)
    assert "note: before it can be submitted: " in "".join(capsys.readouterr()).replace("\n", " ")
    status(jobs)
    shown = capsys.readouterr().out
    assert "not submitted" in shown and "lost" not in shown
    for script in [*jobs.glob("*.sh"), *jobs.glob("*.slurm")]:
        subprocess.run(["bash", "-n", script], check=True)
    assert directory.submissions() == []


def test_a_virtual_environment_is_packed_where_the_jobs_do_not_see_it(analysis: Callable, tmp_path: Path):
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    batch = {"site": "generic", "shared": [str(tmp_path / "data")], "environment": {"venv": str(venv)}}
    directory = make(find_target("condor"), listed(analysis(**batch)), "convert", tmp_path / "jobs")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for path in directory.transferred():
        (scratch / path.name).symlink_to(path)
    told = subprocess.run(
        ["bash", "-euc", 'source ./environment.sh; "${python[@]}" -c "import nanoforge; print(nanoforge.__file__)"'],
        cwd=scratch, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.strip() == str(scratch / "software" / "nanoforge" / "__init__.py")


# -- the job script ---------------------------------------------------------------------------------------------------


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Run job.sh with the stub in the place of NanoForge."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "environment.sh").write_text(f"python=({sys.executable} {STUB})\n")
    script = Path(__file__).parents[2] / "condor" / "job.sh"

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess:
        variables = os.environ | {"STUB": str(tmp_path)} | environment
        return subprocess.run(
            ["bash", script, *words], cwd=scratch, env=variables, capture_output=True, text=True, check=False
        )

    return run


def test_a_job_tells_where_and_when_it_was(job: Callable):
    done = job("part-00000", "convert", "analysis.yaml", "--part", "tt:0-1", "-o", "part-00000")
    assert done.returncode == 0, done.stderr
    words = [line.split()[0] for line in done.stdout.splitlines()]
    assert words == ["job", "host", "start", "software", "end"]
    assert "exit code 0" in done.stdout


def test_a_python_that_does_not_look_for_its_library_beside_it_gets_it(job: Callable, tmp_path: Path):
    """As that of a view of LCG, and so that of a virtual environment of it, where the view is not set up."""
    release, venv = tmp_path / "release", tmp_path / "venv"
    for folder in (release, venv):
        (folder / "bin").mkdir(parents=True)
    loader = f'case :${{LD_LIBRARY_PATH:-}}: in *:{release}/lib:*) exec {sys.executable} "$@";; esac; exit 127'
    (release / "bin" / "python3.12").write_text(f"#!/bin/bash\n{loader}\n")
    (release / "bin" / "python3.12").chmod(0o755)
    (venv / "bin" / "python").symlink_to(release / "bin" / "python3.12")
    (tmp_path / "scratch" / "environment.sh").write_text(f"python=({venv}/bin/python {STUB})\n")
    for number, libraries in enumerate(("", "/elsewhere")):
        part = f"part-{number}"
        done = job(part, "convert", "analysis.yaml", "--part", "tt:0-1", "-o", part, LD_LIBRARY_PATH=libraries)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("code", [1, 2, 137])
def test_a_job_ends_with_the_code_of_nanoforge(job: Callable, tmp_path: Path, code: int):
    (tmp_path / "fail-convert-0").write_text(str(code))
    done = job("part-00000", "convert", "analysis.yaml", "--part", "tt:0-1", "-o", "part-00000")
    assert done.returncode == code
    assert "fails as ordered" in done.stderr
    assert f"exit code {code} on" in done.stderr


def test_a_job_without_its_result_has_failed(job: Callable):
    done = job("part-00001", "convert", "-o", "part-00000")
    assert done.returncode == 1
    assert "made no part-00001/manifest.json" in done.stderr


def test_a_full_disk_is_named(job: Callable, tmp_path: Path):
    (tmp_path / "fail-convert-0").write_text("1")
    (tmp_path / "df").write_text("#!/bin/sh\necho Filesystem\necho disk 1000 997 3 99% /\n")
    (tmp_path / "df").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = job("part-00000", "convert", "--part", "tt:0-1", "-o", "part-00000", PATH=path)
    assert done.returncode == 1
    assert "no space left on the scratch disk" in done.stderr


def test_a_job_copies_its_result_where_condor_does_not(job: Callable, tmp_path: Path):
    tool = tmp_path / "xrdcp"
    tool.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/copied\ncat {tmp_path}/code 2>/dev/null && exit 54\nexit 0\n')
    tool.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    words, address = ("part-00000", "convert", "-o", "part-00000"), "root://cmseos.fnal.gov//store/user/j/run"
    assert job(*words, PATH=path, NANOFORGE_DESTINATION=address).returncode == 0
    assert (tmp_path / "copied").read_text().split()[-2:] == ["part-00000", f"{address}/"]
    (tmp_path / "scratch" / "part-00000" / "manifest.json").unlink()
    (tmp_path / "scratch" / "part-00000").rmdir()
    (tmp_path / "code").touch()
    done = job(*words, PATH=path, NANOFORGE_DESTINATION=address)
    assert done.returncode == 1
    assert "cannot copy part-00000" in done.stderr


def test_a_training_stops_at_a_checkpoint_and_goes_on(job: Callable, tmp_path: Path):
    words = ("part-00000", "train", "analysis.yaml", "-o", "part-00000")
    codes = []
    while not codes or codes[-1] == 85:
        codes.append(job(*words, NANOFORGE_CHECKPOINT="1", EPOCHS="8").returncode)
    assert codes[-1] == 0
    assert len(codes) > 1
    begun = json.loads((tmp_path / "scratch" / "part-00000" / "manifest.json").read_text())["begun"]
    assert begun == sorted(set(begun))
    assert len(begun) == len(codes)


# -- the pool ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def queue(
    pool: Any, analysis: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Analysis, Path]]:
    """An analysis whose jobs will run the stub, and a place for them, with the commands of the pool at hand."""
    for name, value in pool.environment.items():
        monkeypatch.setenv(name, value)

    def prepare(stage: str, environment: str = "", **batch: Any) -> tuple[Analysis, Path]:
        text = f"export STUB={tmp_path} {environment}\npython=({sys.executable} {STUB})\n"
        monkeypatch.setattr(
            "nanoforge.batch.jobdir.write_environment", lambda _, folder: (folder / "environment.sh").write_text(text)
        )
        return analysis(**{**GENERIC, **batch}), tmp_path / "jobs"

    return prepare


def ended(pool: Any, directory: JobDir, seconds: float = 90) -> str:
    """The event log, when all jobs have ended."""
    pool.run("condor_wait", "-wait", str(seconds), str(directory.event_log(0)))
    return directory.event_log(0).read_text()


def test_jobs_of_a_pool_fail_and_are_tried_again(
    pool: Any, queue: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
):
    """One fails once (it is tried again), one for good (it is not, and not held either, and says why)."""
    toy, place = queue("convert", split=2)
    (tmp_path / "fail-convert-0").write_text("1")
    (tmp_path / "fail-convert-4").write_text("2")
    directory = submit("condor", toy, "convert", place)
    log = ended(pool, directory)
    assert [Path(directory.part(number), "manifest.json").exists() for number in range(4)] == [True, True, False, True]
    assert log.count("Job terminated and was requeued") >= 1
    assert "Job was held" not in log
    assert "return value 2" in log
    assert "fails as ordered" in directory.stderr(0, 2).read_text()
    capsys.readouterr()
    submit("condor", toy, "convert", place)
    assert "submitted already" in capsys.readouterr().err
    assert len(directory.submissions()) == 1


def test_a_submission_that_was_killed_is_found_again(
    pool: Any, queue: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """kill -9 while condor_submit is at work: it goes on, and the same command submits nothing twice."""
    toy, place = queue("convert", split=2)
    slow = tmp_path / "bin"
    slow.mkdir()
    real = pool.run("sh", "-c", "command -v condor_submit").stdout.strip()
    (slow / "condor_submit").write_text(f'#!/bin/sh\ncase "$*" in *-terse*) sleep 2;; esac\nexec {real} "$@"\n')
    (slow / "condor_submit").chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow}{os.pathsep}{os.environ['PATH']}")
    child = os.fork()
    if not child:
        submit("condor", toy, "convert", place)
        os._exit(0)
    while not (place / "submissions.jsonl").exists():
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert JobDir.open(place).submissions()[0].state == "intent"
    directory = submit("condor", toy, "convert", place)
    assert [s.state for s in directory.submissions()] == ["submitted"]
    log = ended(pool, directory)
    assert log.count("Job submitted from host") == 4


def test_a_submission_that_never_began_is_made(pool: Any, queue: Callable):
    toy, place = queue("convert", split=2)
    directory = make(find_target("condor"), listed(toy), "convert", place)
    directory.intend(range(4), directory.plan.resources)  # killed before condor_submit
    submit("condor", toy, "convert", place)
    assert [(s.attempt, s.state) for s in directory.submissions()] == [(0, "void"), (1, "submitted")]
    pool.run("condor_rm", str(directory.submissions()[1].cluster))


def test_jobs_of_a_submission_that_failed_in_the_end_do_not_stay(
    pool: Any, queue: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """condor_submit breaks off after the jobs are in the queue, the connection being lost, say."""
    toy, place = queue("convert", split=2)
    broken = tmp_path / "bin"
    broken.mkdir()
    real = pool.run("sh", "-c", "command -v condor_submit").stdout.strip()
    (broken / "condor_submit").write_text(
        f'#!/bin/sh\n{real} "$@" || exit\ncase "$*" in *-terse*) echo "ERROR: lost" >&2; exit 1;; esac\n'
    )
    (broken / "condor_submit").chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(DataError, match="ERROR: lost"):
        submit("condor", toy, "convert", place)
    directory = JobDir.open(place)
    assert [s.state for s in directory.submissions()] == ["void"]
    removed = 3
    assert {job["JobStatus"] for job in condor.queued(directory, directory.submissions()[0])} <= {removed}
    find_target("condor").withdraw(directory, directory.submissions()[0], range(4))  # nothing is left to be taken out


def test_what_condor_warns_of_is_not_submitted(queue: Callable, tmp_path: Path):
    queue("convert")
    text = tmp_path / "odd.sub"
    text.write_text(f"executable = {sys.executable}\nrequest_cups = 1\nmy_own = 3\nqueue\n")
    with pytest.raises(UserError, match="my_own"):
        condor_commands.dry_run(text)
    text.write_text("queue\n")
    with pytest.raises(UserError, match="condor_submit -dry-run"):
        condor_commands.dry_run(text)


def test_an_evicted_training_goes_on_from_its_checkpoint(pool: Any, queue: Callable):
    """On a (simulated) GPU; the machine is taken away after the first checkpoint came back."""
    batch = {"train": {"gpu": 1, "cores": 1, "memory": "100 MB", "disk": "100 MB", "checkpoint": 1}}
    toy, place = queue("train", "EPOCHS=25", **batch)
    directory = submit("condor", toy, "train", place, **reads("train", place.parent))
    end = time.monotonic() + 60
    while directory.event_log(0).read_text().count("Finished transferring output files") < 1:
        assert time.monotonic() < end, directory.event_log(0).read_text()
        time.sleep(0.1)
    pool.run("condor_vacate_job", "-fast", str(directory.submissions()[0].cluster))
    log = ended(pool, directory)
    assert "Job was evicted" in log
    begun = json.loads((Path(directory.part(0)) / "manifest.json").read_text())["begun"]
    assert begun[0] == 0
    assert begun[1] > 0
    assert begun == sorted(begun)


def test_a_spool_submission_comes_home(queue: Callable):
    """The scheduler keeps everything, logs too, until it is fetched; then nothing is left in the queue."""
    toy, place = queue("convert", split=2, mode="spool")
    directory = submit("condor", toy, "convert", place)
    submission = directory.submissions()[0]
    end = time.monotonic() + 60
    while {job["JobStatus"] for job in condor.queued(directory, submission)} != {4}:
        assert time.monotonic() < end, condor.queued(directory, submission)
        time.sleep(0.2)
    assert {job["NanoForgeJob"] for job in condor.queued(directory, submission)} == {0, 1, 2, 3}
    assert not Path(directory.part(0)).exists()
    condor.fetch(directory, submission)
    condor.fetch(directory, submission)
    assert all((Path(directory.part(number)) / "manifest.json").exists() for number in range(4))
    logs = [directory.stdout(0, number).with_suffix(".log").read_text() for number in range(4)]
    assert all("return value 0" in log for log in logs)
    assert [job for job in condor.queued(directory, submission) if job["JobStatus"] == 4] == []


QUEUE = """#!/bin/sh
# stands in for condor_submit: the queue is a file, and a log tells of what is in it
case "$*" in
*-terse*)
  sleep 0.0$(($$ % 10))
  run=$(grep '^run ' "$2" | tr -d ' ' | cut -d= -f2)
  attempt=$(basename "$2" .sub | cut -d- -f2)
  echo "000 (017.000.000) now Job submitted" >>"logs/$run/$attempt/events.log"
  echo "$attempt" >>"{queue}"
  sleep 0.0$(($$ % 10))
  echo "17.0 - 17.2"
  ;;
esac
"""


def test_a_submission_that_is_killed_anywhere_is_made_just_once(
    analysis: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    queue, tools = tmp_path / "queue", tmp_path / "bin"
    tools.mkdir()
    for name, text in {"condor_submit": QUEUE.replace("{queue}", str(queue)), "condor_q": "#!/bin/sh\n"}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    (tools / "condor_history").symlink_to(tools / "condor_q")
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    toy, states = analysis(**GENERIC, split=2), set()
    for number in range(16):
        place = tmp_path / f"jobs{number}"
        child = os.fork()
        if not child:
            submit("condor", toy, "convert", place)
            os._exit(0)
        time.sleep(number * 0.018)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        journal = JobDir.open(place).submissions() if (place / "plan.json").exists() else None
        states.add("none" if journal is None else journal[-1].state if journal else "made")
        submit("condor", toy, "convert", place)
        submit("condor", toy, "convert", place)
        assert queue.read_text().count("\n") == 1, (number, states)
        assert [s.state for s in JobDir.open(place).submissions()].count("submitted") == 1
        queue.unlink()
    assert {"none", "intent"} <= states, "the kills came at few places"


def test_jobs_that_enter_the_queue_gradually_are_all_done(pool: Any, queue: Callable, monkeypatch: pytest.MonkeyPatch):
    """With late materialisation, as for more than 10,000 jobs."""
    monkeypatch.setattr(condor_description, "MOST_JOBS", 3)
    toy, place = queue("convert", split=2)
    directory = submit("condor", toy, "convert", place)
    assert "max_materialize   = 1" in (place / "convert-0.sub").read_text()
    end = time.monotonic() + 60
    while not all((Path(directory.part(number)) / "manifest.json").exists() for number in range(4)):
        assert time.monotonic() < end, directory.event_log(0).read_text()
        time.sleep(0.2)
    log = directory.event_log(0).read_text()
    assert [f"NanoForge job {number}" in log for number in range(4)] == [True] * 4
    assert directory.submissions()[0].cluster is not None
