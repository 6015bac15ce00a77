"""The pages for users: their analysis files are right, and their commands exist and do what can be done anywhere."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
from pathlib import Path
from typing import Any, Callable

import nanoforge
import pages
import pytest
import toys
import typer
import yaml
from nanoforge.batch.crab_rules import SANDBOX_BYTES
from nanoforge.cli import app
from nanoforge.config import load
from nanoforge.registry import REGISTRIES
from nanoforge.simulation.presets import Preset

LXPLUS = pages.DOC / "lxplus.md"
EXAMPLES = pages.DOC / "examples"
COMMANDS: Any = typer.main.get_command(app)
each_page = pytest.mark.parametrize("path", pages.PAGES, ids=lambda path: path.stem)


@pytest.fixture
def page(tmp_path: Path) -> dict[str, Any]:
    """The analysis file of the page, with files that are there."""
    for name in ("tt1", "tt2", "dy1"):
        (tmp_path / f"{name}.root").touch()
    analysis, grid = (yaml.safe_load(block) for block in pages.blocks(LXPLUS, "yaml"))
    analysis["samples"]["ttbar"]["files"] = str(tmp_path / "tt*.root")
    analysis["samples"]["dy"]["files"] = str(tmp_path / "dy*.root")
    analysis["batch"]["environment"] = "local"
    return {"condor": analysis, "crab": {**analysis, "batch": {**grid["batch"], "environment": "local"}}}


@each_page
def test_blocks_of_commands_are_sound_for_a_shell(path: Path) -> None:
    for block in pages.blocks(path, "bash"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_dry_runs_of_the_page_work_on_any_machine(
    page: dict[str, Any], nanoforge: Callable[..., Any], tmp_path: Path
) -> None:
    dry = [words for words in pages.commands(LXPLUS) if words[:2] == ["nanoforge", "submit"] and "--dry-run" in words]
    assert [words[2] for words in dry] == ["condor", "crab"]
    for words in dry:
        (tmp_path / "analysis.yaml").write_text(yaml.safe_dump(page[words[2]], sort_keys=False))
        answer = nanoforge(*words[1:])
        assert answer.returncode == 0, answer.stderr
        folder = words[words.index("-o") + 1]
        assert "not submitted" in nanoforge("status", folder).stdout


@each_page
def test_commands_have_the_options_that_they_are_quoted_with(path: Path) -> None:
    given = [" ".join(words).partition("-m nanoforge ") for words in pages.commands(path)]
    said = [["nanoforge", *after.split()] if module else before.split() for before, module, after in given]
    said = [words for words in said if words[0] == "nanoforge"]
    for words in [*said, *pages.quoted_commands(path)]:
        check_command([word for word in words[1:] if word not in ("...", "…")])


def check_command(words: list[str]) -> None:
    """Parse what follows the word nanoforge; arguments may be left out where a text just names a command."""
    if words and words[0] in ("--debug", "COMMAND"):
        words = words[1:]
    if not words or words[0].startswith("--") or words[0].isupper():
        options = ["--help", *(option for parameter in COMMANDS.params for option in parameter.opts)]
        assert all(word in options for word in words if word.startswith("-")), words
        return
    command = COMMANDS.commands[words[0]]
    rest = words[1 : words.index(">")] if ">" in words else words[1:]
    try:
        command.make_context(words[0], list(rest), resilient_parsing=False)
    except Exception as error:  # of click, or of typer's copy of it; an option such as --help ends with Exit
        assert type(error).__name__ in ("MissingParameter", "Exit"), f"{words}: {error}"


@each_page
def test_the_targets_of_make_exist(path: Path) -> None:
    makefile = (pages.ROOT / "Makefile").read_text()
    quoted = re.findall(r"`make (\w+)`", path.read_text())
    for target in [*quoted, *(words[1] for words in pages.commands(path) if words[0] == "make")]:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@each_page
def test_links_lead_somewhere(path: Path) -> None:
    for link in pages.links(path):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), link
        assert pages.ROOT in there.parents and (path.parent != pages.DOC or pages.DOC in there.parents), link
        assert not anchor or anchor in pages.anchors(there), link


def test_every_page_is_in_the_navigation() -> None:
    site = (pages.DOC / "site" / "mkdocs.yml").read_text()
    named = set(re.findall(r"[\w]+\.md", site[site.index("nav:") :]))
    assert named == {path.name for path in pages.DOC.glob("*.md")}


def test_the_tables_of_all_keys_are_current() -> None:
    page = (pages.DOC / "analysis.md").read_text()
    assert page == pages.with_tables(page), "run 'python test/pages.py'"
    assert page.count("| key | takes |") > 20


def test_the_map_has_every_room() -> None:
    page = (pages.DOC / "design.md").read_text()
    rooms = {path.parent.name for path in (pages.ROOT / "python").glob("*/__init__.py")}
    assert rooms <= set(re.findall(r"\b(\w+)/", page))


def test_every_kind_of_addition_has_its_recipe() -> None:
    page = (pages.DOC / "extending.md").read_text()
    assert [kind for kind in REGISTRIES if not re.search(rf"(`|list ){kind}`", page)] == []


def test_the_readme_is_short() -> None:
    assert len((pages.ROOT / "README.md").read_text().splitlines()) <= 120


@each_page
def test_blocks_of_yaml_are_right(path: Path, tmp_path: Path) -> None:
    """A whole analysis file loads; a part of one loads in the place of the same part of a small file."""
    base = {
        "name": "page",
        "samples": {"a": {"files": "a.root", "label": "a"}, "b": {"files": "b.root", "label": "b"}},
        "inputs": {"event": {"features": ["MET_pt"]}, "jets": {"collection": "Jet", "length": 2, "features": ["pt"]}},
    }
    (tmp_path / "my_network.py").write_text("def transverse_mass(*_): ...")
    (tmp_path / "samples.yaml").write_text(yaml.safe_dump({"samples": base["samples"]}))  # which a block includes
    for block in pages.blocks(path, "yaml"):
        content = yaml.safe_load(block)
        if content == {"name": "ttbar_vs_dy"}:
            continue
        if "description" in content:
            Preset.model_validate(content)
            continue
        variables = content.get("training", {}).get("balance", {}).get("shape", {}).get("variables", {})
        part = {**base, **content, **({"keep": list(variables)} if variables else {})}
        if "samples" in content and "label" not in str(content):
            part["target"] = {"regression": {"x": "MET_pt"}}
        if "acceptance" in content.get("cmssw", {}):
            part["samples"] = {"gun": {"label": "a", "generator": {"process": "ttbar"}}}
        (tmp_path / "analysis.yaml").write_text(yaml.safe_dump(part, sort_keys=False))
        load(tmp_path / "analysis.yaml")


def test_blocks_of_python_call_what_there_is() -> None:
    blocks = [ast.parse(block) for page in pages.PAGES for block in pages.blocks(page, "python")]
    functions = [call for tree in blocks for call in ast.walk(tree) if isinstance(call, ast.Call)]
    ours = [call for call in functions if re.fullmatch(r"nanoforge\.\w+", ast.unparse(call.func))]
    assert len(ours) > 8
    for call in ours:
        offered = getattr(nanoforge, ast.unparse(call.func).removeprefix("nanoforge."))
        inspect.signature(offered).bind(*call.args, **{str(keyword.arg): keyword for keyword in call.keywords})


def messages() -> str:
    """All texts of the program, with … where it puts a value."""

    def text(node: ast.expr) -> str:
        if isinstance(node, ast.JoinedStr):
            return "".join(text(value) for value in node.values)
        return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "…"

    sources = Path(nanoforge.__file__).resolve().parent.rglob("*.py")
    trees = [ast.parse(path.read_text()) for path in sources]
    shell = [path.read_text() for folder in ("condor", ".") for path in (pages.ROOT / folder).glob("[jM]*")]
    kinds = (ast.JoinedStr, ast.Constant)
    return "\n".join([text(node) for tree in trees for node in ast.walk(tree) if isinstance(node, kinds)] + shell)


def test_symptoms_are_what_the_program_says() -> None:
    texts = messages()
    rows = re.findall(r"^\| (`[^|]*) \|", (pages.DOC / "troubleshooting.md").read_text(), re.MULTILINE)
    said = [piece.strip() for row in rows for quote in re.findall(r"`([^`]*)`", row) for piece in quote.split("…")]
    missing = [piece for piece in said if len(piece) > 4 and piece not in texts]
    assert len(said) > 40 and not missing


@pytest.mark.parametrize("name", ["quickstart", "jet_flavour", "trees_in_folds", "own_network"])
def test_examples_convert_events(name: str, nanoforge: Callable[..., Any], tmp_path: Path) -> None:
    analysis = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    for number, sample in enumerate(analysis["samples"]):
        toys.write(tmp_path / f"{sample}.root", toys.nano_events(400, sample == "ttbar", first=1000 * number))
    for path in (EXAMPLES / f"{name}.yaml", EXAMPLES / "my_network.py"):
        (tmp_path / path.name).write_text(path.read_text())
    changes = [f"samples.{sample}.files={sample}.root" for sample in analysis["samples"]]
    changes += [f"samples.{sample}.sumw=events" for sample, content in analysis["samples"].items() if "xsec" in content]
    answer = nanoforge("convert", f"{name}.yaml", *changes, "-o", "dataset")
    assert answer.returncode == 0, answer.stderr
    if name == "own_network":
        answer = nanoforge("train", f"{name}.yaml", *changes, "training.epochs=1", "--data", "dataset", "-o", "run")
        assert answer.returncode == 0, answer.stderr


def test_completion_knows_commands_and_options(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    for words, index, expected in (("nanoforge ev", "1", "evaluate"), ("nanoforge convert --skip", "2", "--skip-bad-")):
        monkeypatch.setenv("_NANOFORGE_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", index)
        with pytest.raises(SystemExit) as end:
            app(prog_name="nanoforge")
        assert not end.value.code and expected in capsys.readouterr().out


def test_the_limit_of_the_sandbox_is_that_of_the_rules() -> None:
    assert f"what travels with them ({SANDBOX_BYTES // 1024**2} MB at most)" in (pages.DOC / "lxplus.md").read_text()
