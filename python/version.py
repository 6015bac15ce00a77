"""The version, for all that imports the package and for those that it is imported by."""

from __future__ import annotations

__version__ = "0.1.0"
