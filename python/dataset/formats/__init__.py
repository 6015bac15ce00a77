"""Formats of datasets: a file for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...config.schema import Analysis
from ...registry import Registry
from ..format import DatasetFormat
from ..info import DatasetInfo

FORMATS: Registry[DatasetFormat] = Registry("dataset format", DatasetFormat, __name__)  # type: ignore[type-abstract]


def format_of(analysis: Analysis, info: DatasetInfo) -> DatasetFormat:
    """Return the format of the datasets of an analysis."""
    return kind_of(analysis.dataset.model_dump())(analysis, info)


def kind_of(options: Mapping[str, Any]) -> type[DatasetFormat]:
    """Return the format that options of a dataset name; SALT's is a layout of HDF5."""
    return FORMATS.load("salt" if options["layout"] == "salt" else options["format"], "dataset.format")
