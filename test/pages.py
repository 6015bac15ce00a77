"""The pages for users, taken apart for their tests; as a script it writes the tables that the program itself knows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOC = ROOT / "doc"
PAGES = [ROOT / "README.md", *sorted(DOC.glob("*.md"))]
KEYS = re.compile(r"(<!-- keys: [^\n]*-->\n)(.*?)(<!-- end of keys -->)", re.DOTALL)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def blocks(page: Path, language: str) -> list[str]:
    """Return the contents of the code blocks in a language."""
    return [text for kind, text in _FENCE.findall(page.read_text()) if kind == language]


def commands(page: Path) -> list[list[str]]:
    """Return the commands of the blocks for a shell, as words without comments."""
    lines = [line for block in blocks(page, "bash") for line in block.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def quoted_commands(page: Path) -> Iterator[list[str]]:
    """Yield the commands of ours that the text quotes (`nanoforge ...`), outside of code blocks."""
    for text in re.findall(r"`(nanoforge [^`]*)`", _FENCE.sub("", page.read_text())):
        yield shlex.split(text.replace("\n", " "))


def links(page: Path) -> list[str]:
    """Return where the links of a page lead."""
    return _LINK.findall(_FENCE.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub, GitLab and mkdocs make of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading).strip()) for heading in plain}


def with_tables(page: str) -> str:
    """Return the text of a page with the tables of all keys as they are now."""
    from nanoforge.config.reference import markdown

    tables = markdown()
    return KEYS.sub(lambda found: f"{found[1]}\n{tables}\n{found[3]}", page)


if __name__ == "__main__":
    path = DOC / "analysis.md"
    path.write_text(with_tables(path.read_text()))
