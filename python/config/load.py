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
    content = _merge(path, overrides)
    try:
        analysis = Analysis.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {_explain(error)}") from None
    return _absolute(analysis, path.resolve().parent)


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
            config = OmegaConf.load(file)
        if not isinstance(config, DictConfig):
            raise UserError(f"{path}: expected 'key: value' lines, found a {type(config).__name__}")
        merged = OmegaConf.merge(config, OmegaConf.from_dotlist(parse_overrides(overrides)))
        return OmegaConf.to_container(merged, resolve=True, throw_on_missing=True)
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


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


def _explain(error: ValidationError) -> str:
    """Say the first problem in one line: key path, what was expected, the nearest known key."""
    problems = error.errors()
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    location = first["loc"]
    parent, keys = _walk(location)
    place = ".".join(keys) or "the file"
    if first["type"] == "extra_forbidden":
        known = list(parent.model_fields) if parent else []
        hint = nearest(keys[-1], known) or f"; known here: {', '.join(known)}"
        return f"{place}: unknown key{hint}{more}"
    if first["type"] == "missing":
        return f"{place}: this key is required{more}"
    message = first["msg"].removeprefix("Value error, ")
    given = first["input"]
    shown = f" (given: {given!r})" if isinstance(given, (str, int, float, bool)) else ""
    return f"{place}: {message[0].lower() + message[1:]}{shown}{more}"


def _walk(location: tuple[int | str, ...]) -> tuple[type[BaseModel] | None, list[str]]:
    """Follow pydantic's error location; drop the steps that only say which alternative of a union was tried."""
    parent: type[BaseModel] | None = None
    here: Any = Analysis
    keys: list[str] = []
    for step in location:
        branches = _branches(here)
        if len(branches) > 1:
            here = next((b for b in branches if _is_model(b) and step in (b.__name__, _tag(b))), None)
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
        return os.path.normpath(folder / Path(name).expanduser())

    samples = {
        key: s if s.files is None else s.model_copy(update={"files": [anchor(f) for f in s.files]})
        for key, s in analysis.samples.items()
    }
    changes: dict[str, Any] = {"samples": samples}
    if analysis.golden_json:
        changes["golden_json"] = anchor(analysis.golden_json)
    return analysis.model_copy(update=changes)
