"""Hits on the images of their rows, against a loop over rows that draws with numpy; and what may be wrong."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import awkward as ak
import hits as detector
import numpy as np
import pytest
import torch
import toys
from nanoforge.config import Analysis
from nanoforge.dataset.table import TableBuilder, dataset_info
from nanoforge.errors import DataError, FileError, UserError
from nanoforge.events.open import open_events
from nanoforge.models.raster import Images
from nanoforge.provenance import Accounting
from pydantic import ValidationError

CELL = detector.CELL
IMAGE: dict[str, Any] = {
    "hits": "EcalHit", "channels": {"energy": "energy"}, "around": "seed", "size": [8, 9], "pixel": CELL,
}  # fmt: skip
ECAL: dict[str, Any] = {"image": IMAGE, "length": 40, "index": "photonIdx", "scale": {"energy": "none"}}


def analysis(row: str = "Photon", inputs: dict[str, Any] | None = None, **changes: Any) -> Analysis:
    content = {
        "name": "test",
        "samples": {"narrow": {"files": "unused", "label": "narrow"}},
        "row": row,
        "inputs": {"ecal": ECAL} if inputs is None else inputs,
        "target": {"regression": {"pt": "pt" if row == "Photon" else "sum(Photon_pt)"}},
    }
    return Analysis.model_validate({**content, **changes})


def ecal(**changes: Any) -> dict[str, Any]:
    """An input like ``ECAL``; keys of its image are changed there, and None removes one."""
    block, image = {**ECAL}, {**IMAGE}
    for key, value in changes.items():
        where = image if key in (*IMAGE, "range", "onto", "combine", "eta", "phi") else block
        where[key] = value
    block["image"] = {k: v for k, v in image.items() if v is not None}
    return {k: v for k, v in block.items() if v is not None}


def build(path: Path, what: Analysis) -> tuple[dict[str, Any], Accounting]:
    with open_events(str(path), "Events") as file:
        made = TableBuilder(what, what.samples["narrow"], file, "convert")
        (chunk,) = file.chunks(made.columns, 10_000)
        frame, books = made.frame(chunk), Accounting()
        rows = made.select(frame, books)
        table = made.table(frame, rows, books)
        made.mend(frame, rows, table)
        books.check()
    return table.inputs, books


def draw(path: Path, what: Analysis) -> dict[str, np.ndarray]:
    """Draw all images of all rows."""
    inputs, _ = build(path, what)
    features = {name: torch.from_numpy(values) for name, (values, _) in inputs.items()}
    masks = {name: torch.from_numpy(valid) for name, (_, valid) in inputs.items()}
    return {k: v.numpy() for k, v in Images(dataset_info(what).inputs)(features, masks).items()}


@pytest.fixture(scope="module")
def columns() -> toys.Columns:
    return detector.hit_events(150)


@pytest.fixture(scope="module")
def path(columns: toys.Columns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.write(tmp_path_factory.mktemp("hits") / "hits.root", columns, basket=40)


def photons(columns: toys.Columns) -> list[tuple[Any, Any, np.ndarray]]:
    """The photons, their events' hits, and which of these are theirs."""
    return [
        (photon, hits, np.asarray(hits.photonIdx == i))
        for event, hits in zip(columns["Photon"], columns["EcalHit"])
        for i, photon in enumerate(event)
    ]


def reference(eta: Any, phi: Any, energy: Any, size: tuple[int, int], pixel: float) -> np.ndarray:
    """Draw with numpy around (0, 0)."""
    phi = (np.asarray(phi, "f8") + math.pi) % (2 * math.pi) - math.pi
    edges = [(np.arange(n + 1) - n / 2) * pixel for n in size]
    return np.histogram2d(np.asarray(eta, "f8"), phi, bins=edges, weights=np.asarray(energy, "f8"))[0]


def test_around_the_seed_cells_keep_their_distance(path: Path, columns: toys.Columns) -> None:
    drawn = draw(path, analysis())["ecal"][:, 0]
    rows = photons(columns)
    assert len(drawn) == len(rows) > 100
    for (_, hits, own), picture in zip(rows, drawn):
        hits = hits[own]
        seed = hits[int(np.argmax(hits.energy))]
        # with 8 rows the seed's is row 4: half a pixel further than the middle
        expected = reference(hits.eta - seed.eta + CELL / 2, hits.phi - seed.phi, hits.energy, (8, 9), CELL)
        assert picture == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("attached", [{"index": "photonIdx"}, {"index": None, "match": "delta_r < 0.1"}])
def test_around_the_row(path: Path, columns: toys.Columns, attached: dict[str, Any]) -> None:
    what = analysis(inputs={"ecal": ecal(around="row", size=[6, 7], pixel=0.02, **attached)})
    by_hand = analysis(inputs={"ecal": ecal(around=["eta", "Photon_phi"], size=[6, 7], pixel=0.02, **attached)})
    drawn = draw(path, what)["ecal"][:, 0]
    assert np.array_equal(draw(path, by_hand)["ecal"][:, 0], drawn)
    for (photon, hits, own), picture in zip(photons(columns), drawn):
        if "match" in attached:
            phi = (np.asarray(hits.phi, "f8") - photon.phi + math.pi) % (2 * math.pi) - math.pi
            own = np.hypot(np.asarray(hits.eta, "f8") - photon.eta, phi) < 0.1
        hits = hits[own]
        expected = reference(
            np.asarray(hits.eta, "f8") - photon.eta, np.asarray(hits.phi, "f8") - photon.phi, hits.energy, (6, 7), 0.02
        )
        assert picture == pytest.approx(expected, abs=1e-4)


def test_the_whole_detector(path: Path, columns: toys.Columns) -> None:
    whole = ecal(around=None, pixel=None, index=None, range=[-1.5, 1.5], size=[30, 36], where="energy > 0", length=60)
    drawn = draw(path, analysis("event", {"ecal": whole}))["ecal"][:, 0]
    for hits, picture in zip(columns["EcalHit"], drawn):
        hits = hits[hits.energy > 0]
        edges = np.linspace(-1.5, 1.5, 31), np.linspace(-math.pi, math.pi, 37)
        eta, phi, energy = (np.asarray(hits[f], "f8") for f in ("eta", "phi", "energy"))
        assert picture == pytest.approx(np.histogram2d(eta, phi, bins=edges, weights=energy)[0], abs=1e-4)


# --- what circulating ntuplizers get wrong ---


def test_the_energy_of_coarse_towers_is_divided_once(path: Path, columns: toys.Columns) -> None:
    """The converters divide by the pixels of a tower twice where it is in an endcap, which leaves a quarter of it."""
    towers = ecal(onto="ecal", around=None, size=None, pixel=5 * CELL, length=40, index=None, match="delta_r < 0.12")
    wide = ecal(around="row", size=[60, 60], index=None, match="delta_r < 0.12")
    drawn = draw(path, analysis(inputs={"ecal": wide, "towers": towers}))["ecal"]
    assert drawn[:, 1].sum(axis=(1, 2)) == pytest.approx(drawn[:, 0].sum(axis=(1, 2)), rel=1e-4, abs=1e-4)
    eta = np.concatenate([np.asarray(photon.eta) for photon in columns["Photon"]])
    assert (np.abs(eta) < 0.8).any() and (np.abs(eta) > 0.8).any(), "wherever the row is"


def test_planes_of_one_collection_are_not_each_others(path: Path) -> None:
    """The charge image of the ntuplizer is bound to the one of pt: the second plane here has a sign of its own."""
    signed = {"pt": "energy", "qpt": "energy * where(ieta > 0, 1, -1)"}
    scales = dict.fromkeys(signed, "none")
    pt, qpt = draw(path, analysis(inputs={"ecal": ecal(channels=signed, scale=scales)}))["ecal"].transpose(1, 0, 2, 3)
    assert not np.array_equal(pt, qpt) and (qpt < 0).any()
    assert np.abs(qpt).max() == pytest.approx(np.abs(pt).max())


def test_a_row_without_truth_has_not_that_of_the_row_before(tmp_path: Path) -> None:
    columns = detector.hit_events(60)
    photons = columns["Photon"]
    columns["Photon"] = ak.with_field(photons, ak.where(photons.pt > 20, photons.pt, np.nan), "mass")
    what = analysis(target={"regression": {"mass": "mass"}})
    with open_events(str(toys.write(tmp_path / "hits.root", columns)), "Events") as file:
        made = TableBuilder(what, what.samples["narrow"], file, "convert")
        (chunk,) = file.chunks(made.columns, 10_000)
        frame, books = made.frame(chunk), Accounting()
        table = made.table(frame, made.select(frame, books), books)
    expected = np.asarray(ak.flatten(columns["Photon"].mass), "f4")
    assert np.isnan(expected).any() and np.array_equal(table.targets["mass"], expected, equal_nan=True)


def test_every_row_sees_hits_that_are_not_attached_from_its_own_middle(path: Path) -> None:
    match = draw(path, analysis(inputs={"ecal": ecal(around="row", index=None, match="delta_r < 1")}))["ecal"]
    every = draw(path, analysis(inputs={"ecal": ecal(around="row", index=None, all=True)}))["ecal"]
    assert every == pytest.approx(match, abs=1e-6)


@pytest.mark.parametrize("iphi", [1, 2, 359, 360])
@pytest.mark.parametrize("ieta", [-85, -1, 1, 85])
def test_a_seed_at_the_ends_of_the_numbering(tmp_path: Path, ieta: int, iphi: int) -> None:
    """Integer cells by their expressions: there is no ieta 0, and iphi 1 follows on 360."""
    eta = [e if e * ieta > 0 else e - np.sign(ieta) for e in range(ieta - 2, ieta + 3)]
    cells = [(e, (iphi - 1 + d) % 360 + 1) for e in eta for d in range(-2, 3)]
    energy = np.arange(1.0, 26)
    energy[12] = 100
    fields = {"ieta": [e for e, _ in cells], "iphi": [p for _, p in cells], "energy": energy}
    hit = ak.zip({k: ak.Array([v]) for k, v in fields.items()})
    event = {"run": np.ones(1, "u4"), "luminosityBlock": np.ones(1, "u4"), "event": np.ones(1, "u8"), "EcalHit": hit}
    block = ecal(
        eta="(ieta - where(ieta > 0, 1, 0) + 0.5) * 0.0174533", phi="(iphi - 0.5) * 0.0174533",
        size=[5, 5], pixel=0.0174533, index=None,
    )  # fmt: skip
    what = analysis("event", {"ecal": block}, target={"regression": {"n": "num(EcalHit_energy)"}})
    drawn = draw(toys.write(tmp_path / "one.root", event), what)["ecal"]
    assert drawn[0, 0] == pytest.approx(energy.reshape(5, 5))


def test_coarse_hits_lie_where_they_are_on_the_fine_grid(path: Path, columns: toys.Columns) -> None:
    towers = {"hits": "EcalHit", "channels": {"sum": "energy", "count": "1"}, "onto": "ecal", "pixel": 0.087}
    towers["eta"] = f"(ceil(eta / {5 * CELL}) - 0.5) * {5 * CELL}"  # the towers that the crystals are in front of
    towers["phi"] = f"(ceil(phi / {5 * CELL}) - 0.5) * {5 * CELL}"
    onto = {**ecal(), "image": towers, "scale": {"sum": "none", "count": "none"}}
    inputs = {"towers": onto, "ecal": ecal(size=[20, 20])}  # the grid may come later in the file
    drawn = draw(path, analysis(inputs=inputs))
    assert list(drawn) == ["ecal"] and drawn["ecal"].shape[1:] == (3, 20, 20)
    for (_, hits, own), (energy, count, fine) in zip(photons(columns), drawn["ecal"]):
        hits = hits[own]
        seed = hits[int(np.argmax(hits.energy))]
        cells = np.arange(-10, 10)
        eta, phi = np.rint(seed.eta / CELL - 0.5) + cells, np.rint(seed.phi / CELL - 0.5) + cells
        tower = np.floor(eta / 5)[:, None], np.floor(phi / 5)[None, :]
        expected, number = np.zeros((20, 20)), np.zeros((20, 20))
        for hit in hits:
            same_phi = (tower[1] - math.floor(hit.phi / CELL / 5 + 1e-6)) % 72 == 0
            inside = (tower[0] == math.floor(hit.eta / CELL / 5 + 1e-6)) & same_phi
            expected += inside * hit.energy / 25
            number += inside / 25
        assert energy == pytest.approx(expected, abs=1e-4) and count == pytest.approx(number, abs=1e-5)
        assert fine.sum() == pytest.approx(ak.sum(hits.energy), abs=1e-3)


def test_a_row_without_a_seed_has_empty_images(path: Path, columns: toys.Columns) -> None:
    """Hits that are drawn onto an image have no place where it has no middle."""
    towers = {**ecal(), "image": {"hits": "EcalHit", "channels": {"all": "energy"}, "onto": "ecal"}, "scale": {}}
    inputs, books = build(path, analysis(inputs={"towers": towers, "ecal": ecal(where="energy > 8")}))
    without = np.array([not np.any(hits.energy[own] > 8) for _, hits, own in photons(columns)])
    assert 10 < without.sum() < len(without) and books.hits["ecal"].empty == without.sum()
    assert not inputs["towers"][1][without].any() and inputs["towers"][1][~without].any(axis=1).all()


def test_hits_are_counted_and_the_softest_left_out(path: Path, columns: toys.Columns) -> None:
    inputs, books = build(path, analysis(inputs={"ecal": ecal(length=5, where="energy > -1")}))
    rows = photons(columns)
    numbers = np.array([int(own.sum()) for _, _, own in rows])
    ledger = books.hits["ecal"]
    assert (ledger.rows, ledger.read, ledger.empty) == (len(rows), numbers.sum(), 0)
    outside = ledger.rejected["image (outside of it)"]
    assert ledger.used == ledger.read - outside - ledger.rejected["length"] and outside < 0.1 * ledger.read
    assert 0 < ledger.overfull < len(rows) and ledger.rejected["length"] > 0
    values, valid = inputs["ecal"]
    assert ledger.used == valid.sum()
    energies = np.where(valid, values[..., 2], -np.inf)
    assert (energies[:, 1:] <= energies[:, :-1]).all(), "they fall"
    assert (energies[:, 0] == [max(hits.energy[own]) for _, hits, own in rows]).all(), "negative ones are kept, too"


def test_positions_are_in_the_middle_of_cells(path: Path) -> None:
    values, valid = build(path, analysis())[0]["ecal"]
    eta, phi = values[valid][:, 0] / CELL, values[valid][:, 1] / CELL
    assert eta - 0.5 == pytest.approx(np.rint(eta - 0.5), abs=1e-4) and phi == pytest.approx(np.rint(phi), abs=1e-4)
    assert not values[~valid].any()


# --- what may be wrong ---


def changed(path: Path, columns: toys.Columns, field: str, value: float = np.nan) -> Path:
    """Change the hits of one event."""
    hits = columns["EcalHit"]
    values = ak.where(columns["event"] == 100_007, np.float32(value), hits[field])
    return toys.write(path, {**columns, "EcalHit": ak.with_field(hits, values, field)})


def test_degrees_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: toys.Columns) -> None:
    monkeypatch.setattr("nanoforge.dataset.images._MANY_ROWS", 100)
    hits = columns["EcalHit"]
    degrees = toys.write(
        tmp_path / "degrees.root", {**columns, "EcalHit": ak.with_field(hits, hits.eta * 0 + 57, "eta")}
    )
    with pytest.raises(
        UserError, match=r"^inputs\.ecal\.image: no hit of [0-9]+ rows lies on the image: is phi in deg"
    ):
        build(degrees, analysis(inputs={"ecal": ecal(around="row")}))


@pytest.mark.parametrize("nan", ["error", {"fill": 0}])
def test_a_position_that_is_not_a_number_is_an_error_with_its_place(
    tmp_path: Path, columns: toys.Columns, nan: Any
) -> None:
    broken = changed(tmp_path / "broken.root", columns, "phi")
    with pytest.raises(DataError, match=r"broken\.root: entry 7 .*100007\): inputs\.ecal: 'phi' is NaN or infinite"):
        build(broken, analysis(inputs={"ecal": ecal(around="row", nan=nan)}))


def test_a_channel_that_is_not_a_number_is_filled_or_an_error(tmp_path: Path, columns: toys.Columns) -> None:
    broken = changed(tmp_path / "broken.root", columns, "energy")
    with pytest.raises(DataError, match=r"entry 7 .*inputs\.ecal: 'energy' is NaN or infinite"):
        build(broken, analysis())
    values, _ = build(broken, analysis(inputs={"ecal": ecal(nan={"fill": 0})}))[0]["ecal"]
    assert np.isfinite(values).all()


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (ecal(hits="EcalHits"), "inputs.ecal.image.hits: no collection 'EcalHits'; did you mean 'EcalHit'?"),
        (ecal(channels={"energy": "enrgy"}), "inputs.ecal: no column 'EcalHit_enrgy'; did you mean 'energy'?"),
        (ecal(around=["Photon_eat", "phi"]), "inputs.ecal.image.around: no column 'Photon_Photon_eat'; did you mean"),
    ],
)
def test_what_the_file_does_not_have(path: Path, block: dict[str, Any], message: str) -> None:
    with pytest.raises((FileError, UserError)) as error:
        build(path, analysis(inputs={"ecal": block}))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (ecal(around="center"), "should be seed, row, or two expressions of the row"),
        (ecal(around=None), "an image needs 'around' and 'pixel', or for the whole detector a 'range'"),
        (ecal(size=None), "an image needs a 'size'"),
        (ecal(size=[0, 9]), "greater than or equal to 1"),
        (ecal(size=[600, 9]), "less than or equal to 512"),
        (ecal(size=[32]), "should be two numbers of pixels"),
        (ecal(pixel=0), "greater than 0"),
        (ecal(pixel=-0.1), "greater than 0"),
        (ecal(range=[-3, 3]), "'range' and 'size' say all"),
        (ecal(combine={"enrgy": "max"}), "combine: there is no channel 'enrgy'"),
        (ecal(channels={"eta": "eta"}), "'eta' is the position of a hit"),
        (ecal(channels={}), "at least 1"),
        (ecal(features=["energy"]), "'image' and 'features' exclude each other"),
        (ecal(length=None), "'image' needs a 'length'"),
        (ecal(scale={"e": "sqrt"}), "scale: there is no channel 'e'"),
        (ecal(scale={"energy": "log(2)"}), "should be none, sqrt, linear"),
        (ecal(scale={"energy": "log1p(0)"}), "should be none, sqrt, linear"),
        (ecal(nan="keep"), "NaN cannot be drawn"),
        (ecal(onto="hcal", around=None, size=None), "inputs.ecal.image.onto: 'hcal' has no grid of its own"),
        (ecal(onto="ecal"), "'around' is that of 'onto: ecal'"),
    ],
)
def test_what_the_analysis_says_wrongly(block: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        analysis(inputs={"ecal": block})
    assert message in str(error.value)


@pytest.mark.parametrize("row", ["Photon", "event"])
def test_what_a_run_keeps_of_an_analysis_is_read_again(row: str) -> None:
    whole = ecal(around=None, pixel=None, index=None, range=[-1.5, 1.5], size=[30, 36])
    onto = ecal(onto="ecal", around=None, size=None, pixel=None, index=None)
    what = analysis(row, {"ecal": ECAL if row == "Photon" else whole, "hcal": onto})
    assert Analysis.model_validate(what.model_dump(mode="json")) == what


def test_what_does_not_fit_together() -> None:
    with pytest.raises(ValidationError, match=r"inputs\.ecal\.image\.around: rows are events, which have no direction"):
        analysis("event", {"ecal": ecal(around="row", index=None)})
    coarse = ecal(onto="ecal", around=None, size=None, pixel=0.03)
    with pytest.raises(ValidationError, match=r"inputs\.hcal\.image\.pixel: 0\.03 by 0\.03 is no whole multiple"):
        analysis(inputs={"ecal": ECAL, "hcal": coarse})
    hardest = ecal(onto="ecal", around=None, size=None, pixel=2 * CELL, combine={"energy": "hardest"})
    with pytest.raises(ValidationError, match=r"inputs\.hcal\.image\.combine: 'hardest' is not for hits that cover"):
        analysis(inputs={"ecal": ECAL, "hcal": hardest})
    with pytest.raises(ValidationError, match=r"dataset\.layout: salt has no images, and inputs\.ecal is one"):
        analysis(dataset={"layout": "salt"})
