"""What commands do before and after their stage: read what a user may have mistyped, and name the next command.

It is read before a stage is imported, which takes seconds.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from ..config import Analysis
    from ..provenance import Manifest

YAML = (".yaml", ".yml")
"""How the name of an analysis file ends."""


def load_analysis(config: Path, overrides: Optional[list[str]] = None) -> Analysis:
    """Read an analysis file, with changes (key=value)."""
    from ..config import load
    from ..console import say

    return load(config, overrides or (), say)


def training_data(data: Path, overrides: Optional[list[str]] = None) -> Path | Analysis:
    """Read the analysis whose files are the training data, or see whether the dataset is there."""
    if data.suffix in YAML:
        return load_analysis(data, overrides)
    from ..provenance import Manifest

    Manifest.read(data, "convert")
    return data


def read_run(run: Path) -> Manifest:
    """Read the manifest of a run that train made."""
    from ..provenance import Manifest

    return Manifest.read(run, "train")


def name_next(*words: object) -> None:
    """Name the command that comes next, as it can be pasted into a shell."""
    from ..console import say

    say(f"next: {shlex.join(['nanoforge', *map(str, words)])}")
