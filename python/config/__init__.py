"""The analysis file: loading, interpolation, overrides and validation."""

from __future__ import annotations

from .load import load, parse_overrides
from .schema import Analysis

__all__ = ["Analysis", "load", "parse_overrides"]
