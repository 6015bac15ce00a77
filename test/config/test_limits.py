"""A small text cannot make an analysis without end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from nanoforge.config import load
from nanoforge.errors import UserError

HEAD = "samples: {a: {files: a.root, label: a}, b: {files: b.root, label: b}}\ninputs: {event: {features: [x]}}\n"
LEVELS = range(1, 30)
BOMBS = {
    "aliases": "define:\n  x0: &x0 [1, 2]\n" + "".join(f"  x{i}: &x{i} [*x{i - 1}, *x{i - 1}]\n" for i in LEVELS),
    "texts": "define:\n  x0: '1'\n" + "".join(f"  x{i}: '${{define.x{i - 1}}} + ${{.x{i - 1}}}'\n" for i in LEVELS),
    "lists": "define:\n  x0: [1]\n"
    + "".join(f"  x{i}: ['${{define.x{i - 1}}}', '${{define.x{i - 1}}}']\n" for i in LEVELS),
    "depth": f"define: {'[' * 5000}{']' * 5000}\n",
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("where", ["the file", "an override"])
def test_what_multiplies_without_end_is_refused_at_once(tmp_path: Path, bomb: str, where: str) -> None:
    path = tmp_path / "analysis.yaml"
    overrides = []
    path.write_text(HEAD + (BOMBS[bomb] if where == "the file" else ""))
    if where == "an override":
        lines = BOMBS[bomb].removeprefix("define:").strip().splitlines()
        if bomb in ("aliases", "depth"):
            overrides = [f"define={{{', '.join(lines)}}}" if bomb == "aliases" else f"define={lines[0]}"]
        else:
            overrides = [f"define.{key.strip()}={value.strip()}" for key, _, value in (r.partition(":") for r in lines)]
    start = time.monotonic()
    with pytest.raises(UserError, match=r"more than 1,000,000 values|without end|nesting depth"):
        load(path, overrides)
    assert time.monotonic() - start < 20


def test_ten_thousand_files_and_usual_interpolations_are_none(tmp_path: Path) -> None:
    path = tmp_path / "analysis.yaml"
    files = ", ".join(f"/data/{i}.root" for i in range(2_000))
    path.write_text(
        f"name: x\ndefine: {{a: '1', b: '${{.a}} + ${{define.a}}'}}\n{HEAD.replace('a.root', f'[{files}]')}"
    )
    assert load(path, ["define.c='${define.b} * 2'"]).define["c"] == "1 + 1 * 2"
