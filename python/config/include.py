"""``include``: samples that stand in files of their own, as ``nanoforge catalogue`` and ``produce`` write them."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..errors import UserError
from .text import AnalysisText

_KEY = "include"


def merged(config: DictConfig, path: Path) -> DictConfig:
    """Return a configuration with the samples of the files that it includes; its own keys have the last word.

    Parameters
    ----------
    config
        As it was read.
    path
        Of the analysis file: names are relative to its folder.

    Raises
    ------
    UserError
        When a file cannot be read, or has no samples.
    """
    if _KEY not in config:
        return config
    names = OmegaConf.to_container(config, resolve=False)[_KEY]  # type: ignore[call-overload, index]
    whole = OmegaConf.create({})
    for name in [names] if isinstance(names, str) else names:
        if not isinstance(name, str):
            raise UserError(f"{path}: {_KEY}: should be the name of a file, or a list of names")
        included = path.parent / os.path.expanduser(name)  # noqa: PTH111 - Path.expanduser fails on ~nobody
        whole = OmegaConf.merge(whole, {"samples": samples_in(included, f"{path}: {_KEY}")})  # type: ignore[assignment]
    return OmegaConf.merge(whole, config)  # type: ignore[return-value]


def samples_in(source: Path, where: str) -> dict[str, Any]:
    """Read the samples of a file; their own files are relative to its folder.

    Raises
    ------
    UserError
        When it cannot be read, or has none; ``where`` is the place that names it.
    """
    try:
        text = AnalysisText(source.read_text(encoding="utf-8-sig"), f"{where}: {source}")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: {source}: cannot be read ({error})") from None
    config = OmegaConf.load(io.StringIO(text.content), max_yaml_expanded_nodes=None)  # many samples are no attack
    content: Any = OmegaConf.to_container(config, resolve=False)
    samples = content.get("samples") if isinstance(content, dict) else None
    if not isinstance(samples, dict) or not all(isinstance(sample, dict) for sample in samples.values()):
        raise UserError(f"{where}: {source}: has no 'samples', each with its keys")
    return {str(name): _anchored(sample, source.parent) for name, sample in samples.items()}


def _anchored(sample: dict[str, Any], folder: Path) -> dict[str, Any]:
    files = sample.get("files")
    if files is None:
        return sample
    names = [files] if isinstance(files, str) else files
    anchored = [name if "://" in str(name) else os.path.normpath(folder.absolute() / str(name)) for name in names]
    return {**sample, "files": anchored}
