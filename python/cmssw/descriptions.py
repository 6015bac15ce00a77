"""What the plugins' ``fillDescriptions`` say, read from their source: the parameters that a configuration may set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

_PYTHON = Path(__file__).resolve().parents[1]
PLUGINS = next(path for path in (_PYTHON.parent / "plugins", _PYTHON / "plugins") if path.is_dir())
"""Beside ``python/`` in a checkout, inside of it in a wheel."""
CMS_TYPES = {
    "bool": "bool", "int": "int32", "unsigned int": "uint32", "unsigned long long": "uint64", "double": "double",
    "std::string": "string", "edm::InputTag": "InputTag", "edm::FileInPath": "FileInPath",
    "std::vector<int>": "vint32", "std::vector<double>": "vdouble", "std::vector<std::string>": "vstring",
    "std::vector<edm::InputTag>": "VInputTag",
}  # fmt: skip
"""C++ types of parameters, and what they are called in ``FWCore.ParameterSet.Config``."""

_TYPE = r"<((?:[^<>]|<[^<>]*>)+)>"
_DEFINED = re.compile(r"DEFINE_FWK_MODULE\((\w+)\)")
_FUNCTION = r"(?ms)^(?P<indent> *)[\w:<>&~ ]*\b{name}\([^;{{]*\{{$(?P<body>.*?)^(?P=indent)\}}"
_VARIABLE = re.compile(r"edm::ParameterSetDescription (\w+);")
_ADD = re.compile(rf'(\w+)\s*\.add{_TYPE}\(\s*"(\w+)"\s*(,)?')
_CHOICE = re.compile(rf'(\w+)\s*\.ifValue\(\s*edm::ParameterDescription{_TYPE}\(\s*"(\w+)",\s*([^,]+),')
_VPSET = re.compile(r'(\w+)\s*\.addVPSet\(\s*"(\w+)",\s*(\w+)\s*(,)?')
_CALL = re.compile(r"nanoforge::(describe\w+)\((\w+)\)")
_GET = re.compile(rf'(\w+)\s*\.getParameter{_TYPE}\(\s*"(\w+)"(\s*\+)?')


@dataclass(frozen=True)
class Parameter:
    """A parameter: its type as in ``cms.<type>``, whether it has no default, and what is inside of a VPSet."""

    type: str
    required: bool
    inside: Optional[dict[str, Parameter]] = None


def modules() -> dict[str, dict[str, Parameter]]:
    """Return the parameters of each module of ``plugins/`` that describes them, by the names of modules."""
    return {name: parameters for path in sorted(PLUGINS.glob("*.cc")) for name, parameters in _modules(path).items()}


def filters(path: Optional[Path] = None) -> dict[str, dict[str, Parameter]]:
    """Return the parameters of each filter that is described, in ``plugins/`` or in a source file of the user's."""
    paths = sorted(PLUGINS.glob("*.cc")) if path is None else [path]
    of_filters = (path for path in paths if "EDFilter" in path.read_text())
    return {name: parameters for path in of_filters for name, parameters in _modules(path).items()}


def _modules(path: Path) -> dict[str, dict[str, Parameter]]:
    source = path.read_text()
    body = _body(source, "fillDescriptions")
    return {} if body is None else {module: described(body)["desc"] for module in _DEFINED.findall(source)}


def gun() -> dict[str, Parameter]:
    """Return ``PGunParameters`` of Pythia8PtMassGun, which as a generator has no description, from what it reads.

    ``Flatten`` is optional.
    """
    source = (PLUGINS / "Pythia8PtMassGun.cc").read_text()
    read = {name: Parameter(CMS_TYPES[type_], True) for who, type_, name, plus in _GET.findall(source) if who == "gun"
            and not plus and type_ in CMS_TYPES}  # fmt: skip
    inside = {name: Parameter(CMS_TYPES[t], True) for who, t, name, _ in _GET.findall(source) if who == "map"}
    ranges = {f"{end}{name}" for name in re.findall(r'range\("(\w+)"\)', source) for end in ("Min", "Max")}
    base = {"ParticleID": Parameter("vint32", True)}  # read by gen::Py8GunBase
    optional = {"Flatten": Parameter("PSet", False, inside)}
    return base | read | {name: Parameter("double", True) for name in sorted(ranges)} | optional


def described(body: str) -> dict[str, dict[str, Parameter]]:
    """Return the parameters of each description that the body of a function fills, by the names of variables."""
    parameters: dict[str, dict[str, Parameter]] = {name: {} for name in [*_VARIABLE.findall(body), "desc"]}
    for variable, type_, name, default in _ADD.findall(body):
        parameters[variable][name] = Parameter(CMS_TYPES[type_], not default)
    for variable, type_, name, _ in _CHOICE.findall(body):
        parameters[variable][name] = Parameter(CMS_TYPES[type_], False)
    for variable, name, inside, default in _VPSET.findall(body):
        parameters[variable][name] = Parameter("VPSet", not default, parameters[inside])
    for function, variable in _CALL.findall(body):
        parameters[variable] |= described(_helper(function))["desc"]
    return parameters


def _helper(function: str) -> str:
    bodies = (_body(path.read_text(), function) for path in sorted(PLUGINS.glob("*.h")))
    return next(body for body in bodies if body is not None)


def _body(source: str, function: str) -> Optional[str]:
    match = re.search(_FUNCTION.format(name=function), source)
    return match["body"] if match else None
