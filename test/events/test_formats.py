"""Formats of input files: ours, a file in the folder, and a user's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import h5py
import nanoforge.events.formats
import numpy as np
import pytest
from nanoforge.errors import FileError
from nanoforge.events import open as factory
from nanoforge.events.open import FORMATS, format_of, open_events

TOYS = '''
import numpy as np
from nanoforge.events.columns import Branch, Chunk, Column
from nanoforge.events.damage import FileKind
from nanoforge.events.format import InputFormat
from nanoforge.events.reader import EventFile, content_uuid


class ToyFormat(InputFormat):
    """Lines with a number and a value."""

    suffixes = (".toy",)
    kind = FileKind("toy", start=b"#toy")

    def open(self, path, tree, redirectors):
        return _ToyFile(path)


class _ToyFile(EventFile):
    def __init__(self, path):
        number, x = np.loadtxt(path, unpack=True, ndmin=2)
        self._values = {"event": number.astype("i8"), "x": x}
        self.path, self.entries, self.uuid = path, len(x), content_uuid(path)
        self.branches = {name: Branch(name, values.dtype) for name, values in self._values.items()}

    def _chunks(self, names, step, start, stop):
        for first in range(start, stop, step):
            last = min(first + step, stop)
            yield Chunk(first, last - first, {name: Column([self._values[name][first:last]]) for name in names})
'''


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Formats are looked up once in a process."""
    yield
    factory._all_formats.cache_clear()


def write(folder: Path, suffix: str, heading: str, separator: str) -> None:
    for part in range(2):
        lines = "".join(f"{i}{separator}{i % 7 / 4}\n" for i in range(part * 500, part * 500 + 500))
        (folder / f"{'ab'[part]}{suffix}").write_text(heading + lines)


def analysis(folder: Path, suffix: str, more: str = "") -> Path:
    path = folder / f"analysis{suffix}.yaml"
    path.write_text(
        f"name: toys\nsamples: {{all: {{files: '*{suffix}'}}}}\nidentity: event\n{more}\n"
        "target: {classes: {low: 'x < 1', high: 'x >= 1'}}\ninputs: {event: {features: [x]}}\n"
    )
    return path


def rows(dataset: Path) -> dict[str, Any]:
    with h5py.File(dataset / "train.h5") as file:
        return {name: file[name][:] for name in ("event/features", "id/event", "target/label", "id/entry")}


def test_a_users_own_format_reaches_the_worker_processes(tmp_path: Path, nanoforge: Callable[..., Any]) -> None:
    (tmp_path / "mine.py").write_text(TOYS)
    write(tmp_path, ".toy", "#toy\n", " ")
    write(tmp_path, ".csv", "event,x\n", ",")
    own = analysis(tmp_path, ".toy", "formats: ['mine:ToyFormat']")
    for path, output, jobs in ((own, "toy", 2), (analysis(tmp_path, ".csv"), "csv", 1)):
        answer = nanoforge("convert", path, "-o", output, "-j", jobs)
        assert answer.returncode == 0, answer.stderr
    found, expected = rows(tmp_path / "toy"), rows(tmp_path / "csv")
    assert len(found["id/event"]) > 500
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        ("mine:ToyFormt", TOYS, r"formats\[0\]: '.*mine.py' has no 'ToyFormt'; did you mean 'ToyFormat'"),
        ("mine:np", TOYS, r"formats\[0\]: '.*mine.py:np' is not a class derived from nanoforge.events.format.InputF"),
        ("mine:ToyFormat", "1 / 0", r"formats\[0\]: cannot import '.*mine.py'.*ZeroDivisionError"),
    ],
)
def test_a_wrong_format_is_one_line(
    tmp_path: Path, nanoforge: Callable[..., Any], spec: str, code: str, message: str
) -> None:
    (tmp_path / "mine.py").write_text(code)
    write(tmp_path, ".toy", "#toy\n", " ")
    answer = nanoforge("convert", analysis(tmp_path, ".toy", f"formats: ['{spec}']"))
    lines = [line for line in answer.stderr.splitlines() if line.startswith("error:")]
    assert answer.returncode == 2 and len(lines) == 1
    assert re.search(message, lines[0]), lines[0]


@pytest.fixture
def more(tmp_path: Path) -> Iterator[Path]:
    """A folder beside that of our own formats."""
    (tmp_path / "folder").mkdir()
    folders = nanoforge.events.formats.__path__
    folders.append(str(tmp_path / "folder"))
    factory._all_formats.cache_clear()
    yield tmp_path / "folder"
    folders.remove(str(tmp_path / "folder"))


def test_a_file_in_the_folder_is_enough(tmp_path: Path, more: Path) -> None:
    (more / "toy.py").write_text(TOYS)
    write(tmp_path, ".toy", "#toy\n", " ")
    assert "toy" in FORMATS.names()
    with open_events(str(tmp_path / "a.toy"), "") as file:
        assert [chunk.columns["event"].content.tolist() for chunk in file.chunks(["event"])] == [list(range(500))]
    (tmp_path / "b.toy").write_text("1 2\n")
    with pytest.raises(FileError, match="is no toy file but a text file"):
        open_events(str(tmp_path / "b.toy"), "")


def test_an_entry_point_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_formats.py").write_text(TOYS)
    point = EntryPoint("toy", "my_formats:ToyFormat", "nanoforge.input_formats")
    monkeypatch.setattr("nanoforge.registry.installed_entry_points", lambda: EntryPoints([point]))
    factory._all_formats.cache_clear()
    assert format_of("a.toy").kind.name == "toy" and format_of("a.root").kind.name == "ROOT"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.root", "ROOT"), ("a", "ROOT"), ("a.skim", "ROOT"), ("a.parquet", "Parquet"), ("a.pq", "Parquet"),
        ("a.csv.gz", "CSV"), ("s3://b/a.csv", "CSV"), ("a.ndjson", "JSON lines"), ("a.json.gz", "JSON lines"),
        ("/store/a.root", "ROOT"), ("a.parquet.gz", "ROOT"),
    ],
)  # fmt: skip
def test_names_tell_the_format(path: str, name: str) -> None:
    assert format_of(path).kind.name == name


def test_all_formats_are_described() -> None:
    for name, kind in FORMATS.all():
        assert kind.__doc__ and kind.suffixes and kind.kind.name, name
