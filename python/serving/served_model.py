"""A version of a model, loaded by ONNX Runtime, with all that a server has to know about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..distributions.reference import FILE
from ..errors import DataError, NanoForgeError, nearest
from .repository import ModelVersion
from .request_error import RequestError
from .session import open_session
from .watch import RowWatch

KEY = "nanoforge"
"""The key of the metadata of a graph that holds its description."""
Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class TensorShape:
    """An input or output of a graph; all are float32."""

    name: str
    sizes: tuple[int, ...]
    """Of its dimensions; -1 is free."""


class ServedModel:
    """A model that is ready to score; several threads may use it.

    Parameters
    ----------
    version
        Which it is.
    path
        The graph.

    Raises
    ------
    DataError
        When it or its ``reference.json`` cannot be loaded, is no graph of ``nanoforge export``, or fails with zeros.
    """

    def __init__(self, version: ModelVersion, path: Path) -> None:
        self.version = version
        self.watch: RowWatch | None = None
        """Counts the rows that are scored; None where nothing says how the training looked."""
        try:
            self._session = open_session(path)
            metadata = self._session.get_modelmeta().custom_metadata_map
            self.description: dict[str, Any] = json.loads(metadata[KEY])
            self.description["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
            self.inputs = {i.name: TensorShape(i.name, _sizes(i.shape)) for i in self._session.get_inputs()}
            self.outputs = {o.name: TensorShape(o.name, _sizes(o.shape)) for o in self._session.get_outputs()}
            self.many_rows = self.description["level"] == "features"
            self._lists = dict(_lists(self.description))
            self.run(self.example())
            if self.many_rows and path.with_name(FILE).exists():
                self.watch = RowWatch(path.with_name(FILE))
                self.watch.check(self.inputs, path.with_name(FILE))
        except KeyError:
            raise DataError(f"{path}: not a graph of nanoforge export: it has no description") from None
        except NanoForgeError:
            raise
        except Exception as error:  # ONNX Runtime has a dozen kinds for what a graph can be
            raise DataError(f"{path}: cannot be used ({str(error).partition(chr(10))[0]})") from error

    def example(self, rows: int = 1) -> Tensors:
        """Return inputs of zeros that it takes."""
        return {
            t.name: np.zeros(
                [rows if i == 0 and self.many_rows else max(size, 1) for i, size in enumerate(t.sizes)], "f4"
            )
            for t in self.inputs.values()
        }

    def run(self, tensors: Tensors) -> Tensors:
        """Score: by name, all outputs for all inputs."""
        results = dict(zip(self.outputs, map(np.asarray, self._session.run(list(self.outputs), tensors))))
        if self.watch is not None:
            self.watch.add(tensors, results["scores"])
        return results

    def check(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Refuse inputs of other names or shapes.

        Raises
        ------
        RequestError
            400, with what was expected.
        """
        for name in tensors:
            if name not in self.inputs:
                raise RequestError(
                    400, f"input {name!r}: {self.version.name} has none of this name{nearest(name, self.inputs)}"
                )
        missing = [name for name in self.inputs if name not in tensors]
        if missing:
            raise RequestError(
                400, f"input {missing[0]!r} is missing; {self.version.name} takes {', '.join(self.inputs)}"
            )
        for name, expected in self.inputs.items():
            shape = tensors[name].shape
            if len(shape) != len(expected.sizes) or any(s not in (-1, n) for s, n in zip(expected.sizes, shape)):
                raise RequestError(
                    400, f"input {name!r}: the shape is {list(shape)}, and {list(expected.sizes)} is expected"
                )
        self._check_lists(tensors)
        if self.many_rows and len({len(values) for values in tensors.values()}) > 1:
            rows = ", ".join(f"{len(values)} of {name}" for name, values in tensors.items())
            raise RequestError(400, f"the inputs have different numbers of rows: {rows}")

    def _check_lists(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Refuse lists of the same objects that have different lengths: the graph would fail, with what waits too."""
        lengths: dict[str, tuple[str, int]] = {}
        for name in self._lists.keys() & tensors.keys():
            length = tensors[name].shape[1]
            other, expected = lengths.setdefault(self._lists[name], (name, length))
            if length != expected:
                raise RequestError(
                    400, f"input {name!r}: its lists have {length} elements, and those of {other!r} have {expected}"
                )


def _sizes(shape: list[Any]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else -1 for size in shape)


def _lists(description: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names of inputs that are lists, each with what has as many elements: a collection, or an input."""
    names = {item["name"] for item in description["inputs"]}
    for item in description["inputs"]:
        name = item["name"]
        if item.get("collection") and item["kind"] == "object":
            yield name, item["collection"]
        elif f"{name}_mask" in names:
            yield name, name
            yield f"{name}_mask", name
