from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import toys
from nanoforge.batch.plan import STAGES, Plan, Resources, command, jobs
from nanoforge.config.batch import BatchBlock, Division
from nanoforge.config.schema import Analysis
from nanoforge.errors import DataError, UserError
from pydantic import ValidationError


def analysis(samples: dict[str, Any], **blocks: Any) -> Analysis:
    inputs = {"event": {"features": ["MET_pt"]}}
    return Analysis.model_validate({"name": "toy", "samples": samples, "inputs": inputs, **blocks})


def listed(**counts: int) -> Analysis:
    samples = {n: {"files": [f"/data/{n}{i}.root" for i in range(k)], "label": n} for n, k in counts.items()}
    return analysis(samples)


def shares(found: Any) -> list[tuple[Any, ...]]:
    return [(job.number, job.sample, job.first, job.last) for job in found]


def test_files_are_divided_within_their_samples():
    found = jobs(listed(tt=5, dy=2), "convert", Division(files=2))
    assert shares(found) == [(0, "tt", 0, 1), (1, "tt", 2, 3), (2, "tt", 4, 4), (3, "dy", 0, 1)]
    assert found[2].inputs == ("/data/tt4.root",)
    assert found[1].part == "part-00001"
    assert found[1].units == "tt:2-3"


def test_every_unit_is_in_just_one_job():
    for size in (1, 3, 7, 100):
        found = jobs(listed(tt=23, dy=11), "skim", Division(files=size))
        for sample, count in (("tt", 23), ("dy", 11)):
            units = [u for job in found if job.sample == sample for u in range(job.first, job.last + 1)]
            assert units == list(range(count))


def test_predict_scores_a_shared_file_once():
    twice = analysis({"a": {"files": ["/x.root", "/y.root"]}, "b": {"files": ["/y.root", "/z.root"]}})
    found = jobs(twice, "predict", Division(files=2))
    assert shares(found) == [(0, None, 0, 1), (1, None, 2, 2)]
    assert found[1].inputs == ("/z.root",)
    assert found[1].units == "2-2"


def test_generation_is_divided_in_blocks_of_250_events():
    generated = analysis({"gun": {"generator": {"process": "ttbar", "events": 1100}}})
    found = jobs(generated, "generate", Division(events=500))
    assert [(job.first, job.last, job.entries) for job in found] == [(0, 1, 500), (2, 3, 500), (4, 4, 100)]
    with pytest.raises(UserError, match="generator"):
        jobs(listed(tt=1), "generate")


def test_a_division_by_events_counts_them(tmp_path: Path):
    for i, size in enumerate((300, 100, 100, 50)):
        toys.write(tmp_path / f"tt{i}.root", toys.nano_events(size, True, first=1000 * i))
    files = [str(tmp_path / f"tt{i}.root") for i in range(4)]
    found = jobs(analysis({"tt": {"files": files}}), "convert", Division(events=200))
    assert [(job.first, job.last, job.entries) for job in found] == [(0, 0, 300), (1, 2, 200), (3, 3, 50)]


def test_a_skim_that_merges_is_divided_by_its_outputs(tmp_path: Path):
    for i in range(4):
        (tmp_path / f"{i}.root").write_bytes(b"x" * 1000)
    merged = analysis({"tt": {"files": [str(tmp_path / f"{i}.root") for i in range(4)]}}, skim={"target_size": "2 kB"})
    found = jobs(merged, "skim", Division(files=1))
    assert shares(found) == [(0, "tt", 0, 0), (1, "tt", 1, 1)]
    assert len(found[0].inputs) == 2


def test_whole_stages_have_one_job_and_a_search_its_workers():
    assert shares(jobs(listed(tt=3), "train")) == [(0, None, 0, 0)]
    searching = analysis({"tt": {"files": ["/a.root"]}}, batch={"workers": 3})
    assert [job.number for job in jobs(searching, "tune")] == [0, 1, 2]


def test_a_plan_survives_the_disk(tmp_path: Path):
    found = jobs(listed(tt=5), "convert", Division(files=2))
    resources = Resources.of("convert", BatchBlock().needs("convert"))
    plan = Plan("run", "toy", "convert", "condor", "0" * 64, found, resources, "parts", ("convert", "analysis.yaml"))
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == plan
    assert plan.columns == ("number", "sample", "first", "last")
    (tmp_path / "plan.json").write_text('{"version": 99}')
    with pytest.raises(DataError, match="another version"):
        Plan.read(tmp_path / "plan.json")


def test_what_a_stage_asks_for():
    """A stage's own block comes before the common one, and that before the defaults; GPUs are for trainings."""
    batch = BatchBlock.model_validate(
        {
            "flavour": "workday",
            "memory": "3 GB",
            "gpu": 1,
            "train": {"runtime": "8 h", "cores": 8},
            "skim": {"disk": 500},
        }
    )
    train, skim = (Resources.of(stage, batch.needs(stage)) for stage in ("train", "skim"))
    assert (train.flavour, train.runtime, train.cores, train.memory, train.gpus) == (None, 28_800, 8, 3000, 1)
    assert (skim.flavour, skim.runtime, skim.cores, skim.disk, skim.gpus) == ("workday", 28_800, 1, 500, 0)
    assert train.checkpoint > 0
    assert skim.checkpoint == 0


@pytest.mark.parametrize("stage", STAGES)
def test_the_defaults_keep_the_limits_of_the_site(stage: str):
    found = Resources.of(stage, BatchBlock().needs(stage))
    assert found.memory <= 2000 * found.cores
    assert found.disk <= 20_000 * found.cores


@pytest.mark.parametrize(
    "block, words",
    [
        ({"flavour": "espresso", "runtime": 60}, "not both"),
        ({"memory": "2 TB"}, "MB, GB"),
        ({"runtime": "soon"}, "min, h, d"),
        ({"split": {"files": 1, "events": 2}}, "exactly one"),
        ({"environment": {"venv": "/a", "apptainer": {"image": "/b.sif"}}}, "give one of"),
        ({"mode": "eossubmit", "site": "lpc"}, "CERN"),
        ({"output": "/eos/user/j/my files"}, "blanks"),
        ({"accounting_group": "group; rm"}, "one word of letters"),
    ],
)
def test_a_mistake_in_the_block_is_refused(block: dict[str, Any], words: str):
    with pytest.raises(ValidationError, match=words):
        BatchBlock.model_validate(block)


def test_stages_that_need_more_say_so():
    assert command("predict", None, Path("/run")) == ("predict", "/run", "files.txt", "--trust")
    assert command("train", Path("/data"), None) == ("train", "analysis.yaml", "--data", "/data", "--trust")
    with pytest.raises(UserError, match="--run"):
        command("evaluate", None, None)
    with pytest.raises(UserError, match="--data"):
        command("tune", None, None)
    with pytest.raises(UserError, match="--data: 'skim'"):
        command("skim", Path("/data"), None)
