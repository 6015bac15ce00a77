"""What every output says of itself: event accounting, manifest, and outputs that appear whole or not at all."""

from __future__ import annotations

from .accounting import Accounting, Ledger, Lost
from .manifest import FileRecord, Manifest, fingerprint
from .output import staged_output

__all__ = ["Accounting", "FileRecord", "Ledger", "Lost", "Manifest", "fingerprint", "staged_output"]
