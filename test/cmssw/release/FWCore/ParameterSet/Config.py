"""A recording stub of FWCore.ParameterSet.Config: values, parameter sets, modules, sequences, processes."""

from __future__ import annotations

import importlib
from typing import Any


class Value:
    """A parameter ``cms.<type>(...)``."""

    def __init__(self, type: str, tracked: bool, *args: Any) -> None:
        self.type, self.tracked = type, tracked
        many = type.startswith("v") or type.startswith("V")
        if type == "InputTag":
            self.content: Any = ":".join(map(str, args))
        else:
            flat = [a for arg in args for a in (arg if isinstance(arg, (list, tuple)) else [arg])]
            self.content = flat if many else flat[0]

    def value(self) -> Any:
        return self.content

    def __repr__(self) -> str:
        return f"{'' if self.tracked else 'untracked.'}{self.type}({self.content!r})"


class PSet:
    """A parameter set; its parameters are its attributes."""

    def __init__(self, *others: PSet, tracked: bool = True, **parameters: Any) -> None:
        self.__dict__["_tracked"] = tracked
        self.__dict__["_parameters"] = {k: v for other in others for k, v in other._parameters.items()} | parameters

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_parameters"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self._parameters[name] = value

    def parameters_(self) -> dict[str, Any]:
        return dict(self._parameters)

    def parameterNames_(self) -> list[str]:
        return list(self._parameters)


class Module(PSet):
    """A module: a parameter set with a type, and a label once it is in a process."""

    def __init__(self, type: str, *others: PSet, **parameters: Any) -> None:
        super().__init__(*others, **parameters)
        self.__dict__.update(_type=type, _label=None)

    def type_(self) -> str:
        return self._type

    def __add__(self, other: Any) -> Sequence:
        return Sequence(self, other)


class EDFilter(Module):
    pass


class EDProducer(Module):
    pass


class OutputModule(Module):
    pass


class Source(Module):
    pass


class Service(Module):
    pass


class Sequence:
    """Modules, sequences and tasks in order; also the base of paths and tasks."""

    def __init__(self, *items: Any) -> None:
        self.items = list(items)
        self._label: str | None = None

    def insert(self, place: int, item: Any) -> None:
        self.items.insert(place, item)

    def associate(self, *tasks: Any) -> None:
        self.items += tasks

    def __add__(self, other: Any) -> Sequence:
        return Sequence(*self.items, other)

    def __iadd__(self, other: Any) -> Sequence:
        self.items.append(other)
        return self

    def modules(self) -> list[Module]:
        return [m for item in self.items for m in (item.modules() if isinstance(item, Sequence) else [item])]

    def names(self) -> list[str]:
        return [module._label for module in self.modules()]

    def moduleNames(self) -> set[str]:
        return set(self.names())


class Path(Sequence):
    pass


class EndPath(Sequence):
    pass


class Task(Sequence):
    pass


class Schedule(list):
    """Paths in order, and tasks beside them."""

    def __init__(self, *paths: Path) -> None:
        super().__init__(paths)
        self.tasks: list[Task] = []

    def associate(self, *tasks: Task) -> None:
        self.tasks += tasks

    def moduleNames(self) -> set[str]:
        return {name for part in [*self, *self.tasks] for name in part.moduleNames()}


class Process:
    """A process; what is set gets its name as label."""

    def __init__(self, name: str, *modifiers: Any) -> None:
        self.name, self.modifiers = name, modifiers
        self.schedule: Schedule | None = None
        self.source: Source | None = None
        self.maxEvents, self.options = PSet(), PSet()
        self.loaded: list[str] = []

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, (Module, Sequence)):
            value.__dict__["_label"] = name
        if isinstance(value, Schedule) and any(path not in self.__dict__.values() for path in value):
            raise RuntimeError("a path in the Schedule was not attached to the process")
        self.__dict__[name] = value

    def _all(self, kind: type) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if isinstance(v, kind)}

    def producers_(self) -> dict[str, Any]:
        return self._all(EDProducer)

    def filters_(self) -> dict[str, Any]:
        return self._all(EDFilter)

    def outputModules_(self) -> dict[str, Any]:
        return self._all(OutputModule)

    def paths_(self) -> dict[str, Any]:
        return self._all(Path)

    def load(self, module: str) -> None:
        self.loaded.append(module)
        for name, value in vars(importlib.import_module(module.replace("/", "."))).items():
            if isinstance(value, (Module, Sequence, PSet)) and not name.startswith("_"):
                setattr(self, name, value)


class _Types:
    def __init__(self, tracked: bool) -> None:
        self._tracked = tracked

    def __getattr__(self, name: str) -> Any:
        if name == "PSet":
            return lambda *others, **parameters: PSet(*others, tracked=self._tracked, **parameters)
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args: Value(name, self._tracked, *args)


untracked = _Types(False)


def __getattr__(name: str) -> Any:
    return getattr(_Types(True), name)
