"""What every output says of itself: event accounting, manifest, and outputs that appear whole or not at all."""

from __future__ import annotations

from .accounting import Accounting, Ledger, Lost, WeightSums
from .manifest import FileRecord, Manifest, fingerprint
from .output import staged_output
from .pieces import Piece, make_room

__all__ = [
    "Accounting",
    "FileRecord",
    "Ledger",
    "Lost",
    "Manifest",
    "Piece",
    "WeightSums",
    "fingerprint",
    "make_room",
    "staged_output",
]
