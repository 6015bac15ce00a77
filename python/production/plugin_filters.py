"""Filters of C++ that an analysis file names: their parameters, checked against the plugins' descriptions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..cmssw.descriptions import Parameter
from ..cmssw.descriptions import filters as described_filters
from ..cmssw.gen import label
from ..config.cmssw import PluginFilter
from ..errors import UserError, nearest

_OF_BLOCKS = {"SimAcceptanceFilter": "cmssw.acceptance", "EventSkimFilter": "cmssw.skim"}
_PYTHON: dict[str, Any] = {
    "bool": bool, "int32": int, "uint32": int, "uint64": int, "double": (int, float), "string": str, "InputTag": str,
    "FileInPath": str,
}  # fmt: skip
"""What stands for a value of a type in the analysis file."""
_VECTORS = {"vint32": "int32", "vdouble": "double", "vstring": "string", "VInputTag": "InputTag"}


def frozen_filters(filters: Sequence[PluginFilter], others: Iterable[str]) -> dict[str, Any]:
    """Return filters by name, each as :func:`frozen_filter` does.

    Parameters
    ----------
    filters
        ``cmssw.filters``.
    others
        The names of the filters of the generator.

    Raises
    ------
    UserError
        When one is wrong, or two have one label.
    """
    labels = [label(name, "Filter") for name in others]
    frozen = {}
    for number, each in enumerate(filters):
        key = f"cmssw.filters.{number}"
        labels.append(label(each.name, "Filter"))
        if labels.count(labels[-1]) > 1:
            raise UserError(f"{key}.name: {each.name!r} is the name of another filter, for CMSSW: choose another")
        frozen[each.name] = frozen_filter(each.type, each.model_extra or {}, key)
    return frozen


def sources_of(filters: Iterable[PluginFilter]) -> list[Path]:
    """Return the source files of the user's own among filters."""
    return [path for each in filters if (path := source_of(each.type)) is not None]


def source_of(kind: str) -> Path | None:
    """Return the source file of ``file.cc:Class``; None for a filter of ours."""
    path, colon, _ = kind.rpartition(":")
    return Path(path) if colon else None


def frozen_filter(kind: str, values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the class of a filter, and its parameters as ``[type, value]`` by name, as ``gen.read`` describes it.

    Parameters
    ----------
    kind
        The C++ class, or ``file.cc:Class``.
    values
        The parameters that are given.
    key
        Of the filter in the analysis file, for messages.

    Raises
    ------
    UserError
        When there is no such filter, or it has no such parameter, or that another type; or one is missing.
    """
    name = kind.rpartition(":")[2]
    described = _described(kind, key)
    for parameter in values:
        if parameter not in described:
            choices = nearest(parameter, described) or f"; it has {', '.join(described)}"
            raise UserError(f"{key}.{parameter}: {name} has no such parameter{choices}")
    for parameter, description in described.items():
        if description.required and parameter not in values:
            raise UserError(f"{key}.{parameter}: {name} needs this parameter ({description.type})")
    parameters = {
        parameter: [described[parameter].type, _checked(value, described[parameter], f"{key}.{parameter}")]
        for parameter, value in values.items()
    }
    return {"type": name, "parameters": parameters}


def _described(kind: str, key: str) -> Mapping[str, Parameter]:
    path, name = source_of(kind), kind.rpartition(":")[2]
    if name in _OF_BLOCKS and path is None:
        raise UserError(f"{key}.type: {name} does not look at generated events: it is the filter of {_OF_BLOCKS[name]}")
    try:
        offered = described_filters(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{key}.type: {path}: {getattr(error, 'strerror', None) or 'not a text file'}") from None
    except (KeyError, StopIteration) as error:
        raise UserError(f"{key}.type: {path}: its fillDescriptions cannot be read ({error})") from None
    if name not in offered:
        names = [other for other in offered if other not in _OF_BLOCKS]
        location = f" in {path}" if path else ""
        choices = f"; known: {', '.join(names)}" if names else ": no filter there has a fillDescriptions"
        raise UserError(f"{key}.type: there is no filter {name!r}{location}{choices}{nearest(name, names)}")
    return offered[name]


def _checked(value: Any, description: Parameter, key: str) -> Any:
    kind = description.type
    if kind in _VECTORS:
        values = value if isinstance(value, list) else [value]
        if not all(_fits(each, _VECTORS[kind]) for each in values):
            raise UserError(f"{key}: should be a list of {_VECTORS[kind]}: got {value!r}")
        return values
    if kind not in _PYTHON:
        raise UserError(f"{key}: parameters of the type {kind} cannot be given in an analysis file")
    if not _fits(value, kind):
        raise UserError(f"{key}: should be of the type {kind}: got {value!r}")
    return value


def _fits(value: Any, kind: str) -> bool:
    if isinstance(value, bool) != (kind == "bool") or not isinstance(value, _PYTHON[kind]):
        return False
    return not kind.startswith("u") or bool(value >= 0)
