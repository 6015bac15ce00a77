"""The plugins for CMSSW without CMSSW: their logic in plain g++, their sources, and their description to scram.

What needs a release is in ``test/catch2`` and ``test/BuildFile.xml``.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, Callable, Optional

import awkward as ak
import hits as detector
import numpy as np
import onnx
import onnxruntime
import pytest
from nanoforge.cmssw import descriptions
from nanoforge.config.generator import Generator, GenFilter
from nanoforge.config.schema import IDENTITY
from nanoforge.dataset.identity import assign_fold
from nanoforge.events.columns import Chunk
from nanoforge.events.hashing import event_hash
from nanoforge.events.open import open_events
from nanoforge.serving.session import feeds as columns_by_event
from nanoforge.simulation.detector import grid
from nanoforge.simulation.detector.candidates import SOLENOID
from nanoforge.simulation.detector.helix import propagate
from nanoforge.simulation.generator.event_blocks import generate_block
from nanoforge.simulation.generator.filters import passing
from nanoforge.simulation.generator.history import History
from nanoforge.simulation.objects import hits as hits_tables
from nanoforge.simulation.objects.branches import CANDIDATE
from nanoforge.stages.export import export
from scipy import stats
from stages.test_export import JETS, friend, untrained

ROOT = Path(__file__).resolve().parents[2]
PLUGINS, PROGRAMS = ROOT / "plugins", ROOT / "test" / "cpp"
SOURCES = sorted([*PLUGINS.glob("*.h"), *PLUGINS.glob("*.cc")])
CPLUSPLUS = [*SOURCES, *sorted(PROGRAMS.iterdir()), *sorted((ROOT / "test" / "catch2").iterdir())]
HEADERS = [p for p in SOURCES if p.suffix == ".h" and "FWCore/" not in p.read_text()]  # without CMSSW
FLAGS = ["-Wall", "-Wextra", "-Werror", "-pthread"]

Run = Callable[..., bytes]


@pytest.fixture(scope="session")
def gcc() -> str:
    found = shutil.which("g++")
    if found is None:
        pytest.skip("g++ is not here")
    return found


@pytest.fixture(scope="session")
def run(gcc: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a program of ``test/cpp``; each is compiled once."""
    folder = tmp_path_factory.mktemp("cpp")

    @functools.cache
    def compiled(name: str) -> Path:
        command = [gcc, "-std=c++17", "-O1", "-D_GLIBCXX_ASSERTIONS", *FLAGS, "-o", folder / name]
        subprocess.run([*command, PROGRAMS / f"{name}.cc"], check=True)
        return folder / name

    def run(name: str, *arguments: object, given: Optional[bytes] = None) -> bytes:
        command = [compiled(name), *map(str, arguments)]
        done = subprocess.run(command, input=given, stdout=subprocess.PIPE, check=False, timeout=300)
        assert done.returncode == 0, f"{name}: {done.returncode}"
        return done.stdout

    return run


@pytest.mark.parametrize("name", sorted(p.stem for p in PROGRAMS.glob("test_*.cc")))
def test_headers(run: Run, name: str) -> None:
    run(name)


def test_headers_are_cplusplus_20_as_well(gcc: str, tmp_path: Path) -> None:
    assert len(HEADERS) == 8
    unit = tmp_path / "all.cc"
    unit.write_text("".join(f'#include "{header}"\n' for header in HEADERS))
    subprocess.run([gcc, "-std=c++20", "-fsyntax-only", *FLAGS, unit], check=True)


# -- decays: event by event as in the embedded generator --------------------------------------------------------------

PARTONS = "HadronLevel:Hadronize = off"  # decays remain; three times as fast
ONLY_Z, TO_LEPTONS = "WeakZ0:gmZmode = 2", ("23:onMode = off", "23:onIfAny = 11 13")
SAMPLES: dict[str, tuple[int, dict[str, Any]]] = {
    "z": (8000, {"process": "dy_ll", "settings": [ONLY_Z, *TO_LEPTONS, PARTONS]}),
    "ttbar": (3000, {"process": "ttbar", "settings": [PARTONS]}),
    "higgs": (1000, {"process": "ggH_tautau"}),
    "gun": (8000, {
        "gun": {"pdgId": 36, "pt": [5, 80], "mass": [0.2, 2], "antiparticle": True},
        "settings": ["36:oneChannel = 1 1.0 101 11 -11", "36:mayDecay = on"],
    }),
}  # fmt: skip
CUTS: dict[str, list[dict[str, Any]]] = {
    "z": [
        {"mother": 23, "daughters": [-13, 13]},
        {"mother": 23, "daughters": [11, 11], "pt": 25, "eta": 2.4},
        {"mother": 23, "daughters": [13, 13], "delta_r": [2.8, 3.3]},
        {"mother": 23, "daughters": [11, 11], "mass": [88, 92]},
        {"mother": 23, "daughters": [13, 13], "pt": 10, "mass": [80, 91], "delta_r": [1, 4]},
        {"daughters": [11, 13], "pt": 20, "eta": 2.1, "count": 2},
        {"daughters": 22, "pt": 5},
    ],
    "ttbar": [
        {"mother": 6, "daughters": [24, 5], "pt": 40, "count": 2},
        {"mother": 6, "daughters": [5, -24], "eta": 1.5},
        {"mother": 6, "daughters": [5, 24], "mass": [150, 172], "delta_r": [0.5, 2]},
        {"mother": 24, "daughters": [11, 12], "pt": 20},
        {"mother": 24, "daughters": [1, 2], "delta_r": [0, 1.5]},
        {"mother": 24, "daughters": [3, 4], "mass": [0, 80], "count": 2},
        {"daughters": [5], "pt": 30, "eta": 2.4, "count": 2},
        {"daughters": [21], "pt": 20, "count": 3},
    ],
    "higgs": [
        {"mother": 25, "daughters": [15, -15], "pt": 25, "eta": 2.3},
        {"mother": 25, "daughters": [15, 15], "mass": [124.9, 125.1]},
        {"mother": 15, "daughters": [211, 211, 211], "delta_r": [0, 0.1]},
        {"mother": 15, "daughters": [16, 211, 111], "pt": 1},
        {"mother": 15, "daughters": [11, 12, 16], "mass": [1.7, 1.8], "count": 1},
        {"mother": 111, "daughters": [22, 22], "pt": 2, "count": 4},
        {"daughters": [211, 321], "pt": 5, "eta": 1, "count": 5},
    ],
    "gun": [
        {"mother": 36, "daughters": [11, 11], "count": 2},
        {"mother": 36, "daughters": [-11, 11], "delta_r": [0, 0.1], "pt": 10},
        {"mother": 36, "daughters": [11, 11], "mass": [0.5, 1], "eta": 1.4},
        {"daughters": [11], "pt": 15, "eta": 1.2, "count": 3},
    ],
}


def dump(particles: ak.Array, path: Path) -> None:
    """Write what ``count_decays`` reads."""
    number = ak.to_numpy(ak.num(particles))
    content = ak.flatten(particles)
    with path.open("wb") as file:
        for header in ([len(number), number.sum()], np.concatenate([[0], np.cumsum(number)])):
            file.write(np.asarray(header, np.int64).tobytes())
        for names, dtype in (
            (("pdgId", "status", "mother1", "mother2"), np.int32),
            (("px", "py", "pz", "e"), np.float64),
        ):
            for name in names:
                file.write(ak.to_numpy(content[name]).astype(dtype).tobytes())


def line(cut: GenFilter) -> str:
    none = (1, -1)
    numbers = [cut.mother or 0, cut.pt, -1 if cut.eta is None else cut.eta, *(cut.delta_r or none), *(cut.mass or none)]
    return " ".join(map(str, [*numbers, cut.count, *cut.daughters]))


@pytest.mark.parametrize("sample", SAMPLES)
def test_decays_are_those_of_the_embedded_generator(run: Run, tmp_path: Path, sample: str) -> None:
    size, settings = SAMPLES[sample]
    generator = Generator.model_validate({"mpi": False, **settings})
    cuts = [GenFilter.model_validate(cut) for cut in CUTS[sample]]
    (tmp_path / "cuts.txt").write_text("".join(f"{line(cut)}\n" for cut in cuts))
    accepted = np.zeros(len(cuts), int)
    for number in range(size // 1000):
        particles = generate_block(generator, sample, number, 1000)[0].particles
        dump(particles, tmp_path / "events")
        found = np.frombuffer(run("count_decays", tmp_path / "events", tmp_path / "cuts.txt"), np.int32)
        history = History.of(particles)
        for k, (cut, counts) in enumerate(zip(cuts, found.reshape(len(cuts), -1))):
            expected = passing(particles, history, cut)
            np.testing.assert_array_equal(np.where(counts < 0, -1 - counts, counts), expected, err_msg=str(cut))
            np.testing.assert_array_equal(counts >= 0, expected >= cut.count)
            accepted[k] += (counts >= 0).sum()
    assert (accepted > 5).all() and (accepted[1:] < size).all(), accepted


# -- the gun ----------------------------------------------------------------------------------------------------------

RANGES = {"pt": (20, 120), "eta": (-2.4, 1.2), "phi": (-3.0, 2.5), "mass": (0.4, 4)}
SHOTS = np.dtype([(name, "f8") for name in ("pt", "eta", "phi", "mass", "px", "py", "pz", "e")])


def shots(run: Run, number: int, seed: int, *more: object) -> np.ndarray:
    edges = [edge for interval in RANGES.values() for edge in interval]
    return np.frombuffer(run("shoot", number, seed, *edges, *more), SHOTS)


def test_the_gun_is_flat(run: Run) -> None:
    found = shots(run, 20_000, 1)
    for name, (low, high) in RANGES.items():
        assert found[name].min() >= low and found[name].max() <= high
        assert stats.kstest(found[name], stats.uniform(low, high - low).cdf).pvalue > 1e-3
    correlations = np.corrcoef([found[name] for name in RANGES]) - np.eye(len(RANGES))
    assert np.abs(correlations).max() < 5 / np.sqrt(len(found))
    p2 = found["px"] ** 2 + found["py"] ** 2 + found["pz"] ** 2
    np.testing.assert_allclose(np.sqrt(found["e"] ** 2 - p2), found["mass"], rtol=1e-6)
    np.testing.assert_allclose(np.hypot(found["px"], found["py"]), found["pt"])


def test_the_gun_is_reproducible(run: Run, tmp_path: Path) -> None:
    (tmp_path / "map").write_text("0.4 4\n20 60 120\n0.1 0.8\n")
    for more in ([], [tmp_path / "map"]):
        first, again, other = (shots(run, 500, seed, *more) for seed in (3, 3, 4))
        np.testing.assert_array_equal(first, again)
        assert not np.isin(first["pt"], other["pt"]).any()


def test_what_is_accepted_with_a_map_is_flat(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    mass, pt = np.array([0.4, 1, 2.5, 4]), np.array([20, 30, 60, 90, 120.0])
    acceptance = rng.uniform(0.05, 1, (3, 4))
    acceptance[0, 3] = 0  # nothing passes there
    (tmp_path / "map").write_text("\n".join(" ".join(map(repr, v.ravel().tolist())) for v in (mass, pt, acceptance)))
    found = shots(run, 100_000, 2, tmp_path / "map")
    i, j = np.digitize(found["mass"], mass) - 1, np.digitize(found["pt"], pt) - 1
    passed = rng.random(len(found)) < acceptance[i, j]
    counts = np.zeros((3, 4))
    np.add.at(counts, (i[passed], j[passed]), 1)
    good = acceptance > 0
    area = np.outer(np.diff(mass), np.diff(pt))
    assert counts[~good].sum() == 0
    assert stats.chisquare(counts[good], counts.sum() * area[good] / area[good].sum()).pvalue > 1e-3
    inside = found["pt"][(i == 2) & (j == 2)]
    assert stats.kstest(inside, stats.uniform(60, 30).cdf).pvalue > 1e-3


# -- the inputs of models ---------------------------------------------------------------------------------------------

FOLDED: dict[str, Any] = {
    "split": {"train": 0.8, "val": 0.2, "test": 0, "folds": 2},
    "define": {"ht": "sum(Jet_pt[Jet_pt > 30])"},
    "select": {"two_jets": "nJet >= 2"},
    "inputs": {"event": {"features": ["MET_pt", "nMuon", "ht", "luminosityBlock", {"fired": "HLT_IsoMu24"}]}},
    "model": {"type": "mlp", "hidden": [8]},
}
MODELS: dict[str, tuple[dict[str, Any], Optional[str], str]] = {
    "objects": (JETS, None, "Jet_"),
    "events of folds": (FOLDED, "by-event", ""),
    "images": (detector.PHOTONS, None, "Photon_"),
}


class Tables:
    """The columns of a chunk as tables of cmsRun, in the words that ``feeds`` reads.

    A collection comes as a table and an extension of it, other columns as tables of one row, and bits of triggers as
    values.
    """

    def __init__(self, chunk: Chunk) -> None:
        self.columns = chunk.columns
        self.lists: dict[str, list[str]] = {}
        for name, column in self.columns.items():
            if column.offsets is not None:
                self.lists.setdefault(name.partition("_")[0], []).append(name)
        others = [
            n for n, c in self.columns.items() if c.offsets is None and n not in IDENTITY and n[1:] not in self.lists
        ]
        self.bits = [n for n in others if n.startswith("HLT")]
        self.singles = [n for n in others if n not in self.bits]

    def event(self, i: int) -> list[str]:
        identity = [str(int(self.columns[name].content[i])) for name in IDENTITY]
        values = {name: identity[k] for k, name in enumerate(IDENTITY)} | {n: self._values(n, i)[0] for n in self.bits}
        out = [*identity, *(word for pair in values.items() for word in pair)]
        parts = [(name, fields[half::2]) for name, fields in self.lists.items() for half in (0, 1)]
        out.append(str(len(parts) + len(self.singles)))
        for name, fields in parts:
            rows = len(self._values(self.lists[name][0], i))
            out += [name, "0", str(rows), str(len(fields))]
            out += [word for n in fields for word in (n.partition("_")[2], *self._values(n, i))]
        for name in self.singles:
            table, _, field = name.partition("_")
            out += [table, "1", "1", "1", field or "-", *self._values(name, i)]
        return out

    def _values(self, name: str, i: int) -> list[str]:
        column = self.columns[name]
        first, last = (i, i + 1) if column.offsets is None else column.offsets[i : i + 2]
        return [repr(float(value)) for value in column.content[first:last]]


def feeds(run: Run, description: dict[str, Any], chunk: Chunk) -> list[dict[str, np.ndarray]]:
    """What the plugin gives to the graph, for each event."""
    tables, fold = Tables(chunk), description["fold"]
    inputs = [word for i in description["inputs"] for word in (i["name"], i["kind"], i.get("collection") or "-")]
    words = [str(fold["folds"]), str(fold.get("hash", {}).get("seed", 0)), str(len(description["inputs"])), *inputs]
    words += [str(len(IDENTITY) + len(tables.bits)), str(chunk.size)]
    for i in range(chunk.size):
        words += tables.event(i)
    lines = iter(run("feeds", given=" ".join(words).encode()).decode().splitlines())
    return [dict(feed(next(lines)) for _ in description["inputs"]) for _ in range(chunk.size)]


def feed(line: str) -> tuple[str, np.ndarray]:
    name, dimensions, *rest = line.split(" ")
    shape, values = rest[: int(dimensions)], rest[int(dimensions) :]
    return name, np.array(values, np.float32).reshape([int(size) for size in shape])


@pytest.mark.parametrize("name", MODELS)
def test_inputs_and_scores_are_those_of_predict(run: Run, tmp_path: Path, name: str) -> None:
    block, fold, prefix = MODELS[name]
    trained = untrained(tmp_path, block)
    if block is detector.PHOTONS:
        detector.write(tmp_path, 60, ("signal", "background"))
    export(trained, tmp_path / "export", fold=fold)
    description = json.loads((tmp_path / "export" / "model.json").read_text())
    path = tmp_path / "signal.root"
    file = open_events(str(path), "Events")
    chunk = next(iter(file.chunks(list(file.branches), 1000)))
    found = feeds(run, description, chunk)

    model = onnx.load(tmp_path / "export" / "model.onnx")
    folds = {"fold"} if fold else set()
    for ours, expected in zip(found, columns_by_event(chunk, {i.name for i in model.graph.input} - folds)):
        assert ours.keys() == expected.keys() | folds
        assert all(np.array_equal(ours[key], values) for key, values in expected.items())
        assert all(ours[key].shape == values.shape for key, values in expected.items())

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    results = [session.run(["scores", "selected"], one) for one in found]
    scores, selected = (np.concatenate(part) for part in zip(*results))
    scores[selected == 0] = description["fill"]
    names = [prefix + output for output in description["outputs"]["scores"]]
    assert 0 < selected.sum() < len(selected)
    np.testing.assert_allclose(scores, friend(trained, path, tmp_path / "friends", names), rtol=1e-5, atol=1e-6)


def test_folds_are_those_of_the_training(run: Run) -> None:
    rng = np.random.default_rng(1)
    limits = {"run": 2**32, "luminosityBlock": 2**32, "event": 2**64}
    identity = {n: rng.integers(0, limits[n], 2000, np.uint64, endpoint=limits[n] < 2**64) for n in IDENTITY[:2]}
    identity["event"] = rng.integers(0, 2**64 - 1, 2000, np.uint64, endpoint=True)
    for seed, folds in ((1, 2), (2**63 - 1, 5)):
        words = [str(folds), str(seed), "1", "fold", "fold", "-", "0", "2000"]
        for i in range(2000):
            words += [*(str(identity[n][i]) for n in IDENTITY), "0"]
        lines = run("feeds", given=" ".join(words).encode()).decode().splitlines()
        expected = assign_fold(event_hash(identity, "", np.arange(2000), seed), folds)
        np.testing.assert_array_equal([int(feed(line)[1][0]) for line in lines], expected)


# -- hits and seeds: as in the embedded chain -------------------------------------------------------------------------


def test_cells_and_seeds_are_those_of_the_embedded_chain(run: Run) -> None:
    rng = np.random.default_rng(1)
    lines, expected = [], []
    for eta, phi in zip(rng.uniform(-3.2, 3.2, 300), rng.uniform(-np.pi, np.pi, 300)):
        ring, step = grid.tower_at(eta, phi)
        near = np.clip(ring + rng.integers(-5, 6, 40), -28, 28)
        ieta = np.where(near == 0, 1, near)
        iphi = (step + rng.integers(-5, 6, 40) - 1) % 72 + 1
        energy = np.round(rng.exponential(2, 40), 3)
        towers = " ".join(f"{i} {j} {e}" for i, j, e in zip(ieta, iphi, energy))
        lines.append(f"{float(eta)!r} {float(phi)!r} 40 {towers}")
        place = grid.row(np.array(eta)), grid.column(np.array(phi))
        expected.append([*map(int, place), *grid.seed(ieta, iphi, energy, (eta, phi))])
    found = np.array([line.split() for line in run("cells", given="\n".join(lines).encode()).splitlines()], float)
    np.testing.assert_allclose(found, np.array(expected), rtol=1e-12)
    assert (np.abs(found[:, 2]) > 16).sum() > 50


def test_tracks_arrive_where_those_of_the_embedded_chain_do(run: Run) -> None:
    rng, n = np.random.default_rng(2), 500
    pt, phi, eta = rng.exponential(3, n) + 0.3, rng.uniform(-np.pi, np.pi, n), rng.uniform(-2.6, 2.6, n)
    momentum = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    charge, place = rng.choice([-1.0, 1.0], n), rng.normal(size=(3, n)) * [[1], [1], [40]]
    x, y, z, reached = propagate(*momentum, charge, *place, 3.8, SOLENOID.radius, SOLENOID.half_length)
    rows = np.column_stack([*momentum, charge, *place])
    given = "\n".join(" ".join(repr(int(v) if k == 3 else float(v)) for k, v in enumerate(row)) for row in rows)
    found = np.array([line.split() for line in run("cells", "path", given=given.encode()).splitlines()], float)
    np.testing.assert_allclose(found[:, 0], np.arcsinh(z / np.hypot(x, y)), atol=1e-9)
    np.testing.assert_allclose(np.cos(found[:, 1] - np.arctan2(y, x)), 1, atol=1e-12)
    np.testing.assert_array_equal(found[:, 2] == 1, reached)
    assert 0.1 < reached.mean() < 1


def test_tables_of_hits_have_the_columns_of_the_embedded_chain() -> None:
    for table, columns in hits_tables.COLLECTIONS.items():
        sources = "".join((PLUGINS / name).read_text() for name in ("CaloHits.h", f"{table}TableProducer.cc"))
        kinds = {"float": "f4", "int": "i4", "std::uint8_t": "u1"}
        found = {name: kinds[kind] for kind, name in re.findall(r'addColumn<([^>]+)>\(\s*"(\w+)"', sources)}
        assert found == {name: kind for name, (kind, _) in columns.items()}
    tracks = re.findall(r'addColumn<[^>]+>\(\s*"(\w+)", (\w+),', (PLUGINS / "TrackAtCaloTableProducer.cc").read_text())
    assert {name for name, _ in tracks} <= set(CANDIDATE) and all(name == values for name, values in tracks)


# -- the sources ------------------------------------------------------------------------------------------------------


def without_comments(source: str) -> str:
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", source, flags=re.DOTALL)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_random_numbers_and_messages_are_the_frameworks(path: Path) -> None:
    source = without_comments(path.read_text())
    own = r"\b(s?rand\(|random_device|mt19937|TRandom|gRandom|std::cout|std::cerr|printf|puts\()"
    assert not re.findall(own, source)
    at_the_end = re.findall(r"(?ms)^void \w+::endJob\(\) \{$.*?^\}", source)
    assert source.count("edm::Log") == sum(body.count("edm::Log") for body in at_the_end)


def test_descriptions_are_read() -> None:
    found = descriptions.modules()
    modules = {m for path in SOURCES for m in re.findall(r"DEFINE_FWK_MODULE\((\w+)\)", path.read_text())}
    assert modules == {*found, "Pythia8PtMassGun"}
    assert found["GenDecayFilter"]["daughters"] == descriptions.Parameter("vint32", required=False)
    assert found["SimAcceptanceFilter"].keys() > found["GenDecayFilter"].keys() - {"format"}
    assert found["OnnxScoreTableProducer"]["model"] == descriptions.Parameter("FileInPath", required=True)
    assert found["EventSkimFilter"]["cuts"].inside["max"] == descriptions.Parameter("uint32", required=False)
    assert descriptions.gun()["Flatten"].inside.keys() == {"MassEdges", "PtEdges", "Acceptance"}


@pytest.mark.parametrize("path", sorted(PLUGINS.glob("*.cc")), ids=lambda p: p.stem)
def test_parameters_that_are_read_are_described(path: Path) -> None:
    source = path.read_text() + "".join(
        (PLUGINS / name).read_text() for name in re.findall(r'#include "(\w+\.h)"', path.read_text())
    )
    read = set(re.findall(r'getParameter<[^(]*>\(\s*"(\w+)"\s*\)', source)) | set(
        re.findall(r'range\(config, "(\w+)"\)', source)
    )
    if path.stem == "Pythia8PtMassGun":
        gun = descriptions.gun()
        assert read == {"PGunParameters", "AddAntiParticle", "Flatten", *gun["Flatten"].inside}
        return
    parameters = descriptions.modules()[path.stem]
    inside = [parameter.inside for parameter in parameters.values() if parameter.inside]
    assert read == {*parameters, *(name for one in inside for name in one)}


def used(library: ET.Element) -> set[str]:
    return {use.attrib["name"] for use in library.findall("use")}


def included(*paths: Path) -> set[str]:
    text = "".join(path.read_text() for path in paths)
    return {"/".join(found) for found in re.findall(r'#include "(\w+)/(\w+)/interface/', text)}


def test_scram_links_what_is_included() -> None:
    (library,) = [ET.parse(PLUGINS / "BuildFile.xml").getroot()]
    assert used(library) == included(*SOURCES) | {"pythia8"}  # the gun fills Pythia's event
    assert library.find("flags").attrib == {"EDM_PLUGIN": "1"}
    tests = ET.fromstring(f"<all>{(ROOT / 'test' / 'BuildFile.xml').read_text()}</all>")
    binaries = tests.findall("bin")
    assert binaries
    for binary in binaries:
        files = [ROOT / "test" / name for name in binary.attrib["file"].split(",")]
        assert all(path.is_file() for path in files)
        assert used(binary) - {"catch2"} == included(*files)


def test_clang_format() -> None:
    program = shutil.which("clang-format", path=Path(sys.executable).parent) or shutil.which("clang-format")
    if program is None:
        pytest.skip("clang-format is not here; it is in the extra 'lint'")
    done = subprocess.run([program, "--dry-run", "--Werror", *CPLUSPLUS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
