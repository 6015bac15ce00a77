"""What helps jobs of CRAB's own tasks, by their exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from nanoforge.batch.crab_retry import Options, Prospect, Tries, next_try, prospect
from nanoforge.batch.events import JobState, Process
from nanoforge.batch.plan import Resources
from nanoforge.errors import DataError

RESOURCES = Resources(cores=1, memory=2000, disk=1000, runtime=3600)


def failed(code: int | None, reason: str = "") -> Process:
    return Process(JobState.FAILED, reason, exit_code=code)


@pytest.mark.parametrize(
    ("code", "before", "options"),
    [
        (50660, [], {"maxmemory": "4000"}),
        (50660 & 255, [{"maxmemory": "20000"}], {"maxmemory": "30720"}),
        (50664, [{"maxmemory": "4000"}], {"maxmemory": "4000", "maxjobruntime": "120"}),
        (8028, [], {"siteblacklist": "T2_A_B,T2_DE_DESY"}),
        (8021, [{"siteblacklist": "T2_A_B,T1_C_D"}], {"siteblacklist": "T2_A_B,T1_C_D,T2_DE_DESY"}),
        (139, [], {}),
        (10034, [{"maxmemory": "4000"}], {"maxmemory": "4000"}),
        (None, [], {}),
    ],
)
def test_a_try_gets_what_the_one_before_lacked(code: int | None, before: list[Options], options: Options) -> None:
    assert next_try(failed(code), before, RESOURCES, ["T2_A_B"], "T2_DE_DESY") == options


def test_where_it_ran_may_be_unknown() -> None:
    assert next_try(failed(8021), [], RESOURCES, [], "") == {}


def test_what_another_try_does_not_help() -> None:
    assert prospect(failed(7001), []) is Prospect.NEVER
    assert prospect(failed(7001 & 255), []) is Prospect.NEVER
    assert prospect(failed(139), []) is Prospect.AGAIN
    assert prospect(failed(139), [{}]) is Prospect.LOST
    assert all(prospect(failed(code), [{}] * 9) is Prospect.AGAIN for code in (8021, 50660, 50664, 10034, None))


def test_tries_are_kept(tmp_path: Path) -> None:
    tries = Tries.read(tmp_path / "tries.json")
    tries.add([1, 3], {})
    tries.add([3], {"maxmemory": "4000"})
    assert Tries.read(tmp_path / "tries.json").of_jobs == {1: [{}], 3: [{}, {"maxmemory": "4000"}]}
    (tmp_path / "tries.json").write_text("[1]")
    with pytest.raises(DataError, match="is damaged"):
        Tries.read(tmp_path / "tries.json")
