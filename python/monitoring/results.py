"""What a comparison with the training says: drifts, regions, periods, a classifier, and what could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..distributions.drift import ALARM, Drift, ShareChange, Thresholds, drifts, worst_state
from ..distributions.reference import Distributions, Reference
from .classifier import TwoSampleTest
from .periods import Period


@dataclass(frozen=True)
class RegionResult:
    """A region, its distributions in the training and now."""

    text: str
    reference: Distributions
    observed: Distributions

    def changes(self, thresholds: Thresholds) -> list[Drift]:
        """Compare all variables in the region."""
        return drifts(self.reference, self.observed, thresholds)


@dataclass
class Monitored:
    """All results.

    Attributes
    ----------
    reference, observed
        The training, and what is compared with it.
    thresholds
        What is judged by.
    title
        What is compared, in a few words.
    weight
        The expression that weighed events.
    data
        Whether it is data, and no simulation.
    by, periods
        What the periods are by, and these.
    regions
        Further comparisons.
    test
        The classifier's; None where it was not asked for.
    unreadable
        By file, which branch the model misses there.
    """

    reference: Reference
    observed: Distributions
    thresholds: Thresholds
    title: str
    weight: str = "1"
    data: bool = True
    by: str = "run"
    periods: Sequence[Period] = ()
    regions: Sequence[RegionResult] = ()
    test: TwoSampleTest | None = None
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.drifts = drifts(self.reference.distributions, self.observed, self.thresholds)
        self.of_regions = [(region.text, region.changes(self.thresholds)) for region in self.regions]

    @property
    def worst_first(self) -> list[Drift]:
        """The drifts of all variables, the largest first."""
        return sorted(self.drifts, key=lambda d: d.size, reverse=True)

    @property
    def state(self) -> str:
        """The worst of all states; a branch that is missing is an alarm."""
        states = [change.state for changes in (self.drifts, *(c for _, c in self.of_regions)) for change in changes]
        states += [self.test.state] if self.test else []
        return worst_state([*states, *[ALARM] * bool(self.unreadable)])

    @property
    def scale(self) -> float:
        """What the training's expectation is multiplied by for the area of what is compared."""
        (*_, score) = self.reference.distributions
        expected = score.counts.scaled(self.reference.factors)[:, 0].sum()
        observed = self.observed[score.variable].counts.drawn[0, 0].sum()
        return float(observed / expected) if expected > 0 and observed > 0 else 1.0

    def findings(self) -> Iterator[str]:
        """Yield a sentence for each variable with a warning or an alarm."""
        for change in self.worst_first:
            if change.reasons:
                yield f"{change.state}: {change.variable.label}: {'; '.join(change.reasons)}"

    def other_findings(self) -> Iterator[str]:
        """Yield a sentence for what is to be looked at beside the variables of all rows."""
        for path, reason in self.unreadable.items():
            yield f"{ALARM}: {path}: the model cannot read it: {reason}"
        for text, changes in self.of_regions:
            for change in changes:
                if change.reasons:
                    yield f"{change.state}: {change.variable.label} where {text}: {'; '.join(change.reasons)}"
        if self.test is not None:
            names = ", ".join(list(self.test.importance)[:3])
            yield f"{self.test.state}: a classifier tells the rows apart with an AUC of {self.test.auc}, by {names}"

    def content(self) -> dict[str, Any]:
        """Return what ``monitor.json`` holds, as plain JSON types."""
        return {
            "state": self.state,
            "rows": self.observed.rows,
            "reference_rows": self.reference.distributions.rows,
            "weight": self.weight,
            "data": self.data,
            "thresholds": {"warning": self.thresholds.warning, "alarm": self.thresholds.alarm},
            "findings": list(self.findings()),
            "other_findings": list(self.other_findings()),
            "classes": {name: {"rows": r, "weight": w} for name, (r, w) in self.reference.classes.items()},
            "expected_scale": self.scale,
            "variables": [_change(change) for change in self.worst_first],
            "regions": {text: [_change(change) for change in changes] for text, changes in self.of_regions},
            "periods": [self._period(period) for period in self.periods],
            "classifier": None if self.test is None else self.test.as_dict(),
            "unreadable": dict(self.unreadable),
            "filled": self.observed.as_dict(),
        }

    def _period(self, period: Period) -> dict[str, Any]:
        changes = drifts(self.reference.distributions, period.distributions, self.thresholds)
        variables = {
            change.variable.label: {"psi": _number(change.psi), "ks": _number(change.ks), "state": change.state}
            for change in changes
        }
        return {"name": period.label, "rows": period.distributions.rows, "variables": variables}


def _change(change: Drift) -> dict[str, Any]:
    chi2, ks = change.p_values()
    return {
        "name": change.variable.label,
        "kind": change.variable.kind,
        "state": change.state,
        "values": change.values,
        "effective": change.effective,
        "psi": _number(change.psi),
        "ks": _number(change.ks),
        "chi2": _number(change.chi2),
        "degrees": change.degrees,
        "p_chi2": _number(chi2),
        "p_ks": _number(ks),
        "shares_to_see": change.share_reasons,
        "shares": {share.name: _share(share) for share in change.shares},
    }


def _share(share: ShareChange) -> dict[str, Any]:
    return {
        "training": share.reference,
        "observed": share.observed,
        "sigmas": share.sigmas,
        "state": share.state,
    }


def _number(value: float) -> float | None:
    return value if value == value else None
