"""Generated blocks as the branches that NanoAOD has: names, types, titles, and the files they are written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from ...config.generator import Generator
from ...events.columns import Branch, Column
from ...events.writer import POOL, NanoFile, new_file
from ..captured_stdout import captured_stdout
from ..detector import candidates
from ..generator import genparticles, ttbar
from ..generator.event_blocks import generate_block
from ..generator.gun import Occupancy
from ..generator.pythia import GenBlock
from ..generator.trials import Trials
from ..objects import hits, reconstruction

RUN = 1
COMPRESSION = "zstd 5"
MOST_HELD = 1 << 25
"""Bytes of events that are gathered before they are written."""
_INFO = {
    "Generator_id1": ("id1", "i4", "id of first parton"),
    "Generator_id2": ("id2", "i4", "id of second parton"),
    "Generator_x1": ("x1", "f4", "x1 fraction of proton momentum carried by the first parton"),
    "Generator_x2": ("x2", "f4", "x2 fraction of proton momentum carried by the second parton"),
    "Generator_xpdf1": ("pdf1", "f4", "x*pdf(x) for the first parton"),
    "Generator_xpdf2": ("pdf2", "f4", "x*pdf(x) for the second parton"),
    "Generator_scalePDF": ("scale", "f4", "Q2 scale for PDF"),
    "Generator_binvar": ("ptHat", "f4", "MC generation binning value (pt-hat, GeV)"),
}
DOCS: dict[str, str] = {
    **genparticles.DOCS,
    **reconstruction.DOCS,
    **hits.DOCS,
    **ttbar.DOCS,
    **{name: title for name, (_, _, title) in _INFO.items()},
    "run": "run/i", "luminosityBlock": "luminosityBlock/i", "event": "event/l", "genWeight": "generator weight",
    "Generator_weight": "MC generator weight", "Pileup_nPU": "the number of pileup interactions that have been added",
    "Pileup_nTrueInt": "the true mean number of the poisson distribution for this event from which the number of "
                       "interactions has been sampled",
    "genEventCount": "event count", "genEventSumw": "sum of gen weights", "genEventSumw2": "sum of gen (weight^2)",
    "genXSec": "cross section by Pythia, of leading order, times the filter efficiency (pb; nanoforge)",
    "genXSecError": "statistical error of genXSec (pb; nanoforge)",
    "GenFilter_numEventsTotal": "generator filter: total number of events",
    "GenFilter_numEventsPassed": "generator filter: passed number of events",
    "GenFilter_filterEfficiency": "generator filter: efficiency",
    "GenFilter_filterEfficiencyError": "generator filter: efficiency error",
}  # fmt: skip
"""Titles of all branches."""


@dataclass
class NanoBlock:
    """One block as it is written: the branches of its events, and what ``Runs`` and ``LuminosityBlocks`` say of it."""

    block: int
    events: dict[str, Column]
    size: int
    trials: Trials
    sumw: float
    sumw2: float


def make(
    generator: Generator, sample: str, block: int, size: int, first: int, occupancy: Occupancy | None = None
) -> NanoBlock:
    """Generate and reconstruct one block of events.

    Parameters
    ----------
    generator, sample, block, size, occupancy
        See :func:`..generator.event_blocks.generate_block`.
    first
        Number of its first event.
    """
    made, rng = generate_block(generator, sample, block, size, occupancy)
    with captured_stdout():  # fastjet begins with a banner
        gen = genparticles.summarise(made)
        seen, arrivals = candidates.simulate_with_arrivals(made, rng)
        reconstructed = reconstruction.reconstruct(made, gen, seen, rng)
    content = _event(made, generator, block, first) | reconstructed
    if generator.cells:
        content |= hits.tables(arrivals, size, rng, material=generator.material)
    content |= {name: values for name, values in gen.items() if name != "gen_index"}
    content["genTtbarId"] = ttbar.categories(made.particles, gen["GenJet"])
    sums = float(made.weight.sum()), float((made.weight**2).sum())
    return NanoBlock(block, columns(content), size, made.accepted, *sums)


def _event(made: GenBlock, generator: Generator, block: int, first: int) -> dict[str, Any]:
    """Return the branches that are no objects."""
    size = len(made.weight)
    out = {
        "run": np.full(size, RUN, "u4"),
        "luminosityBlock": np.full(size, block + 1, "u4"),
        "event": np.arange(first, first + size, dtype="u8"),
        "genWeight": made.weight.astype("f4"),
        "Generator_weight": made.weight.astype("f4"),
    }
    out |= {name: made.info[source].astype(kind) for name, (source, kind, _) in _INFO.items()}
    out["Pileup_nPU"] = made.pileup_n.astype("i4")
    out["Pileup_nTrueInt"] = np.full(size, generator.pileup, "f4")
    return out


def columns(content: Mapping[str, Any]) -> dict[str, Column]:
    """Take collections apart: ``Jet`` with ``pt`` becomes ``Jet_pt``; the lists of a collection share their offsets."""
    out = {}
    for name, values in content.items():
        if not isinstance(values, ak.Array):
            out[name] = Column([values])
            continue
        layout = values.layout.to_ListOffsetArray64(start_at_zero=True)
        offsets = np.asarray(layout.offsets)
        for attribute in values.fields:
            inside = np.asarray(ak.Array(layout.content[attribute]))[: offsets[-1]]
            out[f"{name}_{attribute}"] = Column([inside], offsets)
    return out


def branches(content: Mapping[str, Column]) -> list[Branch]:
    """Describe the columns, each collection behind its counter."""
    out: dict[str, Branch] = {}
    for name, column in content.items():
        dtype, title = column.content.dtype, DOCS.get(name, "")
        if column.offsets is None:
            out[name] = Branch(name, dtype, title=title)
            continue
        counter = "n" + name.partition("_")[0]
        out.setdefault(counter, Branch(counter, np.dtype("i4"), title=DOCS.get(counter, f"number of {counter[1:]}")))
        out[name] = Branch(name, dtype, jagged=True, counter=counter, title=title)
    return list(out.values())


# -- files ------------------------------------------------------------------------------------------------------------


class NanoTuple:
    """What :class:`NanoFile` is for TTrees, for RNTuples: lists are vectors without a counter; there are no titles."""

    def __init__(self, path: Path, compression: str = COMPRESSION) -> None:
        self._file = new_file(path, compression)
        self._writers: list[TupleWriter] = []

    def tree(self, name: str, described: Sequence[Branch]) -> TupleWriter:
        """Begin an RNTuple of these branches."""
        self._writers.append(TupleWriter(self._file, name, described))
        return self._writers[-1]

    def __enter__(self) -> NanoTuple:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            for writer in self._writers if error is None else ():
                writer.flush()
        finally:
            self._file.close()


class TupleWriter:
    """An RNTuple that grows; made by :meth:`NanoTuple.tree`."""

    def __init__(self, file: Any, name: str, described: Sequence[Branch]) -> None:
        counters = {b.counter for b in described if b.jagged}
        self._kinds = {b.name: np.dtype(b.dtype) for b in described if b.name not in counters}
        lists = {b.name for b in described if b.jagged}
        kinds = {n: ak.types.NumpyType(str(k)) for n, k in self._kinds.items()}
        types = {n: ak.types.ListType(kind) if n in lists else kind for n, kind in kinds.items()}
        self._tuple = file.mkrntuple(name, ak.types.RecordType(list(types.values()), list(types)))
        self._waiting: list[dict[str, Any]] = []
        self._pooled = 0

    def append(self, size: int, content: Mapping[str, Column]) -> None:
        """Add entries: the values of every branch but the counters."""
        self._waiting.append({name: content[name].array for name in self._kinds})
        self._pooled += size
        if self._pooled >= POOL:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered, as one cluster."""
        if self._waiting:
            pieces = {name: [part[name] for part in self._waiting] for name in self._kinds}
            joined = {n: ak.values_astype(ak.concatenate(p), self._kinds[n]) for n, p in pieces.items()}
            self._tuple.extend(ak.zip(joined, depth_limit=1))
        self._waiting, self._pooled = [], 0


@dataclass
class SampleFile:
    """The file of one sample while it is written: ``Events``, and at the end ``LuminosityBlocks`` and ``Runs``."""

    path: Path
    format: str
    pieces: list[NanoBlock] = field(default_factory=list)
    trials: Trials = field(default_factory=Trials)

    def __enter__(self) -> SampleFile:
        self._file = (NanoFile if self.format == "ttree" else NanoTuple)(self.path, COMPRESSION)
        self._file.__enter__()
        self._held = 0
        return self

    def append(self, piece: NanoBlock) -> None:
        """Write a block; of its events nothing is kept."""
        if not self.pieces:
            self._events = self._file.tree("Events", branches(piece.events))
        self._events.append(piece.size, piece.events)
        self._held += sum(column.content.nbytes for column in piece.events.values())
        if self._held > MOST_HELD:
            self._events.flush()
            self._held = 0
        self.trials.add(piece.trials)
        self.pieces.append(replace(piece, events={}, trials=replace(piece.trials, spectra=None)))

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            for name, content, size in (
                ("LuminosityBlocks", self._blocks(), len(self.pieces)),
                ("Runs", self._runs(), 1),
            ):
                self._file.tree(name, branches(content)).append(size, content)
        self._file.__exit__(kind, error, trace)

    def _blocks(self) -> dict[str, Column]:
        efficiency, uncertainty = np.array([p.trials.efficiency for p in self.pieces], "f4").T
        values = {
            "run": np.full(len(self.pieces), RUN, "u4"),
            "luminosityBlock": np.array([p.block + 1 for p in self.pieces], "u4"),
            "GenFilter_numEventsTotal": np.array([p.trials.tried for p in self.pieces], "i4"),
            "GenFilter_numEventsPassed": np.array([p.trials.passed for p in self.pieces], "i4"),
            "GenFilter_filterEfficiency": efficiency,
            "GenFilter_filterEfficiencyError": uncertainty,
        }
        return {name: Column([np.ascontiguousarray(value)]) for name, value in values.items()}

    def _runs(self) -> dict[str, Column]:
        values = {
            "run": np.array([RUN], "u4"),
            "genEventCount": np.array([sum(p.size for p in self.pieces)], "i8"),
            "genEventSumw": np.array([sum(p.sumw for p in self.pieces)], "f8"),
            "genEventSumw2": np.array([sum(p.sumw2 for p in self.pieces)], "f8"),
        }
        section = self.trials.passed_cross_section
        if section is not None:
            values |= {name: np.array([value], "f8") for name, value in zip(("genXSec", "genXSecError"), section)}
        return {name: Column([value]) for name, value in values.items()}
