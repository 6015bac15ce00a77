"""What switches a protection off, or spoils a training, is said at convert, at train from ROOT and in the report."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any, Callable

import h5py
import numpy as np
import pytest
import toys
import yaml
from nanoforge.config import load
from nanoforge.dataset import streaming
from nanoforge.dataset.open import open_dataset
from nanoforge.evaluation import gallery

Columns = dict[str, np.ndarray]


def events(count: int, first: int, mean: float = 0.0, section: str = "luminosityBlock", **more: np.ndarray) -> Columns:
    """Events with numbers from ``first`` on and one feature x around ``mean``."""
    number = np.arange(first, first + count, dtype="u8")
    x = np.random.default_rng(first).normal(mean, 1, count).astype("f4")
    return {"run": np.ones(count, "u4"), section: (number // 50).astype("u4"), "event": number, "x": x, **more}


def without(columns: Columns, *names: str) -> Columns:
    return {name: values for name, values in columns.items() if name not in names}


def copies(columns: Columns, times: int = 3) -> Columns:
    return {name: np.tile(values, times) for name, values in columns.items()}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., None]:
    """Write two samples, by default 60 events each, and an analysis of them."""

    def write(signal: Columns | None = None, background: Columns | None = None, **changes: Any) -> None:
        toys.write(tmp_path / "sig.root", events(60, 1, 1.0) if signal is None else signal)
        toys.write(tmp_path / "bkg.root", events(60, 1000) if background is None else background)
        content = {
            "name": "test",
            "samples": {"sig": {"files": "sig.root", "label": "s"}, "bkg": {"files": "bkg.root", "label": "b"}},
            "inputs": {"event": {"features": ["x"]}},
            "model": {"type": "mlp", "hidden": [2]},
            "training": {"epochs": 1, "accelerator": "cpu"},
        }
        (tmp_path / "a.yaml").write_text(yaml.safe_dump(content | changes))

    return write


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def sides(dataset: Path) -> dict[int, set[str]]:
    """Map the feature x of every row to the splits that it is in."""
    found: dict[int, set[str]] = {}
    for split in ("train", "val", "test"):
        with h5py.File(dataset / f"{split}.h5") as file:
            for x in file["event/features"][:, 0]:
                found.setdefault(x, set()).add(split)
    return found


FALLBACK = "an event is identified by its file and entry: copies of it in other files are not recognised"


def sentinel(columns: Columns, value: float = -999) -> Columns:
    return columns | {"x": np.where(np.arange(len(columns["x"])) % 3 == 0, np.float32(value), columns["x"])}


def test_a_fallback_and_sentinels_are_said_everywhere(
    write: Callable[..., None], nanoforge: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "plots", lambda *_: [])  # what costs the time
    write(copies(events(60, 1, 50.0, "lumi")), sentinel(events(180, 1000, 50.0, "lumi")))
    lines = [FALLBACK, " % of the rows: say 'missing: -999'"]
    answer = nanoforge("convert", "a.yaml", "-o", "dataset")
    assert answer.returncode == 0 and all(answer.stderr.count(line) == 1 for line in lines), answer.stderr
    assert "the files have no luminosityBlock" in answer.stderr and "'identity: [run, lumi, event]'" in answer.stderr
    assert max(map(len, sides(tmp_path / "dataset").values())) > 1, "copies are on several sides"
    answer = nanoforge("train", "a.yaml", "--data", "a.yaml", "-o", "run")
    assert answer.returncode == 0 and all(answer.stderr.count(line) == 1 for line in lines), answer.stderr
    notices = manifest(tmp_path / "dataset")["details"]["notices"]
    assert all(line in notice for line, notice in zip(lines, notices))
    assert manifest(tmp_path / "run")["details"]["notices"] == notices
    assert open_dataset(tmp_path / "dataset").notices == notices
    assert nanoforge("evaluate", "run").returncode == 0
    report = (tmp_path / "run" / "evaluation" / "report.html").read_text()
    assert all(report.count(html.escape(line)) == 1 for line in lines)


@pytest.mark.parametrize("dataset", [{}, {"format": "parquet"}, {"layout": "salt"}], ids=["tensors", "parquet", "salt"])
def test_named_columns_identify_events(
    write: Callable[..., None], nanoforge: Callable[..., Any], tmp_path: Path, dataset: dict[str, str]
) -> None:
    identity = ["run", "lumi", "event"]
    write(copies(events(60, 1, 1.0, "lumi")), events(60, 2**63, section="lumi"), identity=identity, dataset=dataset)
    answer = nanoforge("convert", "a.yaml", "-o", "dataset")
    assert answer.returncode == 0 and FALLBACK not in answer.stderr, answer.stderr
    if dataset:
        return
    assert max(map(len, sides(tmp_path / "dataset").values())) == 1, "all copies are on one side"
    with h5py.File(tmp_path / "dataset" / "train.h5") as file:
        assert {n: file[f"id/{n}"].dtype for n in identity} == {"run": "u4", "lumi": "u8", "event": "u8"}
        assert file["id/event"][:].max() > 2**63


@pytest.mark.parametrize("first", ["sig", "bkg"])
@pytest.mark.parametrize("command", [("convert", "a.yaml"), ("train", "a.yaml", "--data", "a.yaml")], ids=" ".join)
def test_files_with_and_without_identity_do_not_mix(
    write: Callable[..., None], nanoforge: Callable[..., Any], tmp_path: Path, command: tuple[str, ...], first: str
) -> None:
    """The same line in both orders, with one process and with more."""
    tables = {"sig": events(60, 1, 1.0), "bkg": events(60, 1000)}
    tables[first] = without(tables[first], "luminosityBlock")
    write(tables["sig"], tables["bkg"])
    for more in ([], ["-j", "2"] if command[0] == "convert" and first == "bkg" else []):
        answer = nanoforge(*command, *more, "-o", "out")
        assert answer.returncode == 2, answer.stderr
        assert f"{first}.root: has no column 'luminosityBlock'" in answer.stderr
        assert "'identity: [run, event]'" in answer.stderr and not (tmp_path / "out").exists()


def test_parts_with_and_without_identity_do_not_mix(
    write: Callable[..., None], nanoforge: Callable[..., Any], tmp_path: Path
) -> None:
    """A job sees its own files alone: that they differ is found where the parts meet."""
    write(without(events(60, 1), "luminosityBlock"))
    for sample in ("sig", "bkg"):
        answer = nanoforge("convert", "a.yaml", "--part", f"{sample}:0", "-o", f"parts/{sample}")
        assert answer.returncode == 0, answer.stderr
    answer = nanoforge("convert", "a.yaml", "--from-parts", "parts", "-o", "dataset")
    assert answer.returncode == 2 and "sig.root: has no column 'luminosityBlock'" in answer.stderr, answer.stderr


def test_a_file_without_a_named_column_is_refused(
    write: Callable[..., None], nanoforge: Callable[..., Any], tmp_path: Path
) -> None:
    write(events(60, 1, section="lumi"), without(events(60, 1000, section="Lumi")), identity=["run", "lumi", "event"])
    for command in (("convert", "a.yaml"), ("train", "a.yaml", "--data", "a.yaml")):
        answer = nanoforge(*command, "-o", "out")
        assert answer.returncode == 2, answer.stderr
        assert "bkg.root: identity: there is no column 'lumi' with one integer per event; did you mean 'Lumi'" in (
            answer.stderr
        )
    write(identity=["x", "event"])
    answer = nanoforge("convert", "a.yaml", "-o", "out")
    assert answer.returncode == 2 and "no column 'x' with one integer per event" in answer.stderr


def test_predictions_have_the_identity_of_the_training(
    write: Callable[..., None], nanoforge: Callable[..., Any], tmp_path: Path
) -> None:
    """Copies of an event are scored by one model, and the friend has the columns by their names."""
    import uproot

    split = {"train": 0.8, "val": 0.2, "test": 0, "folds": 2}
    write(copies(events(60, 1, 1.0, "lumi")), events(60, 1000, section="lumi"), identity=["lumi", "event"], split=split)
    assert nanoforge("train", "a.yaml", "--data", "a.yaml", "-o", "run").returncode == 0
    answer = nanoforge("predict", "run", "sig.root", "bkg.root", "-o", "friends")
    assert answer.returncode == 0 and "note: " not in answer.stderr, answer.stderr
    friend = uproot.open(tmp_path / "friends" / "sig.root")["Events"].arrays(library="np")
    assert set(friend) == {"lumi", "event", "test_s", "test_b"}
    scores = friend["test_s"].reshape(3, 60)
    np.testing.assert_array_equal(scores, np.tile(scores[:1], (3, 1)))
    toys.write(tmp_path / "anonymous.root", without(events(60, 1), "event"))
    answer = nanoforge("predict", "run", "anonymous.root", "-o", "more")
    assert answer.returncode == 0
    assert "anonymous.root: has no lumi, event: the model (fold) of an event is chosen by file" in answer.stderr
    assert set(uproot.open(tmp_path / "more" / "anonymous.root")["Events"].keys()) == {"test_s", "test_b"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"define": {"luminosityBlock": "lumi"}}, r"'identity: \[run, lumi, event\]'"),
        ({"identity": ["event", "event"]}, "identity: a column is listed twice"),
        ({"identity": ["entry"]}, "identity: 'entry' is a column of the dataset itself"),
        ({"identity": ["h"], "define": {"h": "x / 2"}}, "identity: define.h has to give one integer per event"),
    ],
)
def test_identities_that_cannot_be(
    write: Callable[..., None], nanoforge: Callable[..., Any], changes: dict[str, Any], message: str
) -> None:
    import re

    write(**changes)
    answer = nanoforge("convert", "a.yaml", "-o", "dataset")
    assert answer.returncode == 2 and re.search(message, answer.stderr), answer.stderr


def test_a_defined_column_may_identify_events(
    write: Callable[..., None], nanoforge: Callable[..., Any], tmp_path: Path
) -> None:
    write(copies(events(60, 1)), define={"number": "1000 * run + event"}, identity="number")
    assert nanoforge("convert", "a.yaml", "-o", "dataset").returncode == 0
    assert max(map(len, sides(tmp_path / "dataset").values())) == 1


def test_sentinels_and_constants_are_named(
    write: Callable[..., None], nanoforge: Callable[..., Any], tmp_path: Path
) -> None:
    inputs = {"event": {"features": ["x", "k", "b"]}}
    more = [{"k": np.full(600, 0.1, "f4"), "b": np.arange(600) % 2 == i} for i in range(2)]
    tables = [sentinel(events(600, 10_000 * (1 + i), 50.0)) | more[i] for i in range(2)]
    write(*tables, inputs=inputs)
    answer = nanoforge("convert", "a.yaml", "-o", "dataset")
    assert answer.returncode == 0, answer.stderr
    lines = [line for line in answer.stderr.splitlines() if line.startswith("warning: ")]
    remedy = "say 'missing: -999' and 'nan: {fill: 0}' if that means 'not there'"
    assert lines == [
        f"warning: inputs.event: x is -999 in 33 % of the rows: {remedy}",
        "warning: inputs.event: k is 0.1 in all training rows: it teaches nothing",
    ]
    inputs["event"] |= {"features": ["x", "b"], "missing": -999, "nan": {"fill": 0}}
    write(*tables, inputs=inputs)
    answer = nanoforge("convert", "a.yaml", "-o", "dataset", "--force")
    assert answer.returncode == 0 and "warning" not in answer.stderr, answer.stderr


def test_rows_with_all_constituents_of_their_event(
    write: Callable[..., None], nanoforge: Callable[..., Any], tmp_path: Path
) -> None:
    vertices = {"collection": "SV", "length": 2, "features": ["pt"]}
    changes = {"row": "Jet", "target": {"classes": {"b": "hadronFlavour == 5", "other": "hadronFlavour != 5"}}}
    line = "inputs.sv: every Jet has all SV of its event: attach them by 'index' or 'match', or confirm it by"
    tables = (toys.nano_events(50, True), toys.nano_events(50, False, first=50))
    write(*tables, inputs={"jet": {"features": ["pt"]}, "sv": vertices}, **changes)
    answer = nanoforge("convert", "a.yaml", "-o", "dataset")
    assert answer.returncode == 0 and answer.stderr.count(line) == 1, answer.stderr
    analysis = tmp_path / "a.yaml"
    analysis.write_text(analysis.read_text().replace("collection: SV", "collection: SV\n    all: true"))
    answer = nanoforge("convert", "a.yaml", "-o", "dataset")
    assert answer.returncode == 0 and "is up to date" in answer.stderr, "the rows are the same"
    answer = nanoforge("convert", "a.yaml", "-o", "other")
    assert answer.returncode == 0 and line not in answer.stderr


def test_repeated_events_are_counted(write: Callable[..., None], nanoforge: Callable[..., Any], tmp_path: Path) -> None:
    """Copies within a sample and between samples; the same numbers alone are no alarm."""
    signal, background = copies(events(60, 1)), events(60, 31)
    background["x"][:30] = signal["x"][30:60]
    background["event"][40:] = 7
    background["luminosityBlock"][:] = signal["luminosityBlock"][:] = 0
    write(signal, background)
    lines = [
        "note: 20 of 240 events have the run, luminosityBlock, event of another one, and other features",
        "warning: 150 of 240 events are copies of another one, with the same run, luminosityBlock, event and features, "
        "30 of them in two samples, most in ",
    ]
    counts = {"events": 240, "identities": 170, "copies": 150, "between": 30}
    answer = nanoforge("convert", "a.yaml", "-o", "dataset")
    assert answer.returncode == 0 and all(answer.stderr.count(line) == 1 for line in lines), answer.stderr
    found = manifest(tmp_path / "dataset")["details"]["repeats"]
    assert counts.items() <= found.items() and found["sources"] == [str(tmp_path / "sig.root")] * 2
    assert not [*(tmp_path / "dataset").rglob("*.events")]
    for sample in ("sig", "bkg"):
        assert nanoforge("convert", "a.yaml", "--part", f"{sample}:0", "-o", f"parts/{sample}").returncode == 0
    answer = nanoforge("convert", "a.yaml", "--from-parts", "parts", "-o", "merged")
    assert answer.returncode == 0 and manifest(tmp_path / "merged")["details"]["repeats"] == found, answer.stderr


def test_repeated_events_are_counted_before_a_training_from_files(
    write: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for the same files, and anew when one of them changes, though the hashes of the others are gone."""
    copy = "60 of 180 events are copies of another one"

    def notices() -> list[str]:
        monkeypatch.chdir(tmp_path)
        data = open_dataset(load(tmp_path / "a.yaml"))
        (tmp_path / "run").mkdir(exist_ok=True)
        data.prepare(tmp_path / "run")
        assert all(notice in capsys.readouterr().err for notice in data.notices[:1])
        assert not [*(tmp_path / "run").rglob("*.events")]
        return list(data.notices)

    write(copies(events(60, 1), 2))
    assert [notice[: len(copy)] for notice in notices()] == [copy]
    with monkeypatch.context() as patch:
        patch.setattr(streaming, "count_repeats", None)
        assert [notice[: len(copy)] for notice in notices()] == [copy]
    toys.write(tmp_path / "bkg.root", events(60, 1))
    assert [notice[:13] for notice in notices()] == ["120 of 180 ev"]
    sidecar = next((tmp_path / "run" / "data").glob("bkg-*.json"))
    sidecar.write_text(sidecar.read_text().replace("bkg", "bgk", 1))  # its file is surveyed again
    assert [notice[:13] for notice in notices()] == ["120 of 180 ev"]
    (tmp_path / "run" / "data" / streaming.REPEATS).write_text("{")
    assert [notice[:13] for notice in notices()] == ["120 of 180 ev"]
