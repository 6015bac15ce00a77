"""Read an analysis file: YAML with interpolation and overrides in, a validated :class:`Analysis` out."""

from __future__ import annotations

import os
import types
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from ..errors import UserError, nearest
from .models import CustomModel
from .schema import Analysis


def load(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Analysis:
    """Load, override and validate an analysis file.

    Parameters
    ----------
    path
        The YAML file. Relative paths inside it are relative to its own folder.
    overrides
        ``key=value`` pairs as given on the command line, e.g. ``training.epochs=5``.

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
    return _absolute(validated(_merge(path, overrides), str(path)), path.resolve().parent)


def validated(content: Any, place: str) -> Analysis:
    """Make an analysis of plain types; a mistake in it is a :class:`UserError` that begins with ``place``."""
    try:
        return Analysis.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{place}: {_explain(error)}") from None


def parse_overrides(words: Iterable[str]) -> list[str]:
    """Check that every word has the form ``key=value``."""
    words = list(words)
    for word in words:
        key, equals, _ = word.partition("=")
        if not equals or not key:
            raise UserError(f"{word!r} is not an override: write key=value, e.g. training.epochs=5")
    return words


def _merge(path: Path, overrides: Sequence[str]) -> Any:
    try:
        with path.open() as file:
            config = OmegaConf.load(file, max_yaml_expanded_nodes=None)  # 10,000 files are no attack
        if not isinstance(config, DictConfig):
            raise UserError(f"{path}: expected 'key: value' lines, found a list")
        for word in parse_overrides(overrides):
            _override(config, word)
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; 'nanoforge init FILES' writes an analysis file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a text file ({error})") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {_yaml_problem(error)}") from None
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        place = f"{path}: {key}" if key else str(path)
        raise UserError(f"{place}: {str(error).splitlines()[0]}") from None
    except ValueError as error:  # a tag that its value does not fit: !!int many
        raise UserError(f"{path}: not valid YAML: {error}") from None


def _override(config: DictConfig, word: str) -> None:
    """Put one ``key=value`` into the configuration; an element of a list goes by its number.

    A block takes the place of another, and is not mixed with it: another model has other options.
    """
    key, _, text = word.partition("=")
    try:
        if text.lstrip().startswith("{"):
            OmegaConf.update(config, key, OmegaConf.create(text), merge=False)
        else:
            config.merge_with_dotlist([word])
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"override {word!r}: the value is not valid YAML: {problem}") from None
    except (OmegaConfBaseException, TypeError, ValueError, LookupError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"override {word!r}: there is no such place in the analysis file ({reason})") from None


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


def _explain(error: ValidationError) -> str:
    """Say the first problem in one line: key path, what was expected, the nearest known key."""
    places: dict[tuple[str, ...], tuple[Any, type[BaseModel] | None]] = {}
    for problem in error.errors():
        parent, keys = _walk(problem["loc"])
        if problem["type"].startswith("union_tag"):
            keys.append("type")
        places.setdefault(tuple(keys), (problem, parent))
    # of the alternatives of a union, the one that got furthest is the one that was meant
    mistakes = {k: v for k, v in places.items() if not any(k == other[: len(k)] for other in places if other != k)}
    path = next((k for k, (p, _) in mistakes.items() if p["type"] == "extra_forbidden"), next(iter(mistakes)))
    more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    place = f"{'.'.join(path) or repr('')}: " if path else ""
    return place + _complaint(*mistakes[path], path) + more


def _complaint(problem: Any, parent: type[BaseModel] | None, path: tuple[str, ...]) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        known = list(parent.model_fields) if parent else []
        return "unknown key" + (nearest(path[-1], known) or f"; known here: {', '.join(known)}")
    if kind in ("missing", "union_tag_not_found"):
        return "this key is required"
    if kind == "union_tag_invalid":
        known = [tag.strip("' ") for tag in context["expected_tags"].split(",")]
        return f"{context['tag']!r} is unknown{nearest(context['tag'], known) or '; known: ' + ', '.join(known)}"
    message = problem["msg"].removeprefix("Value error, ")
    given = problem["input"]
    shown = f" (given: {given!r})" if isinstance(given, (str, int, float, bool)) else ""
    return f"{message[0].lower() + message[1:]}{shown}"


def _walk(location: tuple[int | str, ...]) -> tuple[type[BaseModel] | None, list[str]]:
    """Follow pydantic's error location; drop the steps that only say which alternative of a union was tried."""
    parent: type[BaseModel] | None = None
    here: Any = Analysis
    keys: list[str] = []
    for step in location:
        branches = _branches(here)
        if step == "[key]":  # pydantic's mark for a key that is wrong itself
            continue
        if len(branches) > 1:
            here = next((b for b in branches if _is_alternative(b, str(step))), None)
            continue
        if not branches:
            continue
        keys.append(str(step))
        if _is_model(branches[0]):
            parent = branches[0]
            here = parent.model_fields[str(step)].annotation if step in parent.model_fields else None
        else:
            here = (typing.get_args(branches[0]) or (None,))[-1]
    return parent, keys


def _is_alternative(branch: Any, step: str) -> bool:
    """Whether a step of pydantic's error location names this branch of a union."""
    if _is_model(branch):
        return step in (branch.__name__, _tag(branch))
    return typing.get_origin(branch) is dict and "dict[" in step


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _tag(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("type")
    return typing.get_args(field.annotation)[0] if field is not None else None


def _branches(annotation: Any) -> list[Any]:
    """All alternatives of an annotation but None, with ``Annotated`` and unions taken apart."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _branches(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [b for a in typing.get_args(annotation) for b in _branches(a)]
    return [] if annotation in (None, type(None)) else [annotation]


def _absolute(analysis: Analysis, folder: Path) -> Analysis:
    """Anchor local file names at the folder of the analysis file, so that every later stage finds them."""

    def anchor(name: str) -> str:
        if "://" in name:
            return name
        return os.path.normpath(folder / os.path.expanduser(name))  # noqa: PTH111 - Path.expanduser fails on ~nobody

    samples = {
        key: s if s.files is None else s.model_copy(update={"files": [anchor(f) for f in s.files]})
        for key, s in analysis.samples.items()
    }

    def beside(function: str) -> str:
        module, _, name = function.partition(":")
        own = folder / f"{module}.py"
        return f"{own}:{name}" if own.is_file() else function

    changes: dict[str, Any] = {"samples": samples, "functions": [beside(f) for f in analysis.functions]}
    if isinstance(analysis.model, CustomModel):
        changes["model"] = analysis.model.model_copy(update={"network": beside(analysis.model.network)})
    if analysis.training.init is not None:
        init = analysis.training.init.model_copy(update={"run": anchor(analysis.training.init.run)})
        changes["training"] = analysis.training.model_copy(update={"init": init})
    if analysis.golden_json:
        changes["golden_json"] = anchor(analysis.golden_json)
    return analysis.model_copy(update=changes)
