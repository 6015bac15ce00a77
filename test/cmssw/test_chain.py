"""The chain of a job: what it asks of cmsDriver is what central production did, and what it does without pile-up."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import published
import pytest
from nanoforge.cmssw import chain, commands, eras
from test_configurations import _OURS, _options


def steps(era: str, end: str = "nano", pileup: str | None = "premixed.root", **changes: Any) -> list[chain.ChainStep]:
    return chain.steps(era, end, "fragment.py", False, changes.get("accepted", False), changes.get("skim"), pileup)


def options(step: chain.ChainStep) -> dict[str, Any]:
    return vars(_options(shlex.join(step.arguments[1:])))


@pytest.mark.parametrize("era", eras.ERAS)
def test_its_steps_are_those_of_central_production(era: str) -> None:
    ours = {step.name: step for step in steps(era)}
    assert [*published.steps(era), "nano"] == list(ours)
    apart = {*_OURS, "pileup_input"}  # of the premixed dataset, files on disk
    for name, (area, words) in published.steps(era).items():
        theirs, found = vars(_options(words)), options(ours[name])
        assert [ours[name].row.release, ours[name].row.arch] == area
        assert {k: found[k] for k in theirs if k not in apart} == {k: theirs[k] for k in theirs if k not in apart}
        assert (found["customise_commands"] or "").startswith(theirs["customise_commands"] or "")
        assert theirs["pileup_input"] is None or theirs["pileup_input"] == eras.ERAS[era].pileup
    files = [step.arguments[step.arguments.index("--fileout") + 1] for step in ours.values()]
    assert files == [f"file:{name}.root" for name in ours]
    systems = {step.name: step.system for step in ours.values()}
    assert systems["gensim"] == ("el7" if era < "2020" else "el8") and systems["nano"] == "el8"


@pytest.mark.parametrize("era", eras.ERAS)
def test_without_pileup_nothing_is_mixed_in(era: str) -> None:
    digi = next(step for step in steps(era, pileup=None) if step.name == "digi")
    found, mixed = options(digi), options(next(step for step in steps(era) if step.name == "digi"))
    assert found["step"] == mixed["step"].replace(",DATAMIX", "") and found["eventcontent"] == "RAWSIM"
    assert (found["pileup"], found["datamix"], found["pileup_input"]) == ("NoPileUp", None, None)
    assert "premix" not in (found["procModifiers"] or "")
    assert (found["procModifiers"] == "siPixelQualityRawToDigi") == (era in ("2022", "2022EE"))
    assert digi.module == "RAWSIMoutput"


def test_the_script_builds_the_package_where_it_is_needed(tmp_path: Path) -> None:
    made = steps("2018", accepted=True, skim="skim.json")
    text = chain.script("2018", "signal", "fragment.py", made, "1.0")
    (tmp_path / "chain.sh").write_text(text)
    subprocess.run(["bash", "-n", tmp_path / "chain.sh"], check=True)
    cases = {
        name: case
        for name, case in (part.split(")\n", 1) for part in text.split("case ${2:-} in\n")[1].split(";;\n")[:6])
    }
    assert list(cases) == ["gensim", "digi", "hlt", "reco", "mini", "nano"]
    assert [name for name, case in cases.items() if "scramv1 build" in case] == ["gensim", "nano"]
    assert commands.ACCEPT.split(";")[0] in cases["gensim"] and "nanoforge_skim" in cases["nano"]
    assert steps("2022", end="mini")[-1].name == "mini"


def test_particles_of_jets_are_added_to_nanoaod_alone() -> None:
    made = chain.steps("2022", "nano", "fragment.py", False, False, "skim.json", "premixed.root", candidates=True)
    changed = {
        step.name: dict(zip(step.arguments, step.arguments[1:])).get("--customise_commands", "") for step in made
    }
    assert [name for name, text in changed.items() if "addPFCands" in text] == ["nano"]
    assert changed["nano"].index("addPFCands") < changed["nano"].index("addSkim") and made[-1].package
