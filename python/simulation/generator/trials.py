"""The counts of a sample: events tried and passed, the cross section, the spectra of a gun; blocks add up exactly."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .gun import Occupancy


@dataclass
class CrossSection:
    """Pythia's cross section and its error (pb), and from how many ``points`` of phase space it is.

    The error is statistical, unless it is ``common`` to all events: that of an LHE file.
    """

    value: float
    error: float
    points: int
    common: bool = False

    def join(self, other: CrossSection) -> None:
        """Take the mean with that of other events, each by its points: what Pythia had found in one run over all."""
        points = max(self.points + other.points, 1)
        self.value = (self.points * self.value + other.points * other.value) / points
        errors = self.points * self.error, other.points * other.error
        self.error = (sum(errors) if self.common else float(np.hypot(*errors))) / points
        self.points = points


@dataclass
class Trials:
    """How many events were tried and passed, and how many each filter rejected.

    ``sumw`` and ``sumw2`` are the sums of weights and of their squares over all events that Pythia completed, and
    ``passed_sumw`` and ``passed_sumw2`` those over the ones that passed. A gun has ``spectra`` of its first particle, a
    process has a ``cross_section`` (before the filters).
    """

    tried: int = 0
    passed: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    sumw: float = 0.0
    sumw2: float = 0.0
    passed_sumw: float = 0.0
    passed_sumw2: float = 0.0
    cross_section: CrossSection | None = None
    spectra: Occupancy | None = None

    def add(self, other: Trials) -> None:
        """Add the counts of other events."""
        for name in ("tried", "passed", "sumw", "sumw2", "passed_sumw", "passed_sumw2"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, count in other.rejected.items():
            self.rejected[name] = self.rejected.get(name, 0) + count
        self.cross_section = _joined(self.cross_section, other.cross_section)
        self.spectra = _joined(self.spectra, other.spectra)

    @property
    def efficiency(self) -> tuple[float, float]:
        """The share of the weight that passed, and its error: for equal weights the binomial one."""
        if not self.sumw:
            return 0.0, 0.0
        share = self.passed_sumw / self.sumw
        variance = (1 - 2 * share) * self.passed_sumw2 + share**2 * self.sumw2
        return share, float(np.sqrt(max(variance, 0.0))) / self.sumw

    @property
    def passed_cross_section(self) -> tuple[float, float] | None:
        """The cross section of what passed and its error (pb): the ``xsec`` of these events; None for a gun."""
        if self.cross_section is None:
            return None
        share, uncertainty = self.efficiency
        error = np.hypot(share * self.cross_section.error, uncertainty * self.cross_section.value)
        return share * self.cross_section.value, float(error)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        out = asdict(self)
        if self.spectra is not None:
            out["spectra"] = {name: values.tolist() for name, values in out["spectra"].items()}
        return out

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Trials:
        """Read what :meth:`as_dict` wrote."""
        section, spectra = content["cross_section"], content["spectra"]
        return cls(**{
            **content,
            "cross_section": section and CrossSection(**section),
            "spectra": spectra and Occupancy(**{name: np.asarray(values) for name, values in spectra.items()}),
        })  # fmt: skip


def _joined(first: Any, second: Any) -> Any:
    if first is None:
        return copy.deepcopy(second)
    if second is not None:
        first.join(second)
    return first
