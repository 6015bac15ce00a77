"""Write a commented analysis file that fits given files; with two samples or more it runs as it is."""

from __future__ import annotations

import glob
import math
import os
import re
import shlex
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import yaml

from ..config.schema import IDENTITY
from ..console import out, progress
from ..errors import UserError
from ..events.columns import Branch, Column, collections
from ..events.expressions import parse
from ..events.files import expand, is_remote
from ..events.grouping import has_collection, lists_of_equal_lengths
from ..events.identity import is_identifier, likely_identity
from ..events.open import open_events
from ..events.reader import EventFile
from ..events.view import with_collections
from ..provenance.manifest import write_atomically

MISSING = -999
"""The value by which skims of CMS data mark "not there"."""

_INPUTS = {
    "Jet": "jets",
    "FatJet": "fatjets",
    "Electron": "electrons",
    "Muon": "muons",
    "Tau": "taus",
    "Photon": "photons",
    "SV": "vertices",
    "PFCands": "pfcands",
}
_MOST_FEATURES = 10
_MOST_EVENT_FEATURES = 100
_LENGTH_QUANTILE = 0.99
_DEFAULT_LENGTH = 10
_MOST_MENTIONED = 20
_WIDTH = 118

# What must not be learnt from, or says nothing: globs on the names of branches.
_TRUTH = ("[gG]en*", "SubGen*", "*_gen*", "*Gen[A-Z]*", "LHE*", "Pileup*", "HTXS*", "*Flavour*", "*[tT]ruth*", "mc_*")
_SIMULATED = ("[gG]en*", "LHE*", "Pileup*", "*genPart*", "*hadronFlavour")
_INDICES = ("*Idx*", "*_idx*", "*_index*", "*cleanmask")
_IDENTIFIERS = (
    *IDENTITY,
    "lumi*",
    "*Number",
    "bunchCrossing",
    "entry",
    "index",
    "sample*",
    "process*",
    "label",
    "year",
)
_WEIGHTS = ("*[wW]eight*", "*[sS]umw*", "LHEScale*", "PSWeight*")
_BITS = ("HLT*", "L1*", "DST_*", "Flag_*", "*[tT]rigger*")
_NO_EVENT_FEATURE = (*_TRUTH, *_INDICES, *_IDENTIFIERS, *_WEIGHTS, *_BITS)
_NO_OBJECT_FEATURE = (*_TRUTH, *_INDICES)

# Integers whose order means nothing.
_CATEGORIES = ("*charge", "*[dD]ecayMode*", "*pdgId", "*Id", "*cutBased*", "*[fF]lag*", "is[A-Z]*", "*_is[A-Z]*")
_MOST_CATEGORIES = 20
_LARGEST_CATEGORY = 1_000_000

# Where a file has collections, these describe the event as a whole; what else there is, is proposed in comments.
# fmt: off
_EVENT_FIRST = (
    "PuppiMET_pt", "PuppiMET_phi", "MET_pt", "MET_phi", "MET_significance", "MET_sumEt", "PV_npvsGood",
    "fixedGridRhoFastjetAll", "Rho_fixedGridRhoFastjetAll",
)
_OBJECT_FIRST = (
    "pt", "eta", "phi", "mass", "msoftdrop", "charge", "tau1", "tau2", "tau3", "tau4",
    "btagUParTAK4B", "btagPNetB", "btagDeepFlavB", "dxy", "dz", "sip3d", "pfRelIso03_all", "pfRelIso04_all",
    "mvaFall17V2Iso", "mvaIso", "decayMode", "rawDeepTau2017v2p1VSjet", "r9", "sieie", "hoe", "mvaID",
    "dlenSig", "dxySig", "ntracks", "chi2", "pAngle", "d0", "d0Err", "dzErr", "puppiWeight",
    "nConstituents", "qgl", "area",
)
# fmt: on


@dataclass
class Look:
    """What the first events of the files say about the columns.

    ``varies`` are columns with more than one value in some file, ``missing`` those that hold -999, ``broken`` those
    that hold NaN or infinities, ``uneven`` those whose lists are not as long as the rest of their collection,
    ``lengths`` the numbers of objects per event of every collection, ``inputs`` the names of inputs by collection,
    ``categories`` the values of columns whose names say that they are categories,
    ``grouped`` those collections whose names do not say so, as ``collections`` of the analysis file has them.
    """

    inputs: dict[str, str] = field(default_factory=lambda: dict(_INPUTS))
    grouped: dict[str, dict[str, str]] = field(default_factory=dict)
    varies: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    uneven: set[str] = field(default_factory=set)
    lengths: dict[str, list[np.ndarray]] = field(default_factory=dict)
    categories: dict[str, set[int]] = field(default_factory=dict)

    def at(self, name: str, column: Column) -> None:
        """Look at the values of one column."""
        values = column.content
        if len(values) and (len(values) == 1 or (values != values[0]).any()):
            self.varies.add(name)
        if (values == MISSING).any():
            self.missing.add(name)
        if not np.isfinite(values).all():
            self.broken.add(name)
        elif _like(name, _CATEGORIES):
            self.categories.setdefault(name, set()).update(np.unique(values).tolist())

    def feature(self, name: str, column: str) -> str:
        """Write a feature as YAML: with its categories where few integers without an order were seen."""
        values = sorted(self.categories.get(column, ()))
        few = 1 < len(values) <= _MOST_CATEGORIES
        whole = all(value == int(value) and abs(value) <= _LARGEST_CATEGORY for value in values)
        if not (few and whole) or column in self.missing | self.broken:
            return _quoted(name)
        return f"{{{_quoted(name)}: {{categories: [{', '.join(str(int(value)) for value in values)}]}}}}"

    def length(self, collection: str) -> int:
        """Return how many objects are enough for nearly all events."""
        lengths = np.concatenate([*self.lengths.get(collection, []), np.zeros(0, dtype=np.int64)])
        return max(1, math.ceil(np.quantile(lengths, _LENGTH_QUANTILE))) if len(lengths) else _DEFAULT_LENGTH


@dataclass
class Source:
    """One file: its sample's name, its number of events where that is known, its columns, and whether it is data."""

    sample: str
    path: str
    entries: int | None
    branches: dict[str, Branch]
    data: bool


@dataclass
class Features:
    """Proposed features of one input: those to use, and those to mention."""

    name: str
    used: list[str]
    further: list[str]
    columns: list[str]
    collection: str | None = None


def init(files: list[str], output: Path, tree: str) -> None:
    """Write an analysis file with one sample per file.

    Parameters
    ----------
    files
        Files, globs, list files and addresses.
    output
        The analysis file; one that exists is never overwritten.
    tree
        The TTree or RNTuple.

    Raises
    ------
    UserError
        When the output exists or cannot be written, or when the files share no column to learn from.
    FileError
        For a file that cannot be read, or has no such tree.
    """
    if output.exists():
        raise UserError(f"{output} exists and is not overwritten: remove it, or name another one with -o")
    sources, look = _look_at(expand(files, "FILES"), tree)
    common = _common(sources)
    inputs = _propose(common, look)
    if not inputs:
        raise UserError(_nothing(common))
    text = "\n".join(_compose(output, tree, sources, common, look, inputs))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(output, text + "\n")
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error})") from None
    _say_what_next(output, sources, inputs)


def _nothing(common: Mapping[str, Branch]) -> str:
    """Say why nothing is proposed."""
    lists = [name for name, branch in common.items() if branch.jagged and branch.dtype is not None]
    if not lists:
        return "the files share no column of numbers that a model could learn from: see 'nanoforge inspect'"
    example = lists[0]
    return (
        f"the files share no column of numbers that a model could learn from but lists ({', '.join(lists[:5])}) that "
        f"form no collection: write the analysis file yourself, with elements of them, {example}[0], sums, "
        f"sum({example}), or collections: {{Name: {{attribute: {example}}}}}"
    )


# -- looking ----------------------------------------------------------------------------------------------------------


def _look_at(paths: Sequence[str], tree: str) -> tuple[list[Source], Look]:
    """Describe all files and look at the first events of each."""
    sources: list[Source] = []
    look = Look()
    with progress("looking at files", len(paths)) as bar:
        for path, sample in zip(paths, _sample_names(paths)):
            with open_events(path, tree, checksum=False) as stored:
                if not sources:
                    _find_collections(stored, look)
                file = with_collections(stored, _present(look.grouped, stored))
                hidden = {member for members in look.grouped.values() for member in members.values()}
                branches = {n: b for n, b in file.branches.items() if n not in hidden and n[1:] not in hidden}
                sources.append(Source(sample, path, file.entries, branches, _look_at_events(file, look)))
            bar.advance(1)
    return sources, look


def _find_collections(file: EventFile, look: Look) -> None:
    """Group lists of equal lengths in a file that has none of the well-known collections."""
    groups, _ = collections(file.branches)
    if any(name in groups for name in _INPUTS):
        return
    members = [branch for group in groups.values() for branch in group.branches.values()]
    for name, lists in lists_of_equal_lengths(file, _usable(members, _NO_OBJECT_FEATURE)).items():
        proposed = has_collection(lists, file.branches)
        if proposed is None:
            look.grouped[name] = lists
        look.inputs.setdefault(proposed or name, f"{(proposed or name).lower()}s")


def _present(grouped: Mapping[str, Mapping[str, str]], file: EventFile) -> dict[str, dict[str, str]]:
    """Leave out what another file does not have."""
    present = {
        name: {a: m for a, m in members.items() if m in file.branches and file.branches[m].jagged}
        for name, members in grouped.items()
    }
    return {name: members for name, members in present.items() if members}


def _look_at_events(file: EventFile, look: Look) -> bool:
    """Look at the first events of a file, and tell whether it looks like recorded data."""
    groups, flat = collections(file.branches)
    values = _usable(flat.values(), _NO_EVENT_FEATURE)
    lists = {c: _usable(groups[c].branches.values(), _NO_OBJECT_FEATURE) for c in look.inputs if c in groups}
    names = [*values, *(name for members in lists.values() for name in members)]
    recorded = all(name in flat for name in IDENTITY[:2]) and not any(_like(n, _SIMULATED) for n in file.branches)
    chunk = next(file.chunks([*names, *(IDENTITY[:1] if recorded else ())]), None) if names else None
    if chunk is None:
        return False
    for name in names:
        look.at(name, chunk.columns[name])
    for collection, members in lists.items():
        lengths = {n: np.diff(offsets) for n in members if (offsets := chunk.columns[n].offsets) is not None}
        first = next(iter(lengths.values()), None)
        if first is not None:
            look.lengths.setdefault(collection, []).append(first)
            look.uneven |= {name for name, offsets in lengths.items() if not np.array_equal(offsets, first)}
    return recorded and bool((chunk.columns[IDENTITY[0]].content > 1).all())  # simulation is run 1


def _usable(branches: Iterable[Branch], unwanted: Sequence[str]) -> list[str]:
    """Return the names of columns of numbers that are no flags and no identifiers, and that no glob excludes."""
    numbers = [b for b in branches if b.dtype is not None and b.dtype.kind in "iuf"]
    return [b.name for b in numbers if (b.jagged or not is_identifier(b.name)) and not _like(b.name, unwanted)]


def _like(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _common(sources: Sequence[Source]) -> dict[str, Branch]:
    """Return the columns that all files have, in the order of the first."""
    first, *others = ({n: (b.jagged, b.dtype is None) for n, b in s.branches.items()} for s in sources)
    return {n: sources[0].branches[n] for n, kind in first.items() if all(other.get(n) == kind for other in others)}


def _sample_names(paths: Sequence[str]) -> list[str]:
    """Make an identifier of every file's name, no two alike."""
    names: list[str] = []
    for path in paths:
        stem = Path(path.split("?")[0]).name.split(".")[0]
        base = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_")
        base = base if base[:1].isalpha() else f"sample_{base}".rstrip("_")
        number = 2
        name = base
        while name in names:
            name = f"{base}_{number}"
            number += 1
        names.append(name)
    return names


# -- proposing --------------------------------------------------------------------------------------------------------


def _propose(common: Mapping[str, Branch], look: Look) -> list[Features]:
    """Choose features of the event and of the well-known collections."""
    groups, flat = collections(common)
    inputs = []
    for name in (c for c in look.inputs if c in groups):
        usable = _usable(groups[name].branches.values(), _NO_OBJECT_FEATURE)
        columns = {groups[name].attribute(c): c for c in usable if c in look.varies and c not in look.uneven}
        proposal = _choose(look.inputs[name], columns, _OBJECT_FIRST, _MOST_FEATURES)
        if proposal is not None:
            proposal.collection = name
            inputs.append(proposal)
    counters = [f"n{i.collection}" for i in inputs if f"n{i.collection}" in common]
    columns = {c: c for c in counters + [c for c in _usable(flat.values(), _NO_EVENT_FEATURE) if c in look.varies]}
    first = [*_EVENT_FIRST, *counters] if inputs else []
    event = _choose("event", columns, first, _MOST_EVENT_FEATURES)
    return [event, *inputs] if event is not None else inputs


def _choose(name: str, columns: Mapping[str, str], first: Sequence[str], most: int) -> Features | None:
    """Use the well-known ones of some features, or simply the first where none is well known."""
    usable = [feature for feature in columns if _is_expression(feature)]
    used = ([feature for feature in first if feature in usable] or usable)[:most]
    further = [feature for feature in usable if feature not in used]
    return Features(name, used, further, [columns[feature] for feature in used]) if used else None


def _is_expression(name: str) -> bool:
    """Whether an analysis file can name a column: some names, like ``a-b``, mean something else there."""
    try:
        return parse(name).text in parse(name).names
    except UserError:
        return False


# -- writing ----------------------------------------------------------------------------------------------------------


def _compose(
    output: Path,
    tree: str,
    sources: Sequence[Source],
    common: Mapping[str, Branch],
    look: Look,
    inputs: Sequence[Features],
) -> list[str]:
    name = re.sub(r"[^A-Za-z0-9]+", "_", output.stem).strip("_")
    files = f"{len(sources)} file{'s' if len(sources) > 1 else ''}"
    return [
        f"# An analysis file of NanoForge, proposed by 'nanoforge init' after a look at the first events of {files}.",
        "# It runs as it is, but labels, selection and features are guesses: read it and make it yours."
        if len(sources) > 1
        else "# It runs with a second sample, or classes; labels, selection and features are guesses: make it yours.",
        "# Any key can be changed for one run: nanoforge convert FILE -o dataset training.epochs=5",
        "",
        f"name: {_quoted(name if name[:1].isalpha() else 'analysis')}  # letters, digits and _",
        f"tree: {_quoted(tree)}  # a TTree or an RNTuple; dir/tree works",
        "",
        *_samples(output, sources),
        *_collections(look),
        "",
        *_selection(inputs, alone=len(sources) == 1),
        "",
        "row: event  # one row of the training data per event; a collection's name, e.g. Jet: one row per object",
        "",
        "# What the model sees. Truth, weights, trigger bits, indices and identifiers were left out, and so was what",
        "# has only one value in each file: it would tell the files apart and nothing else.",
        "inputs:",
        *(line for block in inputs for line in _input(block, look)),
        *_left_out(sources, common, look, inputs),
        "",
        *_event_keys(common),
        "",
        *_training(any(block.collection for block in inputs)),
    ]


def _samples(output: Path, sources: Sequence[Source]) -> list[str]:
    lines = [
        "# One entry per process. 'files' is a name, a glob, a .txt list, an address (root://, https://), or a list of",
        "# such; relative names start at the folder of this file. Samples with the same label are one class.",
        "samples:",
    ]
    for i, source in enumerate(sources):
        entries = f"  # {source.entries:,} entries" if source.entries is not None else ""
        lines += [
            f"  {_quoted(source.sample)}:",
            f"    files: {_quoted(_address(source.path, output))}{entries}",
            f"    label: {'background' if i else 'signal'}",
        ]
        if source.data:
            lines.append("    data: true  # recorded data, for it has no generator branches; golden_json applies")
            continue
        lines.append("    # xsec: 1.0  # cross section in pb: for all simulated samples, or for none")
        if i == 0:
            lines.append("    # data: true  # recorded data: no cross section, and golden_json applies")
    if len(sources) == 1:
        lines += [
            "  # A classification needs a second class. Fill in another sample, or classes by 'target' below:",
            "  # other:",
            "  #   files: other.root",
            "  #   label: background",
        ]
    return lines


def _collections(look: Look) -> list[str]:
    """Group lists whose names do not say that they describe the same objects."""
    if not look.grouped:
        return []
    lines = [
        "",
        "# Lists of the same lengths in the events seen: they describe the same objects (checked in all events).",
    ]
    lines.append("collections:")
    for name, members in look.grouped.items():
        pairs = (f"{_quoted(attribute)}: {_quoted(member)}" for attribute, member in members.items())
        lines += _wrapped(f"  {name}: {{", pairs, "}", "    ")
    return lines


def _selection(inputs: Sequence[Features], alone: bool) -> list[str]:
    """Show what cuts, new columns and targets look like, with columns that are there."""
    block = next((i for i in inputs if i.collection), inputs[0])
    column = block.columns[0]
    new = f"sum({column})" if block.collection else f"log(1 + abs({column}))"
    cut = f"num({column} > 30) >= 2" if block.collection else f"{column} > 0"
    conditions = (cut, f"not ({cut})") if alone else ("label == 'signal'", "label != 'signal'")
    classes = ", ".join(f"{name}: {_quoted(text)}" for name, text in zip(("signal", "background"), conditions))
    return [
        "# New columns, in order, and named cuts that are ANDed and reported as a cut flow. Expressions know",
        "# + - * / & | !, comparisons, sum, num, any, all, min, max, abs, delta_r, where ...",
        "# define:",
        f"#   example: {_quoted(new)}",
        "# select:",
        f"#   example_cut: {_quoted(cut)}",
        "",
        "# Without a target the labels of the samples are the classes.",
        f"# target: {{classes: {{{classes}}}}}",
        f"# target: {{regression: {{example: {_quoted(new)}}}}}",
    ]


def _input(block: Features, look: Look) -> list[str]:
    lines = [f"  {block.name}:"]
    if block.collection is not None:
        where = "abs(eta) < 2.4" if "eta" in block.used else f"{block.used[0]} > 0"
        lines += [
            f"    collection: {block.collection}",
            f"    length: {look.length(block.collection)}  # objects kept per row; enough for 99 % of the events seen",
            *(["    sort: -pt  # which come first, and are kept"] if "pt" in block.used else []),
            f"    # where: {_quoted(where)}  # which objects count",
        ]
    features = [look.feature(name, column) for name, column in zip(block.used, block.columns)]
    if any("categories" in feature for feature in features):
        lines.append("    # categories: values seen whose order means nothing; all others are one category more")
    lines += _wrapped("    features: [", features, "]", "      ")
    if block.further:
        lines += _wrapped("    # further ones: ", block.further, "", "    #   ")
    if look.missing.intersection(block.columns):
        lines.append(f"    missing: {MISSING}  # this value means 'not there'")
    if look.missing.union(look.broken).intersection(block.columns):
        lines.append("    nan: {fill: 0}  # what NaN, infinities and missing values become")
    else:
        lines.append("    # nan: {fill: 0}  # what NaN and infinities become; without it they are an error")
    return lines


def _left_out(
    sources: Sequence[Source], common: Mapping[str, Branch], look: Look, inputs: Sequence[Features]
) -> list[str]:
    """Mention the other collections, and columns that were not proposed for what they hold or where they are."""
    used = {block.collection for block in inputs}
    groups, flat = collections(common)
    some = dict.fromkeys(n for s in sources for n in s.branches)
    fixed = [n for n, b in common.items() if b.jagged and re.search(r"\[\d+\]$", b.type_name)]
    remarks = {
        "lists of a fixed length, whose elements are x[0], x[1] ...": fixed,
        "other collections": [n for n in groups if n not in {*used, *fixed} and not _like(n, _TRUTH)],
        "only one value in each file": [n for n in _usable(flat.values(), _NO_EVENT_FEATURE) if n not in look.varies],
        "names that no expression can mention": [n for n in _usable(flat.values(), ()) if not _is_expression(n)],
        "not in every file": [n for n in some if n not in common and not _like(n, _NO_EVENT_FEATURE)],
    }
    lines = []
    for remark, names in remarks.items():
        if names:
            more = [f"and {len(names) - _MOST_MENTIONED} more"] if len(names) > _MOST_MENTIONED else []
            lines += _wrapped(f"  # {remark}: ", [*map(_quoted, names[:_MOST_MENTIONED]), *more], "", "  #   ")
    return lines


def _event_keys(common: Mapping[str, Branch]) -> list[str]:
    flat = {n for n, b in collections(common)[1].items() if b.dtype is not None}
    weights = sorted((n for n in flat if _like(n, _WEIGHTS) and _is_expression(n)), key=lambda n: (n != "genWeight", n))
    lines = ["# The physics weight of an event (an expression); the balance of the classes is separate, see training."]
    mark = "" if "genWeight" in flat else "# "
    lines.append(f"{mark}weight: {_quoted(weights[0] if weights else '1')}  # without it every event counts the same")
    if len(weights) > 1:
        lines += _wrapped("# further columns that look like weights: ", weights[1:_MOST_MENTIONED], "", "#   ")
    identity = likely_identity(common)
    columns = ", ".join(map(_quoted, identity or IDENTITY))
    mark = "" if identity else "# "
    if identity != [*IDENTITY]:
        lines += ["", "# The columns that identify an event: copies of it, in any file, are on one side of the split."]
        lines.append(f"{mark}identity: [{columns}]")
    lines += ["", "# Columns carried along to the training data and the predictions, not shown to the model."]
    return [*lines, f"{mark}keep: [{columns}]"]


def _training(lists: bool) -> list[str]:
    used, other = ("deepsets", "mlp") if lists else ("mlp", "deepsets")
    sizes = {"deepsets": "constituent: [128, 128], hidden: [128, 128]", "mlp": "hidden: [128, 128, 128]"}
    return [
        "# By a hash of the event's identity: the same event is always on the same side. folds: k trains k models.",
        "split: {train: 0.7, val: 0.1, test: 0.2, folds: 1, seed: 1}",
        "dataset: {format: hdf5, layout: tensors}  # or format: parquet; or layout: salt",
        f"model: {{type: {used}, {sizes[used]}, dropout: 0}}",
        f"# model: {{type: {other}, {sizes[other]}, dropout: 0}}",
        "training:",
        "  epochs: 20  # at most",
        "  batch_size: 1024",
        "  learning_rate: 0.001",
        "  patience: 5  # epochs without a better validation loss, then it stops",
        "  balance: {classes: weights}  # classes count the same in sum of weights; or counts, or none",
        "  seed: 1",
        "  # accelerator: gpu  # or cpu; the default takes a GPU where there is one",
    ]


def _address(path: str, output: Path) -> str:
    """Name a file so that it is found from the analysis file's folder, whatever characters it has."""
    if is_remote(path):
        return path
    if not Path(path).is_absolute():
        relative = os.path.relpath(path, output.resolve().parent)
        path = relative if not relative.startswith("~") else str(Path(path).absolute())
    return glob.escape(path)


def _quoted(text: str) -> str:
    """Write a text as YAML: plain where that is safe, else in double quotes, and never as an interpolation."""
    if re.fullmatch(r"[A-Za-z_]\w*", text, re.ASCII) and text.lower() not in _YAML_WORDS:
        return text
    literal = re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", text)
    return yaml.safe_dump(literal, default_style='"', allow_unicode=True, width=math.inf).strip()


_YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf"}


def _wrapped(start: str, names: Iterable[str], end: str, indent: str) -> list[str]:
    text = start + ", ".join(names) + end
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _say_what_next(output: Path, sources: Sequence[Source], inputs: Sequence[Features]) -> None:
    blocks = [f"{block.name} ({len(block.used)} features)" for block in inputs]
    name = shlex.quote(str(output))
    samples = f"{len(sources)} sample{'s' if len(sources) > 1 else ''}"
    out.print(f"wrote {output}: {samples}; inputs {', '.join(blocks)}", markup=False)
    todo = "correct labels, selection and features in it"
    if len(sources) == 1:
        todo = "add a second sample or classes to it (the comments say how)"
    out.print(f"next: {todo}, then", markup=False)
    out.print(f"  nanoforge convert {name} -o dataset", markup=False)
    out.print(f"  nanoforge train {name} --data dataset -o run", markup=False)
