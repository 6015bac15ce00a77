"""Doors for additions: each is one file in a folder of ours, an entry point, or a name in a user's module."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from .errors import DataError, UserError, first_line, nearest, raised_at

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class RegistryPlace:
    """Where the registry of a kind is in our package, and the key by which an analysis names a user's own; "" none."""

    path: str
    key: str = ""


REGISTRIES = {
    "models": RegistryPlace("config.models:MODELS", "model.network"),
    "losses": RegistryPlace("config.losses:LOSSES", "training.loss.loss"),
    "metrics": RegistryPlace("evaluation.metric:METRICS", "evaluation.functions"),
    "figures": RegistryPlace("evaluation.figure:FIGURES", "evaluation.figures"),
    "presets": RegistryPlace("simulation.presets:PRESETS", "samples.*.generator.process"),
    "formats": RegistryPlace("events.open:FORMATS", "formats"),
    "dataset-formats": RegistryPlace("dataset.formats:FORMATS", "dataset.format"),
    "protocols": RegistryPlace("events.remote:PROTOCOLS"),
    "targets": RegistryPlace("batch.targets:TARGETS"),
    "environments": RegistryPlace("config.environments:ENVIRONMENTS", "batch.environment"),
    "trackers": RegistryPlace("training.tracker:TRACKERS", "tracking.to"),
}
"""All registries, by what ``nanoforge list`` calls them."""


class Registry(Generic[Kind]):
    """All things of one kind, by name; none is imported before it is asked for.

    A file of the folder holds one class of the kind and is called as the thing is. An installed package adds one by an
    entry point of the group ``nanoforge.<kind>s``, and a user by ``module:Class`` or ``/path/to/file.py:Class``.

    Parameters
    ----------
    kind
        What messages call the kind: "model", say.
    base
        The class that all are derived from.
    package
        The folder, as the name of a package.
    """

    def __init__(self, kind: str, base: type[Kind], package: str) -> None:
        self.kind = kind
        self.base = base
        self._package = package

    def names(self) -> list[str]:
        """Return all names, ours first; nothing is imported."""
        return names_of(self.kind, self._package)

    def load(self, name: str, key: str) -> type[Kind]:
        """Return a class.

        Parameters
        ----------
        name
            One of :meth:`names`, or ``module:Class`` or ``/path/to/file.py:Class``.
        key
            Where the name was written, for messages.

        Raises
        ------
        UserError
            When there is no such thing, or the user's own cannot be imported.
        """
        if ":" in name:
            return self._checked(import_object(name, key), name, key)
        if name in modules(self._package):
            return self._class_in(f"{self._package}.{name}")
        points = entry_points(self.kind)
        if name not in points:
            names = self.names()
            raise UserError(f"{key}: there is no {self.kind} {name!r}; known: {', '.join(names)}{nearest(name, names)}")
        try:
            loaded = points[name].load()
        except Exception as error:  # another package may fail in any way
            raise UserError(f"{key}: {points[name].value} cannot be imported ({first_line(error)})") from error
        return self._checked(loaded, points[name].value, key)

    def all(self) -> Iterator[tuple[str, type[Kind]]]:
        """Import all, and yield them with their names."""
        for name in self.names():
            yield name, self.load(name, self.kind)

    def find(self, spec: str, key: str) -> Any:
        """Import one of the user's own, a class or a function; see :func:`import_object`."""
        return import_object(spec, key)

    def _class_in(self, module: str) -> type[Kind]:
        derived = [value for value in classes(importlib.import_module(module)) if issubclass(value, self.base)]
        if len(derived) != 1:
            raise DataError(
                f"{module}: has {len(derived)} classes derived from {self.base.__name__}, and one is needed"
            )
        return derived[0]

    def _checked(self, loaded: Any, spec: str, key: str) -> type[Kind]:
        if not (isinstance(loaded, type) and issubclass(loaded, self.base)):
            base = f"{self.base.__module__}.{self.base.__name__}"
            raise UserError(f"{key}: '{spec}' is not a class derived from {base}, as a {self.kind} has to be")
        if inspect.isabstract(loaded):
            missing = ", ".join(sorted(getattr(loaded, "__abstractmethods__", ())))
            raise UserError(f"{key}: '{spec}' is not finished: it lacks {missing}")
        return loaded


def names_of(kind: str, package: str) -> list[str]:
    """Return the names of all things of a kind, those in a folder of ours first; nothing is imported."""
    return [*modules(package), *sorted(entry_points(kind))]


def entry_points(kind: str) -> dict[str, importlib.metadata.EntryPoint]:
    """Return the things of a kind that installed packages add, by name."""
    group = f"nanoforge.{kind.replace(' ', '_')}{'es' if kind.endswith('s') else 's'}"
    return {point.name: point for point in installed_entry_points().select(group=group)}


@functools.cache
def installed_entry_points() -> Any:  # of two classes, as the version of Python is
    """Return what all installed packages add; read once, which takes as long as to convert a file."""
    return importlib.metadata.entry_points()


def modules(package: str) -> list[str]:
    """Return the names of the public modules in a package, sorted; none is imported."""
    spec = importlib.util.find_spec(package)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    return sorted(module.name for module in pkgutil.iter_modules(folders) if not module.name.startswith("_"))


def classes(module: Any) -> Iterator[type]:
    """Yield the public classes that are defined in a module and can be used."""
    for name, value in vars(module).items():
        ours = isinstance(value, type) and value.__module__ == module.__name__
        if ours and not name.startswith("_") and not inspect.isabstract(value):
            yield value


def beside(spec: str, folder: Path) -> str:
    """Name the file of ``module:name`` where the module lies in a folder, so that it is found from anywhere."""
    module, _, name = spec.rpartition(":")
    file = folder.absolute() / f"{module}.py"
    return f"{file}:{name}" if module and file.is_file() else spec


def import_object(spec: str, key: str) -> Any:
    """Import something of the user's own.

    Parameters
    ----------
    spec
        ``module:name`` or ``/path/to/module.py:name``.
    key
        Where it was written, for messages.

    Raises
    ------
    UserError
        When it cannot be imported.
    """
    module_name, _, name = spec.rpartition(":")
    if not (module_name and name.isidentifier()) or name.startswith("_"):
        raise UserError(f"{key}: '{spec}' is not of the form module:name")
    try:
        module = _import_file(module_name) if module_name.endswith(".py") else importlib.import_module(module_name)
    except Exception as error:  # a user's module may fail in any way when it is run
        problem = f"{type(error).__name__}: {first_line(error)}"
        line = raised_at(error, module_name)
        remedy = "correct it" if line else "is it beside the analysis file or on PYTHONPATH?"
        raise UserError(f"{key}: cannot import '{module_name}'{line} ({problem}): {remedy}") from error
    if not hasattr(module, name):
        raise UserError(f"{key}: '{module_name}' has no '{name}'{nearest(name, vars(module))}")
    return getattr(module, name)


def import_extra(module: str, extra: str, key: str) -> Any:
    """Import a module of a package that an extra of ours brings.

    Raises
    ------
    UserError
        When it is not installed; ``key`` says where it was asked for.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        reason = f"({first_line(error)}): pip install 'nanoforge[{extra}]'"
        raise UserError(f"{key}: needs a package that is not installed {reason}") from error


def _import_file(path: str) -> Any:
    specification = importlib.util.spec_from_file_location(Path(path).stem, path)
    if specification is None or specification.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(specification)
    unknown = sys.modules.setdefault(module.__name__, module) is module  # dataclasses and pydantic look for it there
    try:
        specification.loader.exec_module(module)
    finally:
        if unknown:
            sys.modules.pop(module.__name__, None)
    return module
