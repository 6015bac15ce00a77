"""Event accounting: ``read = used + rejected (by cut) + lost (by file)``, in every stage and on every merge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Optional

from ..errors import DataError


@dataclass
class WeightSums:
    """Sums of the weights of what a :class:`Ledger` counts."""

    read: float = 0.0
    used: float = 0.0
    rejected: dict[str, float] = field(default_factory=dict)

    def reject(self, cut: str, weight: float) -> None:
        """Add the weights that a cut rejects."""
        self.rejected[cut] = self.rejected.get(cut, 0.0) + weight

    def add(self, other: WeightSums) -> None:
        """Add other sums."""
        self.read += other.read
        self.used += other.used
        for cut, weight in other.rejected.items():
            self.reject(cut, weight)


@dataclass
class Ledger:
    """Counts of one unit ("events", or the rows of a collection) through the cuts, in their order.

    ``weights`` are the sums of weights where they were summed; those of several samples, before their normalisation,
    mean nothing together.
    """

    unit: str
    read: int = 0
    used: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    weights: Optional[WeightSums] = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.weights, dict):  # read from a file
            self.weights = WeightSums(**self.weights)

    def reject(self, cut: str, count: int) -> None:
        """Count rejections of a cut; a cut that rejects nothing is listed too."""
        self.rejected[cut] = self.rejected.get(cut, 0) + count

    def add(self, other: Ledger) -> None:
        """Add the counts of another ledger of the same unit."""
        self.read += other.read
        self.used += other.used
        for cut, count in other.rejected.items():
            self.reject(cut, count)
        if other.weights is not None:
            self.weights = self.weights or WeightSums()
            self.weights.add(other.weights)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        content = asdict(self)
        return content if self.weights is not None else {k: v for k, v in content.items() if k != "weights"}


@dataclass
class HitLedger(Ledger):
    """Counts of the hits of an image, and of its rows: all, those without a hit, and those with more than are kept."""

    rows: int = 0
    empty: int = 0
    overfull: int = 0

    def add(self, other: Ledger) -> None:
        """Add the counts of another ledger of the same image."""
        super().add(other)
        assert isinstance(other, HitLedger)  # noqa: S101 - of the same image
        self.rows += other.rows
        self.empty += other.empty
        self.overfull += other.overfull


@dataclass(frozen=True)
class Lost:
    """A file that could not be used; ``entries`` is None where not even their number could be read."""

    file: str
    reason: str
    entries: int | None = None


@dataclass
class Accounting:
    """The books of a stage: events, table rows where a row is not an event, the hits of images, and lost files."""

    events: Ledger = field(default_factory=lambda: Ledger("events"))
    rows: Ledger | None = None
    lost: list[Lost] = field(default_factory=list)
    hits: dict[str, HitLedger] = field(default_factory=dict)

    @property
    def lost_events(self) -> int:
        """Known number of events in lost files."""
        return sum(loss.entries or 0 for loss in self.lost)

    def lose(self, loss: Lost) -> None:
        """Book a file as lost; its events count as read."""
        self.lost.append(loss)
        self.events.read += loss.entries or 0

    def without_weights(self) -> Accounting:
        """Return it without sums of weights: of several samples they mean nothing."""
        rows = None if self.rows is None else replace(self.rows, weights=None)
        return replace(self, events=replace(self.events, weights=None), rows=rows)

    @classmethod
    def of_lost(cls, file: str, reason: str, entries: int | None) -> Accounting:
        """Return the accounting of one file that could not be used."""
        accounting = cls()
        accounting.lose(Lost(file, reason, entries))
        return accounting

    def add(self, other: Accounting) -> None:
        """Add the books of another part of the same stage."""
        self.events.add(other.events)
        if other.rows is not None:
            self.rows = self.rows or Ledger(other.rows.unit)
            self.rows.add(other.rows)
        for name, ledger in other.hits.items():
            self.hits.setdefault(name, HitLedger(ledger.unit)).add(ledger)
        self.lost += other.lost

    def check(self) -> None:
        """Raise a :class:`DataError` unless the books balance."""
        others = [(ledger, 0) for ledger in (self.rows, *self.hits.values())]
        for ledger, lost in ((self.events, self.lost_events), *others):
            if ledger is not None and ledger.read != ledger.used + sum(ledger.rejected.values()) + lost:
                raise DataError(f"the event accounting does not balance: {ledger}, lost {lost}; please report this")

    def lines(self) -> list[tuple[str, int, str]]:
        """Return the cut flow as (label, count, share of what was read) lines."""
        table: list[tuple[str, int, str]] = []
        for ledger in (self.events, self.rows, *self.hits.values()):
            if ledger is None:
                continue
            counts = {f"{ledger.unit} read": ledger.read}
            counts.update({f"  rejected by {cut}": n for cut, n in ledger.rejected.items()})
            if ledger is self.events and self.lost:
                counts[f"  lost in {len(self.lost)} file(s)"] = self.lost_events
            counts[f"{ledger.unit} used"] = ledger.used
            table += [(label, n, f"{n / ledger.read:.1%}" if ledger.read else "") for label, n in counts.items()]
        return table

    def as_dict(self) -> dict[str, Any]:
        """Return the books as plain JSON types."""
        rows = None if self.rows is None else self.rows.as_dict()
        content = {"events": self.events.as_dict(), "rows": rows, "lost": [asdict(loss) for loss in self.lost]}
        hits = {name: ledger.as_dict() for name, ledger in self.hits.items()}
        return {**content, "hits": hits} if hits else content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Accounting:
        """Rebuild the books that :meth:`as_dict` wrote."""
        rows = content.get("rows")
        return cls(
            Ledger(**content["events"]),
            Ledger(**rows) if rows else None,
            [Lost(**loss) for loss in content["lost"]],
            {name: HitLedger(**ledger) for name, ledger in content.get("hits", {}).items()},
        )

    @classmethod
    def total(cls, parts: Iterable[Accounting]) -> Accounting:
        """Sum the books of several parts."""
        result = cls()
        for part in parts:
            result.add(part)
        return result
