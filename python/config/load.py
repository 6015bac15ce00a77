"""Read an analysis file: YAML with interpolation and overrides in, a validated :class:`Analysis` out."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from ..errors import UserError
from ..registry import beside
from . import include
from .alternatives import drop_other_options
from .limits import check_aliases, check_interpolations
from .mistakes import explain
from .schema import Analysis
from .text import AnalysisText, yaml_problem


def load(
    path: str | os.PathLike[str], overrides: Sequence[str] = (), note: Callable[[str], None] = lambda _: None
) -> Analysis:
    """Load, override and validate an analysis file.

    Parameters
    ----------
    path
        The YAML file. Relative paths inside it are relative to its own folder.
    overrides
        ``key=value`` pairs as given on the command line, e.g. ``training.epochs=5``.
    note
        Is told what of the file an override leaves out.

    Returns
    -------
    Analysis
        The resolved analysis; its file names are absolute.

    Raises
    ------
    UserError
        With the file, the key path and what was expected there.
    """
    path = Path(path)
    text = AnalysisText(_read(path), str(path))
    content = _merge(path, text, parse_overrides(overrides), note)
    return _absolute(validated(content, str(path), text), path.resolve().parent)


def validated(content: Any, source: str, text: AnalysisText | None = None) -> Analysis:
    """Make an analysis of plain types; a mistake in it is a :class:`UserError` that begins with ``source``.

    ``text`` is what the content was read from, for the line of a mistake.
    """
    try:
        return Analysis.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{source}: {explain(error.errors(), Analysis, text)}") from None


def parse_overrides(overrides: Iterable[str]) -> list[str]:
    """Check that every word has the form ``key=value``."""
    overrides = list(overrides)
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals or not key:
            raise UserError(f"{override!r} is not an override: write key=value, e.g. training.epochs=5")
    return overrides


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; 'nanoforge init FILES' writes an analysis file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a text file ({error})") from None


def _merge(path: Path, text: AnalysisText, overrides: Sequence[str], note: Callable[[str], None]) -> Any:
    try:
        config = OmegaConf.load(io.StringIO(text.content), max_yaml_expanded_nodes=None)  # 10,000 files are no attack
        if not isinstance(config, DictConfig):
            raise UserError(f"{path}: expected 'key: value' lines, found a list")
        check_interpolations(OmegaConf.to_container(config, resolve=False), str(path))
        for override in overrides:
            if override.startswith("include="):
                _override(config, override)
        config = include.merged(config, path)
        drop_other_options(config, overrides, note)
        for override in overrides:
            _override(config, override)
        check_interpolations(OmegaConf.to_container(config, resolve=False), f"{path} and its overrides")
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {yaml_problem(error, text.content)}") from None
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        key_path = f"{path}: {key}" if key else str(path)
        raise UserError(f"{key_path}: {str(error).splitlines()[0]}") from None
    except ValueError as error:  # a tag that its value does not fit: !!int many
        raise UserError(f"{path}: not valid YAML: {error}") from None


def _override(config: DictConfig, override: str) -> None:
    """Put one ``key=value`` into the configuration; an element of a list goes by its number.

    A block takes the place of another, and is not mixed with it: another model has other options.
    """
    key, _, text = override.partition("=")
    try:
        check_aliases(yaml.compose(text, yaml.SafeLoader), f"override {override[:80]!r}")
        if text.lstrip().startswith("{"):
            OmegaConf.update(config, key, OmegaConf.create(text), merge=False)
        else:
            config.merge_with_dotlist([override])
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"override {override!r}: the value is not valid YAML: {problem}") from None
    except RecursionError:
        raise UserError(f"override {override[:80]!r}: blocks within blocks without end: that is no analysis") from None
    except (OmegaConfBaseException, TypeError, ValueError, LookupError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"override {override!r}: there is no such place in the analysis file ({reason})") from None


def _absolute(analysis: Analysis, folder: Path) -> Analysis:
    """Anchor local file names at the folder of the analysis file, so that every later stage finds them."""

    def anchor(name: str) -> str:
        if "://" in name:
            return name
        return os.path.normpath(folder / os.path.expanduser(name))  # noqa: PTH111 - Path.expanduser fails on ~nobody

    samples = {}
    for key, sample in analysis.samples.items():
        changed: dict[str, Any] = {} if sample.files is None else {"files": [anchor(f) for f in sample.files]}
        if isinstance(sample.sumw, str) and sample.sumw != "events":
            changed["sumw"] = anchor(sample.sumw)
        if sample.generator is not None and sample.generator.files:
            changed["generator"] = sample.generator.anchored(anchor)
        samples[key] = sample.model_copy(update=changed)

    cmssw = analysis.cmssw and analysis.cmssw.anchored(anchor)
    changes: dict[str, Any] = {"samples": samples, "cmssw": cmssw, **_beside(analysis, folder)}
    if analysis.training.init is not None:
        init = analysis.training.init.model_copy(update={"run": anchor(analysis.training.init.run)})
        changes["training"] = changes["training"].model_copy(update={"init": init})
    environment = analysis.batch.environment.with_code(lambda spec: beside(spec, folder))
    if environment is not analysis.batch.environment:
        changes["batch"] = analysis.batch.model_copy(update={"environment": environment})
    if analysis.golden_json:
        changes["golden_json"] = anchor(analysis.golden_json)
    return analysis.model_copy(update=changes)


def _beside(analysis: Analysis, folder: Path) -> dict[str, Any]:
    """Return the keys that name the user's own modules, with those that lie beside the analysis file as files."""

    def absolute(spec: str) -> str:
        return beside(spec, folder)

    loss = analysis.training.loss
    dataset, evaluation, tracking = analysis.dataset, analysis.evaluation, analysis.tracking
    additions = {key: list(map(absolute, getattr(evaluation, key))) for key in ("functions", "figures")}
    return {
        "functions": list(map(absolute, analysis.functions)),
        "formats": list(map(absolute, analysis.formats)),
        "evaluation": evaluation.model_copy(update=additions),
        "tracking": tracking.model_copy(update={"to": list(map(absolute, tracking.to))}),
        "dataset": dataset.model_copy(update={"format": absolute(dataset.format)}),
        "model": analysis.model.with_code(absolute),
        "training": analysis.training.model_copy(update={"loss": loss and loss.with_code(absolute)}),
    }
