"""Conversion of ROOT into padded, uncompressed HDF5, beside peers and limits; memory, processes, wide and fine files.

The limit is the time to decompress just the baskets that are needed and to write the bytes of our output.
"""

from __future__ import annotations

from collections.abc import Iterator

import data
from measure import LIMIT, OURS, Comparison, Method, Options, Settings, at_least, at_most, compare, measure

NANOFORGE = "NanoForge"
AWKWARD = "awkward idiom"
FINE_AWKWARD = "awkward idiom, fine steps"
LOOP = "per-event loop (MLaaS4HEP)"
COFFEA = "coffea NanoEvents"


def run(settings: Settings) -> Iterator[Comparison]:
    for codec in data.CODECS:
        yield peers(settings, codec)
    for codec in ("zstd", "zlib"):
        yield cuts(settings, codec)
    yield small_baskets(settings)
    yield wide_file(settings)
    yield processes(settings)
    yield memory(settings)


def peers(settings: Settings, codec: str) -> Comparison:
    """All columns without a cut."""
    methods = _methods(settings, "plain", codec)
    result = compare(f"convert, 47 columns, 4 collections, {codec}", methods, settings)
    if codec in ("zstd", "zlib"):
        result.targets = [
            at_most(f"{codec}: CPU / limit", result[NANOFORGE].cost / result.limit, 1.2),
            at_least(f"{codec}: times the awkward idiom", result.times(AWKWARD, NANOFORGE), 4),
            at_least(f"{codec}: times the per-event loop", result.times(LOOP, NANOFORGE), 40),
        ]
    return result


def cuts(settings: Settings, codec: str) -> Comparison:
    """One event cut, one cut on jets with sorting, two defined columns."""
    methods = [m for m in _methods(settings, "cuts", codec) if m.name != LOOP]
    result = compare(f"convert with cuts, sorting and two defines, {codec}", methods, settings)
    result.targets = [at_most(f"{codec}: CPU / limit", result[NANOFORGE].cost / result.limit, 1.8)]
    return result


def small_baskets(settings: Settings) -> Comparison:
    """Baskets of 1,000 entries: the cost of a basket itself."""
    methods = _methods(settings, "plain", "zstd", basket=1000)
    chosen = [m for m in methods if m.name in (NANOFORGE, AWKWARD) or m.kind == LIMIT]
    return compare("convert, baskets of 1,000 entries, zstd", chosen, settings)


def wide_file(settings: Settings) -> Comparison:
    """20 branches of 1,000, and the same 20 alone."""
    wide, narrow = f"{NANOFORGE}, 20 of 1,000 branches", f"{NANOFORGE}, 20 branches"
    methods = [
        _ours(name, settings, "narrow", **_inputs(settings, shape, "zstd"))
        for name, shape in ((wide, "wide"), (narrow, "narrow"))
    ]
    result = compare("convert 20 branches of a wide file", methods, settings)
    result.targets = [at_most("CPU, 20 of 1,000 / 20 branches", result.times(wide, narrow), 1.3)]
    return result


def processes(settings: Settings) -> Comparison:
    """Four files, one process and two; what it takes to start the two is seen with files that hold next to nothing."""
    one, two, start = (f"{NANOFORGE}, {text}" for text in ("1 process", "2 processes", "2 processes, small files"))
    warm = {"sources": _four(settings, settings.few), "jobs": 1}
    methods = [
        Method(name, "converters.nanoforge", {"sources": files, "case": "plain", "jobs": jobs}, warm, events, OURS)
        for name, files, jobs, events in (
            (one, _four(settings, settings.many // 2), 1, 2 * settings.many),
            (two, _four(settings, settings.many // 2), 2, 2 * settings.many),
            (start, _four(settings, settings.few), 2, 4 * settings.few),
        )
    ]
    result = compare("convert 4 files", methods, settings)
    wall = {row.name: row.wall for row in result.rows}
    result.targets = [at_least("wall, 1 process / 2 processes", wall[one] / wall[two], 1.8)]
    ratio = wall[one] / (wall[two] - wall[start])
    result.conclusions = [f"without the {wall[start]:.1f} s that two workers take to start: {ratio:.2f}"]
    return result


def _four(settings: Settings, events: int) -> list[str]:
    return [_file(settings, "nano", events, number=i) for i in range(4)]


def memory(settings: Settings) -> Comparison:
    """The peak must not grow with the file."""
    few, many = settings.events, settings.many
    methods = [
        _ours(f"{NANOFORGE}, {n:,} events", settings, "plain", **_inputs(settings, "nano", "zstd", events=n))
        for n in (few, many)
    ]
    result = compare("convert, memory", methods, settings, repeat=1)
    low, high = (row.peak_mb for row in result.rows)
    result.targets = [at_most("peak MB", high, 700), at_most(f"peak, {many:,} / {few:,} events", high / low, 1.1)]
    return result


def _methods(settings: Settings, case: str, codec: str, basket: int = data.BASKET) -> list[Method]:
    """Ours, peers and limits of one file; ours runs once before, to say how much there is to write."""
    inputs = _inputs(settings, "nano", codec, basket=basket)
    ours = _ours(NANOFORGE, settings, case, **inputs)
    size = measure(ours, settings.folder)["value"]["bytes"]
    common = ({"case": case} | inputs["options"], inputs["warm"], settings.events)
    loop = min(settings.events, 5 * settings.few)
    sources = {"sources": inputs["options"]["sources"], "shape": "nano"}
    return [
        ours,
        *(
            Method(name, "converters.awkward", common[0] | {"step": step}, *common[1:], note=note)
            for name, step, note in (
                (AWKWARD, "100 MB", "in steps of 100 MB, the default of uproot.iterate"),
                (FINE_AWKWARD, data.BASKET, "in steps of one basket, tuned by hand"),
            )
        ),
        Method(COFFEA, "converters.coffea", *common, environment="coffea"),
        Method(
            LOOP,
            "converters.per_event",
            common[0] | {"events": loop},
            inputs["warm"] | {"events": settings.few},
            loop,
            note="on fewer events; without its first pass over the file for ranges and longest lists, which are given",
        ),
        Method("limit: decompression", "converters.decompression", sources, inputs["warm"], settings.events, LIMIT),
        Method("limit: raw write", "converters.raw_write", {"size": size}, {"size": 1 << 20}, settings.events, LIMIT),
    ]


def _ours(name: str, settings: Settings, case: str, options: Options, warm: Options, events: int) -> Method:
    return Method(name, "converters.nanoforge", options | {"case": case}, warm, events, OURS)


def _inputs(settings: Settings, shape: str, codec: str, basket: int = data.BASKET, events: int = 0) -> dict:
    """Return a file, and a small one of the same kind for the warm-up."""
    events = events or settings.events
    files = [_file(settings, shape, n, codec=codec, basket=basket) for n in (events, settings.few)]
    return {"options": {"sources": files[:1]}, "warm": {"sources": files[1:]}, "events": events}


def _file(settings: Settings, shape: str, events: int, **options: int | str) -> str:
    return str(data.make(settings.folder, shape, events, **options))
