"""What the machine lacks is named, and is never a fault of a file or of the output."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

import pytest
import toys
from nanoforge import errors, parallel
from nanoforge.config import Analysis
from nanoforge.errors import DataError, UserError, machine_failure
from nanoforge.events.files import expand
from nanoforge.events.open import open_events, reading
from nanoforge.provenance import staged_output
from nanoforge.provenance.output import writing_to


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EMFILE, "Too many open files", "x.root"), "too many open files: raise the limit"),
        (OSError("Unable to open file (errno = 24, error message = 'too many')"), "too many open files: raise"),
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), "out of memory"),
    ],
)
def test_what_the_machine_lacks_is_no_fault_of_a_file_or_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("a library's own words") from error

    assert words in str(machine_failure(error))
    monkeypatch.setattr("nanoforge.events.root.open_root", fail)
    path = toys.write(tmp_path / "x.root", toys.nano_events(1, True))
    with pytest.raises(DataError, match=words) as found:
        open_events(str(path), "Events")
    assert type(found.value) is DataError, "--skip-bad-files would count it as lost"
    if isinstance(error, OSError) and error.errno:
        with pytest.raises(DataError, match=rf"^x\.root: {words}"), staged_output(tmp_path / "out", "key"):
            raise error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), OSError("write failed (errno = 28, file)")])
def test_the_disk_that_is_full_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    """Where the exception does not say so, that with the least room."""
    rooms = {tmp_path: 2, Path.cwd(): 3, Path(tempfile.gettempdir()): 1, Path("/dev/shm"): 4}
    monkeypatch.setattr("nanoforge.errors.shutil.disk_usage", lambda p: SimpleNamespace(free=rooms[Path(p)]))
    for least in (Path(tempfile.gettempdir()), tmp_path, Path("/dev/shm")):
        rooms[least] = 0
        with (
            pytest.raises(DataError, match=rf"^{least}(/out)?: no space left on the disk: free some"),
            writing_to(tmp_path / "out"),
        ):
            raise error
        rooms[least] = 9


def test_a_limit_of_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine_failure(ImportError("libx.so: failed to map segment from shared object"))
    monkeypatch.setattr(errors.resource, "getrlimit", lambda _: (1 << 20, 1 << 20))
    assert "may have 1 MB (ulimit -v)" in errors.scarce_memory()
    monkeypatch.setattr(errors.resource, "getrlimit", lambda _: (errors.resource.RLIM_INFINITY,) * 2)
    assert errors.scarce_memory() == ""


def test_other_failures_are_none_of_the_machine() -> None:
    assert machine_failure(ValueError("out of memory of a poet")) is None
    assert machine_failure(OSError(errno.ENOENT, "No such file", "x")) is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EMFILE])
def test_workers_that_cannot_be_started_are_named(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(parallel, "ProcessPoolExecutor", fail)
    with pytest.raises(DataError, match=r"no worker processes can be started: .*(/dev/shm|too many open files)"):
        parallel.run_jobs(print, [1, 2], 2, "nothing")


def test_links_to_themselves_and_odd_names(tmp_path: Path, nanoforge: Callable) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for place in (tmp_path / "loop", Path("a\0b")):
        with pytest.raises(UserError, match="cannot be a directory"), staged_output(place, "key"):
            pass
        with pytest.raises(UserError, match=r"FILES: .* cannot be a file"):
            expand([str(place)], "FILES")
    answer = nanoforge("evaluate", "loop")
    assert answer.returncode == 1 and answer.stderr.startswith("error: loop") and answer.stderr.count("\n") == 1


def test_a_file_that_is_truncated_in_place_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    """And no signal that ends the process, as with a memory map."""
    path = toys.write(tmp_path / "x.root", toys.nano_events(60_000, True), basket=1000)
    content = {
        "name": "x",
        "samples": {"x": {"files": str(path), "label": "x"}},
        "inputs": {"e": {"features": ["MET_pt"]}},
    }
    analysis = Analysis.model_validate(content)
    with (
        pytest.raises(DataError, match=r"x\.root: changed while it was read"),
        reading(analysis, str(path)) as (file, _),
    ):
        chunks = file.chunks(["MET_pt"])
        next(chunks)
        os.truncate(path, 1000)
        list(chunks)
