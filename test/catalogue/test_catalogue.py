"""``nanoforge catalogue``: datasets as ``dasgoclient`` tells of them, folders as they are, and their inclusion."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
import yaml
from nanoforge.catalogue import folders
from nanoforge.config import load
from nanoforge.config.change import as_written
from nanoforge.errors import UserError
from rich.console import Console

Command = Callable[..., Any]
CAMPAIGN = "Run3Summer22NanoAODv15-150X_mcRun3_2022_realistic_v1"
TOP = f"/TTto2L2Nu_TuneCP5_13p6TeV_powheg-pythia8/{CAMPAIGN}-v2/NANOAODSIM"
MORE = f"/TTto2L2Nu_TuneCP5_13p6TeV_powheg-pythia8/{CAMPAIGN}_ext1-v2/NANOAODSIM"
PATTERN = "/TTto2L2Nu*/Run3Summer22*NanoAODv15*/NANOAODSIM"


def record(key: str, **content: Any) -> dict[str, Any]:
    """One record in the form of dasgoclient -json."""
    return {"das": {"expire": 1, "instance": "prod/global", "services": ["dbs3"]}, "qhash": "0", key: [content]}


def file_record(number: int, dataset: str) -> dict[str, Any]:
    """A file in the form of the answer that dasgoclient's own page shows; the values are ours.

    Numbers may come as floats, and some with other names too; what is not known is null or NOTSET.
    """
    block = f"{dataset}#8420a3e7-0000-0000-0000-f9abcd3de8ef"
    return record(
        "file", adler32="1a2b3c4d", auto_cross_section=None, block_id=5.959551e06, block_name=block,
        branch_hash_id=None,
        check_sum="2684046953", create_by="wmagent", created_by="wmagent", creation_date=1.325221208e09,
        creation_time=1.325221208e09, dataset=dataset, dataset_id=4.043703e06, file_id=3.8629887e07, file_type_id=1,
        is_file_valid=1, last_modification_date=1.325267812e09, md5="NOTSET", modification_time=1.325267812e09,
        name=f"/store/{number}.root", nevents=None, size=1.5e09, type="EDM", **{"block.name": block},
    )  # fmt: skip


def site_record(site: str, kind: str, blocks: str, files: str) -> dict[str, Any]:
    """A site, as DAS makes its record (``Site4DatasetPct`` of das2go): the first two shares are the same for all."""
    return record(
        "site", name=site, kind=kind, se=site, dataset_fraction="100.00%", block_fraction="100.00%",
        block_completion=blocks, replica_fraction=files, nblocks=2, nfiles=2, total_blocks=2, total_files=2,
    )  # fmt: skip


def summary_record(events: int) -> dict[str, Any]:
    """A summary with the keys of a recorded answer, which analyses on GitHub quote (TTTo2L2Nu, 2016 to 2018)."""
    return record(
        "summary", file_size=309022244066, max_ldate=1628354012, median_cdate=None, median_ldate=1627591054,
        nblocks=39, nevents=events, nfiles=155, nlumis=145020, num_block=39, num_event=events, num_file=155,
        num_lumi=145020,
    )  # fmt: skip


def answers(events: int) -> dict[str, Any]:
    found: dict[str, Any] = {f"dataset={PATTERN}": [record("dataset", name=name) for name in (MORE, TOP)]}
    for name in (TOP, MORE):
        found[f"summary dataset={name}"] = [summary_record(events)]
        found[f"dataset dataset={name}"] = [record("dataset", name=name, status="VALID", physics_group_name="NoGroup")]
        found[f"site dataset={name}"] = [
            site_record(*values)
            for values in (
                ("T2_CH_CERN", "DISK", "100.00%", "100.00%"),
                ("T2_DE_DESY", "DISK", "50.00%", "100.00%"),
                ("T2_US_MIT", "DISK", "100.00%", "99.35%"),
                ("T1_US_FNAL_Tape", "TAPE", "100.00%", "100.00%"),
            )
        ]
        found[f"parent dataset={name}"] = [record("parent", name=name.replace("NANOAODSIM", "MINIAODSIM"))]
        found[f"file dataset={name}"] = [file_record(i, name) for i in range(2)]
    return found


@pytest.fixture
def das(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], None]:
    """Let a stand-in of dasgoclient give these answers, by query."""
    folder = tmp_path / "bin"
    folder.mkdir()
    client = folder / "dasgoclient"
    client.write_text(
        "#!/usr/bin/env python3\nimport json, pathlib, sys\n"
        "assert sys.argv[1] == '-query' and sys.argv[3] == '-json'\n"
        "print(json.dumps(json.loads(pathlib.Path(__file__).with_name('answers').read_text()).get(sys.argv[2], [])))\n"
    )
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("COLUMNS", "200")
    return lambda content: (folder / "answers").write_text(json.dumps(content)) and None


def test_datasets_become_samples(das: Callable, tmp_path: Path, nanoforge: Command) -> None:
    das(answers(1000))
    (tmp_path / "xsec.yaml").write_text("TTto2L2Nu: 98.0\nTTto2L2Nu_TuneCP5_13p6TeV_powheg-pythia8: 97.0\n")
    done = nanoforge("catalogue", PATTERN, "--xsec", "xsec.yaml")
    assert done.returncode == 0, done.stderr
    content = yaml.safe_load((tmp_path / "samples.yaml").read_text())
    assert content["samples"] == {
        "TTto2L2Nu": {"dataset": TOP, "xsec": 98.0},
        "TTto2L2Nu_ext1": {"dataset": MORE, "xsec": 97.0},
    }
    entry = content["catalogue"]["entries"]["TTto2L2Nu"]
    assert (entry["files"], entry["events"], entry["size"], entry["status"]) == (155, 1000, 309022244066, "VALID")
    assert entry["sites"] == ["T2_CH_CERN"] and entry["parents"] == [TOP.replace("NANO", "MINI")]
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["TTto2L2Nu", "155", "1,000", "309", "GB", "VALID", "T2_CH_CERN"] in rows
    assert ["=", PATTERN, "310", "2,000", "618", "GB"] in rows

    listed = tmp_path / "samples_files" / "TTto2L2Nu.txt"
    assert listed.read_text() == "/store/0.root ad:1a2b3c4d\n/store/1.root ad:1a2b3c4d\n"

    changed = answers(1500)
    changed[f"file dataset={TOP}"][1]["file"][0]["adler32"] = "ffffffff"
    changed[f"dataset={PATTERN}"] = changed[f"dataset={PATTERN}"][1:]
    das(changed)
    again = nanoforge("catalogue", "--refresh")
    assert again.returncode == 0 and "2 changes" in again.stderr, again.stderr
    assert f"{MORE} is gone" in again.stderr and f"{TOP}: events 1,000 -> 1,500" in again.stderr
    assert "files with other contents: /store/1.root\n" in again.stderr and "/store/0.root" not in again.stderr
    assert "nothing has changed" in nanoforge("catalogue", "--refresh").stderr


def test_a_file_without_a_checksum_is_not_new_each_time(das: Callable, nanoforge: Command) -> None:
    for events in (1000, 1500):
        content = answers(events)
        content[f"file dataset={TOP}"][0]["file"][0]["adler32"] = "NOTSET"
        das(content)
        done = nanoforge("catalogue", PATTERN)
        assert done.returncode == 0, done.stderr
    assert f"{TOP}: events 1,000 -> 1,500\n" in done.stderr


def test_an_error_in_an_answer_is_no_answer(das: Callable, tmp_path: Path, nanoforge: Command) -> None:
    broken = answers(1)
    broken[f"summary dataset={TOP}"] = [record("summary", error="DBS is \n not here", code=300)]
    das(broken)
    done = nanoforge("catalogue", PATTERN)
    assert done.returncode == 1 and f"summary dataset={TOP}: DAS answers with an error: DBS is not here" in done.stderr
    assert not (tmp_path / "samples.yaml").exists()


def write(path: Path, events: int) -> None:
    with uproot.recreate(path) as file:
        file.mktree("Events", {"MET_pt": "f4"}).extend({"MET_pt": np.ones(events, "f4")})
        file.mktree("Runs", {"genEventSumw": "f8"}).extend({"genEventSumw": np.array([2.0 * events])})


def test_folders_become_samples_that_an_analysis_includes(tmp_path: Path, nanoforge: Command) -> None:
    (tmp_path / "data" / "zee").mkdir(parents=True)
    for number in range(3):
        write(tmp_path / "data" / "zee" / f"{number}.root", 10 + number)
    (tmp_path / "xsec.yaml").write_text("zee: 6.0\n")
    done = nanoforge("catalogue", tmp_path / "data/zee", "-o", "lists/samples.yaml", "--xsec", "xsec.yaml")
    assert done.returncode == 0, done.stderr
    (tmp_path / "a.yaml").write_text(
        "name: a\ninclude: lists/samples.yaml\ninputs: {event: {features: [MET_pt]}}\nsamples: {zee: {label: z}}\n"
    )
    sample = load(tmp_path / "a.yaml").samples["zee"]
    assert (sample.label, sample.xsec, sample.sumw) == ("z", 6.0, 66.0)
    assert sample.files == [str(tmp_path / "data/zee/*.root")]
    assert load(tmp_path / "a.yaml", ["samples.zee.xsec=7"]).samples["zee"].xsec == 7
    assert "include" not in load(tmp_path / "a.yaml").model_dump()
    assert "include" not in as_written(load(tmp_path / "a.yaml"))
    override = ["include=[lists/samples.yaml]"]
    (tmp_path / "b.yaml").write_text("name: b\ninputs: {event: {features: [MET_pt]}}\n")
    assert list(load(tmp_path / "b.yaml", override).samples) == ["zee"]
    shown = nanoforge("catalogue", "a.yaml", "-o", "again.yaml")
    assert shown.returncode == 0, shown.stderr
    assert yaml.safe_load((tmp_path / "again.yaml").read_text())["catalogue"]["entries"]["zee"]["events"] == 33


def test_a_bar_shows_how_many_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is read whole for its checksum, which takes its time."""
    for number in range(3):
        write(tmp_path / f"{number}.root", 10)
    terminal = Console(file=io.StringIO(), force_terminal=True, width=400)
    monkeypatch.setattr("nanoforge.console.err", terminal)
    folders.entry(str(tmp_path), "Events")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.file.getvalue())
    assert re.search(r"events of .* 3/3", text) and re.search(r"checksums of .* 3/3", text), text


def test_files_are_relative_to_the_file_that_is_included(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "s.yaml").write_text("samples: {b: {files: b.txt, label: b}}\n")
    head = "name: a\ninputs: {event: {features: [x]}}\nsamples: {a: {files: a.root, label: a}}\n"
    (tmp_path / "a.yaml").write_text(head + "include: [lists/s.yaml]\n")
    samples = load(tmp_path / "a.yaml").samples
    assert samples["b"].files == [str(tmp_path / "lists/b.txt")] and samples["a"].files == [str(tmp_path / "a.root")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("a: [", "not valid YAML"),
        ("tree: x", "has no 'samples'"),
        ("- 1", "has no 'samples'"),
    ],
)
def test_what_cannot_be_included(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "s.yaml").write_text(content)
    (tmp_path / "a.yaml").write_text("name: a\ninclude: s.yaml\ninputs: {event: {features: [x]}}\n")
    with pytest.raises(UserError, match=rf"include: .*s\.yaml: {message}"):
        load(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which datasets?"),
        (["/No*/Such*/NANOAODSIM"], "DAS knows no valid dataset"),
        (["gone/*.root"], "no file matches"),
        (["--refresh", "-o", "other.yaml"], "is no catalogue"),
        (["/A/B/C", "--xsec", "other.yaml"], "cross section in pb"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], message: str, das: Callable, tmp_path: Path, nanoforge: Command
) -> None:
    das({})
    (tmp_path / "other.yaml").write_text("a: b\n")
    done = nanoforge("catalogue", *words)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("error:") == 1
