"""Addresses: S3 on a real server, other protocols of fsspec, and what is special to some."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import fsspec
import h5py
import nanoforge.events.addresses
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from fsspec.implementations.local import LocalFileSystem
from nanoforge.errors import DataError, FileError, UserError
from nanoforge.events import remote
from nanoforge.events.files import expand, size_of
from nanoforge.events.open import open_events
from nanoforge.events.protocol import RemoteFiles
from nanoforge.events.remote import PROTOCOLS, remote_files

EVENTS = 3000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of several formats with the same events."""
    path = tmp_path_factory.mktemp("events")
    columns = {"event": np.arange(EVENTS), "x": np.random.default_rng(1).normal(size=EVENTS)}
    for name in ("a.root", "b.root"):
        with uproot.recreate(path / name) as file:
            tree = file.mktree("Events", {name: values.dtype for name, values in columns.items()})
            for first in range(0, EVENTS, 1000):
                tree.extend({name: values[first : first + 1000] for name, values in columns.items()})
    pq.write_table(pa.table(columns), path / "a.parquet", row_group_size=700)
    lines = "".join(f"{i},{x!r}\n" for i, x in zip(columns["event"].tolist(), columns["x"].tolist()))
    (path / "a.csv").write_text("event,x\n" + lines)
    return path


def content(address: str) -> tuple[list[int], bytes]:
    with open_events(address, "Events") as file:
        chunks = list(file.chunks(["event", "x"], step=500))
    event, x = (np.concatenate([chunk.columns[name].content for chunk in chunks]) for name in ("event", "x"))
    return event.tolist(), x.tobytes()


@pytest.fixture(scope="module")
def bucket(folder: Path) -> Iterator[str]:
    """The files on an S3 server."""
    server = pytest.importorskip("moto.server", reason="an S3 server for the tests: pip install 'nanoforge[test]'")
    pytest.importorskip("s3fs", reason="pip install s3fs")
    thread = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    thread.start()
    host, port = thread.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        system = fsspec.filesystem("s3")
        system.mkdir("events")
        for path in folder.iterdir():
            system.pipe(f"events/2024/{path.name}", path.read_bytes())
        yield "s3://events/2024"
    thread.stop()


@pytest.mark.parametrize("name", ["a.root", "a.parquet", "a.csv"])
def test_s3_gives_what_the_local_file_gives(folder: Path, bucket: str, name: str) -> None:
    assert content(f"{bucket}/{name}") == content(str(folder / name))
    assert size_of(f"{bucket}/{name}") == (folder / name).stat().st_size


def test_s3_is_listed(bucket: str) -> None:
    assert expand([f"{bucket}/*.root"], "files") == [f"{bucket}/a.root", f"{bucket}/b.root"]
    with pytest.raises(UserError, match=r"files: no file matches s3://events/2024/\*.pq"):
        expand([f"{bucket}/*.pq"], "files")


def test_failures_of_s3_are_named(bucket: str) -> None:
    with pytest.raises(FileError, match=r"s3://events/2024/c.root: cannot be opened: .*"):
        content(f"{bucket}/c.root")
    with pytest.raises(DataError, match=r"s3://none/\*.root: cannot be listed"):
        expand(["s3://none/*.root"], "files")
    assert size_of("s3://none/a.root") == 0


def test_events_on_s3_become_a_dataset(
    folder: Path, bucket: str, tmp_path: Path, nanoforge: Callable[..., Any]
) -> None:
    rows = []
    for files in (f"{bucket}/*.root", str(folder / "*.root")):
        (tmp_path / "analysis.yaml").write_text(
            f"name: a\nsamples: {{all: {{files: '{files}'}}}}\nidentity: event\nsplit: {{train: 1, val: 0, test: 0}}\n"
            "target: {classes: {low: 'x < 0', high: 'x >= 0'}}\ninputs: {event: {features: [x]}}\n"
        )
        answer = nanoforge("convert", "analysis.yaml", "-o", "dataset", "--force")
        assert answer.returncode == 0, answer.stderr
        with h5py.File(tmp_path / "dataset" / "train.h5") as file:
            rows.append([file[name][:].tobytes() for name in ("id/event", "id/file", "event/features")])
    assert rows[0] == rows[1]


class _Other(LocalFileSystem):
    """A protocol whose addresses have a server that its file system does not name, as those of HDFS do."""

    protocol = "other"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        _, slashes, rest = str(path).partition("://")
        return f"/{rest.partition('/')[2]}" if slashes else str(path)


def test_any_protocol_of_fsspec(folder: Path) -> None:
    fsspec.register_implementation("other", _Other, clobber=True)
    at = f"other://server{folder}"
    assert expand([f"{at}/*.root"], "files") == [f"{at}/a.root", f"{at}/b.root"]
    assert size_of(f"{at}/a.parquet") == (folder / "a.parquet").stat().st_size
    for name in ("a.root", "a.parquet", "a.csv"):
        assert content(f"{at}/{name}") == content(str(folder / name))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("gs://a/b.root", "gs://a/b.root: gs:// needs a package that is not installed: pip install gcsfs"),
        ("none://a/b.parquet", "none://a/b.parquet: none:// is no protocol that is known here"),
        ("none://a/*.root", r"none://a/\*.root: none:// is no protocol that is known here"),
        ("davs://a/*.root", r"davs://a/\*.root: webdav:// needs a package that is not installed: pip install webdav4"),
    ],
)
def test_a_missing_package_is_one_line_with_the_remedy(
    address: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(scheme: str) -> Any:
        raise ImportError(scheme) if scheme != "none" else ValueError(scheme)

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(UserError, match=message):
        content(expand([address], "files")[0])


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Sends parts of files, to those who have a token."""

    def do_GET(self) -> None:
        if self.headers["Authorization"] != "Bearer token":
            self.send_error(403)
            return
        data = (Path(self.directory) / self.path.lstrip("/")).read_bytes()
        first, _, last = self.headers.get("Range", f"bytes=0-{len(data) - 1}").partition("=")[2].partition("-")
        part = data[int(first) : int(last or len(data) - 1) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str((Path(self.directory) / self.path.lstrip("/")).stat().st_size))
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def test_webdav_is_read_with_a_token(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = functools.partial(_Ranges, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        at = f"dav://127.0.0.1:{web.server_address[1]}"
        with pytest.raises(FileError, match="403"):
            content(f"{at}/a.root")
        monkeypatch.setenv("BEARER_TOKEN", "token")
        assert size_of(f"{at}/a.root") == (folder / "a.root").stat().st_size
        for name in ("a.root", "a.parquet"):
            assert content(f"{at}/{name}") == content(str(folder / name))
        web.shutdown()


@pytest.fixture
def more(tmp_path: Path) -> Iterator[Path]:
    """A folder beside that of our own protocols."""
    folders = nanoforge.events.addresses.__path__
    folders.append(str(tmp_path))
    remote._of_scheme.cache_clear()
    yield tmp_path
    folders.remove(str(tmp_path))
    remote._of_scheme.cache_clear()


SITE = (
    "import fsspec\n"
    "from nanoforge.events.protocol import RemoteFiles\n\n"
    "class SiteFiles(RemoteFiles):\n"
    "    schemes = ('site',)\n\n"
    "    def open(self, path, addresses):\n"
    "        return open(addresses[0].partition('://')[2], 'rb')\n"
)


def test_a_file_in_the_folder_is_enough(folder: Path, more: Path) -> None:
    (more / "site.py").write_text(SITE)
    assert "site" in PROTOCOLS.names()
    assert content(f"site://{folder}/a.parquet") == content(str(folder / "a.parquet"))


def test_a_users_module_adds_one_by_an_entry_point(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_addresses.py").write_text(SITE)
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("mine", "my_addresses:SiteFiles", "nanoforge.protocols")
    monkeypatch.setattr("nanoforge.registry.installed_entry_points", lambda: EntryPoints([point]))
    remote._of_scheme.cache_clear()
    try:
        assert content(f"site://{folder}/a.parquet") == content(str(folder / "a.parquet"))
    finally:
        remote._of_scheme.cache_clear()


def test_protocols_are_known_by_their_schemes() -> None:
    kinds = {scheme: type(remote_files(f"{scheme}://a")).__name__ for scheme in ("root", "https", "davs", "s3", "hdfs")}
    names = ["XRootDFiles", "HttpFiles", "WebDavFiles", RemoteFiles.__name__, RemoteFiles.__name__]
    assert list(kinds.values()) == names
