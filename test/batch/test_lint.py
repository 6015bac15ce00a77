"""Every rule, with a description that breaks it: in line with batchdocs.web.cern.ch and HTCondor's manual."""

from __future__ import annotations

from pathlib import Path

import pytest
from nanoforge.batch.lint import Finding, Rules, lint

GOOD = """\
# ten jobs
run         = first
executable  = job.sh
arguments   = "$(number) $(sample)"
log         = logs/$(run).log
output      = logs/$(number).out
error       = logs/$(number).err
should_transfer_files   = YES
transfer_input_files    = input.txt, \\
                          folder
transfer_output_files   = part-$INT(number,%05d)
when_to_transfer_output = ON_SUCCESS
+FailureFiles = ""
success_exit_code = 0
max_retries  = 2
request_cpus = 2
request_memory = 4 GB
request_disk = 40 GB
+JobFlavour  = "longlunch"
MY.WantOS    = "el9"
+NanoForgeJob = $(number)
queue number, sample from items.txt
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("job.sh", "input.txt"):
        (tmp_path / name).touch()
    for name in ("logs", "folder"):
        (tmp_path / name).mkdir()
    (tmp_path / "items.txt").write_text("".join(f"{i} tt\n" for i in range(10)))
    return tmp_path


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    assert findings[0].remedy
    return findings[0]


def test_a_good_description_passes(folder: Path):
    assert lint(GOOD, folder) == []


@pytest.mark.parametrize(
    "old, new, rule, words",
    [
        ("should_transfer_files ", "should_transfer_file ", "unknown-key", "should_transfer_files"),
        ("request_cpus = 2", "request_cpus = 2\nRequest_CPUs = 2", "duplicate-key", "line 16"),
        ("+JobFlavour ", '+jobflavour = "espresso"\n+JobFlavour ', "duplicate-key", "line 19"),
        ("$(sample)", "$(smaple)", "undefined-macro", "sample"),
        ("request_memory", "request_memry", "request-typo", "request_memory"),
        ("input.txt", "inputs.txt", "missing-file", "inputs.txt"),
        ("= job.sh", "= run.sh", "missing-file", "run.sh"),
        ("from items.txt", "from jobs.txt", "missing-file", "jobs.txt"),
        ("= logs/$(run).log", "= log/$(run).log", "missing-log-folder", "mkdir -p"),
        ('"longlunch"', "longlunch", "unquoted-string", '+JobFlavour = "longlunch"'),
        ('"el9"', "el9", "unquoted-string", '"el9"'),
        ('+JobFlavour  = "longlunch"\n', "", "no-runtime", "+MaxRuntime"),
        ('+JobFlavour  = "longlunch"', "+MaxRuntime = 2 h", "no-runtime", "seconds"),
        ('"longlunch"', '"longbrunch"', "unknown-flavour", "longlunch"),
        ("4 GB", "6 GB", "memory-per-core", "request_cpus = 3"),
        ("4 GB", "6000", "memory-per-core", "request_cpus = 3"),
        ("40 GB", "50 GB", "disk-per-core", "request_cpus = 3"),
        ("ON_SUCCESS", "ON_EXIT", "on-success", "ON_SUCCESS"),
        ("success_exit_code = 0\n", "", "on-success", "success_exit_code = 0"),
        ("max_retries  = 2\n", "", "on-success", "max_retries"),
        ('+FailureFiles = ""\n', "", "on-success", "FailureFiles"),
        ("logs/$(number).out", "logs/all.out", "same-output", "$(ProcId)"),
        ("logs/$(number).err", "/eos/user/j/jdoe/$(number).err", "log-on-eos", "AFS"),
        ("should_transfer", "output_destination = /eos/user/j\nshould_transfer", "destination", "root://"),
        ("should_transfer", "output_destination = root://a/b\nshould_transfer", "destination", "two slashes"),
        (
            "should_transfer", "output_destination = root://eosuser.cern.ch//eos/user/j\nshould_transfer",
            "destination", "MY.XRDCP_CREATE_DIR = True",
        ),
    ],
)  # fmt: skip
def test_a_broken_rule_is_named_with_its_remedy(folder: Path, old: str, new: str, rule: str, words: str):
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    found = [f for f in lint(text, folder) if f.rule != "missing-log-folder" or rule == "missing-log-folder"]
    finding = only(found)
    assert finding.rule == rule
    assert words in str(finding)
    if finding.line:
        changed = new.split("\n")[-1] if "\n" in new else new
        assert changed.strip() in text.splitlines()[finding.line - 1] or rule in ("on-success", "destination")


def test_a_checkpoint_that_would_be_lost(folder: Path):
    address = "output_destination = root://eosuser.cern.ch//eos/user/j\nMY.XRDCP_CREATE_DIR = True\n"
    text = GOOD.replace("queue", f"{address}checkpoint_exit_code = 85\nqueue")
    assert only(lint(text, folder)).rule == "lost-checkpoint"
    assert lint(text.replace(address, ""), folder) == []


def test_a_short_row_is_found(folder: Path):
    (folder / "items.txt").write_text("0 tt\n1\n")
    assert only(lint(GOOD, folder)).rule == "short-row"
    assert "item 2" in str(lint(GOOD, folder)[0])


def test_items_with_commas_and_inline_items(folder: Path):
    (folder / "items.txt").write_text("0, tt\n1, dy\n")
    assert lint(GOOD, folder) == []
    inline = GOOD.replace("from items.txt", "from (\n0 tt\n1\n)")
    assert only(lint(inline, folder)).rule == "short-row"


def test_no_items_and_no_queue(folder: Path):
    (folder / "items.txt").write_text("# none\n")
    assert only(lint(GOOD, folder)).rule == "short-row"
    assert {f.rule for f in lint(GOOD.partition("queue")[0], folder)} >= {"no-queue"}


def test_too_many_jobs_and_a_crowded_folder(folder: Path):
    (folder / "items.txt").write_text("".join(f"{i} tt\n" for i in range(10_001)))
    assert {f.rule for f in lint(GOOD, folder)} == {"too-many-jobs", "crowded-folder"}
    spread = GOOD.replace("logs/$(number)", "logs/$INT(shard)/$(number)").replace("queue", "max_materialize=9\nqueue")
    spread = spread.replace("run         = first", "run = first\nshard = $(number) / 1000")
    for shard in range(10):
        (folder / "logs" / str(shard)).mkdir()
    assert [f.rule for f in lint(spread, folder)] == ["missing-log-folder"] * 2
    (folder / "logs" / "10").mkdir()
    assert lint(spread, folder) == []


def test_a_proxy_in_tmp_stays_behind(folder: Path, tmp_path: Path):
    proxy = tmp_path / "x509up"
    proxy.touch()
    assert str(proxy).startswith("/tmp/") or pytest.skip("the tests run elsewhere than in /tmp")
    text = GOOD.replace("queue", f"x509userproxy = {proxy}\nqueue")
    assert only(lint(text, folder)).rule == "proxy-in-tmp"
    assert lint(text, folder, Rules("generic")) == []


def test_the_limits_of_a_spool_submission(folder: Path):
    spool = Rules("lxplus", "spool")
    assert lint(GOOD, folder, spool) == []
    (folder / "items.txt").write_text("".join(f"{i} tt\n" for i in range(101)))
    assert only(lint(GOOD, folder, spool)).rule == "spool-jobs"
    (folder / "items.txt").write_text("0 tt\n")
    with (folder / "folder" / "big").open("wb") as file:
        file.truncate(1_100_000_000)  # sparse
    assert only(lint(GOOD, folder, spool)).rule == "spool-size"
    assert lint(GOOD, folder) == []


def test_eossubmit_takes_nothing_but_eos(folder: Path):
    found = lint(GOOD, folder, Rules("lxplus", "eossubmit"))
    assert {f.rule for f in found} == {"not-on-eos"}
    assert {f.line for f in found} == {3, 5, 6, 7, 9}


def test_other_sites_have_other_rules(folder: Path):
    """A pool of one's own takes any memory, and a limit of HTCondor's own for the time."""
    text = GOOD.replace("4 GB", "64 GB").replace('+JobFlavour  = "longlunch"', "allowed_execute_duration = 7200")
    assert lint(text, folder, Rules("generic")) == []


def test_macros_of_a_dag_are_given(folder: Path):
    text = GOOD.replace("queue number, sample from items.txt", "queue")
    assert {f.rule for f in lint(text, folder)} == {"undefined-macro"}
    assert lint(text, folder, Rules(given=("number", "sample"))) == []


@pytest.mark.parametrize(
    "text",
    [
        """
universe = vanilla
executable = job.sh
arguments = $(ClusterId) $(ProcId) $ENV(HOME) $RANDOM_CHOICE(1,2) $$(Arch) $(tag:none)
output = logs/hello.$(ClusterId).$(ProcId).out
error  = logs/hello.$(ClusterId).$(ProcId).err
log    = logs/hello.$(ClusterId).log
+MaxRuntime = 3600
requirements = (OpSysAndVer =?= "AlmaLinux9")
queue 150
""",
        """
executable = job.sh
arguments = $Fnx(filename)
transfer_input_files = $(filename)
output = logs/$Fn(filename).out
log = logs/log
+JobFlavour = "tomorrow"
queue filename matching files *.txt
""",
        """
executable = job.sh
output = logs/$(what).$(Step).out
log = logs/log
+JobFlavour = "tomorrow"
Queue 2 what in (a, b, c)
""",
    ],
)
def test_what_physicists_write_passes(folder: Path, text: str):
    assert lint(text, folder) == []
