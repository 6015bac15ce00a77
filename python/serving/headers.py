"""The header of the extension for binary tensors."""

from __future__ import annotations

JSON_SIZE = "Inference-Header-Content-Length"
"""The header that says how many bytes of a body are JSON; binary tensors follow."""
