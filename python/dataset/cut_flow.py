"""What became of the events of each sample, in numbers and sums of weights, for those who read the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..config.schema import Analysis
from ..provenance import Accounting, Ledger
from .shards import ShardRecord


@dataclass(frozen=True)
class SampleFlow:
    """The events of one sample.

    Attributes
    ----------
    files, lost
        Number of its files, and of those that could not be used.
    generated
        Sum of generator weights of the ``Runs`` trees; None where a file has none.
    factor
        What the weights are multiplied by: xsec * lumi / (sum of weights), or 1.
    events, rows
        Their way through the cuts, with weights before that multiplication; ``rows`` where they are objects.
    """

    files: int
    lost: int
    generated: Optional[float]
    factor: float
    events: Ledger
    rows: Optional[Ledger] = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        ledgers = {"events": self.events.as_dict(), "rows": None if self.rows is None else self.rows.as_dict()}
        return {**vars(self), **ledgers}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SampleFlow:
        """Rebuild what :meth:`as_dict` wrote."""
        ledgers = {key: Ledger(**content[key]) for key in ("events", "rows") if content[key] is not None}
        return cls(**{**content, **ledgers})


def sample_flows(
    analysis: Analysis, records: Sequence[ShardRecord], factors: Mapping[str, float]
) -> dict[str, SampleFlow]:
    """Sum up the files of each sample; ``factors`` are those on the weights, by sample."""
    flows = {}
    for name in analysis.samples:
        of_sample = [record for record in records if record.source.sample == name]
        total = Accounting.total(record.accounting for record in of_sample)
        sums = [record.gen_sum_of_weights for record in of_sample if not record.accounting.lost]
        generated = None if None in sums else sum(value for value in sums if value is not None)
        flows[name] = SampleFlow(len(of_sample), len(total.lost), generated, factors[name], total.events, total.rows)
    return flows
