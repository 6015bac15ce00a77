"""What happened in each epoch, in memory and as ``history.csv``."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import UserError
from ..provenance.manifest import write_atomically


@dataclass(frozen=True)
class Epoch:
    """One line of ``history.csv``; ``val_loss`` is None without validation rows, ``learning_rate`` that of the end."""

    epoch: int
    train_loss: float
    val_loss: float | None
    learning_rate: float
    seconds: float

    def line(self, epochs: int) -> str:
        """Say it in one line."""
        validation = "" if self.val_loss is None else f", validation {self.val_loss:.4f}"
        return f"epoch {self.epoch}/{epochs}: loss {self.train_loss:.4f}{validation} ({self.seconds:.1f} s)"


def best(history: Sequence[Epoch]) -> Epoch:
    """Return the first epoch of the least validation loss; the last epoch where nothing was validated."""
    return min(history, key=lambda e: -e.epoch if e.val_loss is None else e.val_loss)


def check_validation_weight(name: str, fold: int, weight: float) -> None:
    """Refuse rows to validate on whose weights, with all factors of the training, do not sum to something positive."""
    if weight == 0:
        raise UserError(
            f"{name}: no row of the validation part of fold {fold} counts, since their weights are 0 or their targets "
            "NaN: correct 'weight' or the expressions of the targets, or set split.val (0 for none)"
        )
    if not weight > 0:
        raise UserError(
            f"{name}: the weights of the validation part of fold {fold} sum to {weight:.4g}, so that no loss of it "
            "tells epochs or trees apart: set training.balance.negative to rescale or absolute, use more events "
            "(split.val), or none (split.val: 0)"
        )


def write_history(path: Path, history: Sequence[Epoch]) -> None:
    """Write ``history.csv``."""
    rows = [asdict(epoch) for epoch in history]
    lines = [",".join(rows[0]), *(",".join("" if v is None else repr(v) for v in row.values()) for row in rows)]
    write_atomically(path, "\n".join(lines) + "\n")


def read_history(path: Path) -> list[Epoch]:
    """Read what :func:`write_history` wrote."""
    with path.open() as file:
        rows = [{key: float(text) if text else None for key, text in row.items()} for row in csv.DictReader(file)]
    return [Epoch(**row | {"epoch": int(row["epoch"] or 0)}) for row in rows]  # type: ignore[arg-type]
