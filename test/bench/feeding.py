"""Feeding a training: batches of 1,024 from a ROOT file or from HDF5, and an MLP that is trained with them."""

from __future__ import annotations

from collections.abc import Iterator

import data
from measure import LIMIT, OURS, Comparison, Method, Options, Settings, at_least, at_most, compare, measure

STREAMED = "NanoForge, streamed"
FIRST_EPOCH = "NanoForge, streamed, first epoch"
IN_MEMORY = "NanoForge, in memory"
WEAVER = "weaver, fetch-step 0.1"
WEAVER_IN_MEMORY = "weaver, in memory"
RDATALOADER = "ROOT RDataLoader"
SALT = "salt"


def run(settings: Settings) -> Iterator[Comparison]:
    files = [_file(settings, n) for n in (settings.events, settings.few)]
    yield from_root(settings, *files)
    rows = _make_datasets(settings, *files)
    weaver = _method(settings, WEAVER_IN_MEMORY, "weaver", *({"source": f, "in_memory": True} for f in files), rows)
    yield from_hdf5(settings, rows, weaver)
    yield training(settings, rows)
    yield memory(settings)


def from_root(settings: Settings, file: str, small: str) -> Comparison:
    """Cut, clip, pad, mask and shuffle while reading."""
    many, few = {"source": file}, {"source": small, "check": True}
    ours = _method(settings, STREAMED, "streamed", many, few)
    first = _method(settings, FIRST_EPOCH, "first_epoch", many, {"source": small})
    weaver = _method(settings, WEAVER, "weaver", many | {"in_memory": False}, few)
    root = _method(settings, RDATALOADER, "root", many, few)
    sources = [{"sources": [source], "shape": "feed"} for source in (file, small)]
    limit = Method("limit: decompression", "converters.decompression", *sources, settings.events, LIMIT)
    result = compare("training feed from ROOT, lz4", [ours, first, weaver, root, limit], settings)
    result.targets = [
        at_least("times weaver with fetch-step 0.1", result.times(WEAVER, STREAMED), 4),
        at_least("times ROOT's RDataLoader", result.times(RDATALOADER, STREAMED), 1),
    ]
    return result


def from_hdf5(settings: Settings, rows: int, weaver: Method) -> Comparison:
    """Rows that are cut, clipped and padded; weaver, which has its own in memory, beside them."""
    tensors, few = _options(settings, "tensors")
    salted = _options(settings, "salt")
    methods = [
        _method(settings, STREAMED, "hdf5", tensors | {"in_memory": "never"}, few, rows),
        _method(settings, IN_MEMORY, "hdf5", tensors | {"in_memory": "always"}, few, rows),
        weaver,
        _method(settings, SALT, "salt", *salted, rows),
        _method(settings, "limit: tensors in memory", "in_memory", tensors, few, rows),
    ]
    result = compare("training feed from HDF5", methods, settings)
    result.targets = [
        at_least("times weaver in memory", result.times(WEAVER_IN_MEMORY, STREAMED), 8),
        at_least("times salt", result.times(SALT, STREAMED), 1.5),
    ]
    return result


def training(settings: Settings, rows: int) -> Comparison:
    """An MLP of 3 x 128 on the CPU, one thread."""
    ours, memory = "MLP, NanoForge streamed", "limit: MLP, tensors in memory"
    large, small = _options(settings, "tensors")
    options = (large, {"source": small["source"]}, rows)
    methods = [
        _method(settings, ours, "train_from_hdf5", *options),
        _method(settings, memory, "train_from_tensors", *options),
    ]
    result = compare("training fed from HDF5", methods, settings)
    result.targets = [at_least("speed / speed on tensors in memory", result[memory].cost / result[ours].cost, 0.9)]
    return result


def memory(settings: Settings) -> Comparison:
    """The peak of streaming from ROOT must not grow with the file."""
    few, many = settings.events, settings.many
    warm = {"source": _file(settings, settings.few)}
    methods = [
        _method(settings, f"{STREAMED}, {n:,} events", "streamed", {"source": _file(settings, n)}, warm, n)
        for n in (few, many)
    ]
    result = compare("training feed from ROOT, memory", methods, settings, repeat=1)
    low, high = (row.peak_mb for row in result.rows)
    result.targets = [at_most("peak MB", high, 700), at_most(f"peak, {many:,} / {few:,} events", high / low, 1.1)]
    return result


NOTES = {
    FIRST_EPOCH: "with the pass that counts the rows of the file, which is made once",
    WEAVER: "shuffles within a fetch, a tenth of the file; batches are (B, F, L); rows are collated one by one",
    WEAVER_IN_MEMORY: "reading, cutting and padding are over; what is timed is shuffling and collating",
    RDATALOADER: "first epoch (its second is all zeros); flat batches, B x 150, feature after feature, all floats",
    SALT: "shuffles batches, not rows",
}
ENVIRONMENTS = {WEAVER: "weaver", WEAVER_IN_MEMORY: "weaver", RDATALOADER: "root", SALT: "salt"}


def _method(settings: Settings, name: str, function: str, options: Options, warm: Options, events: int = 0) -> Method:
    kind = OURS if "NanoForge" in name else LIMIT if name.startswith("limit") else "peer"
    others = (NOTES.get(name, ""), ENVIRONMENTS.get(name, ""))
    return Method(name, f"loaders.{function}", options, warm, events or settings.events, kind, *others)


def _make_datasets(settings: Settings, file: str, small: str) -> int:
    """Convert both files into both layouts, and return the rows of the large one."""
    rows = 0
    for layout in ("tensors", "salt"):
        outputs = (option["source"] for option in _options(settings, layout))
        options = [{"source": s, "output": o, "layout": layout} for s, o in zip((file, small), outputs)]
        made = measure(Method("dataset", "loaders.dataset", *options, settings.events), settings.folder)
        rows = made["value"]["rows"]
    return rows


def _options(settings: Settings, layout: str) -> tuple[Options, Options]:
    """Say where the dataset in a layout lies, and the small one for the warm-up."""
    large, small = (str(settings.folder / f"feed-{layout}-{size}") for size in ("large", "small"))
    return {"source": large}, {"source": small, "check": True}


def _file(settings: Settings, events: int) -> str:
    return str(data.make(settings.folder, "feed", events, "lz4"))
