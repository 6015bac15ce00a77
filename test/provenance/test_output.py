"""Output directories appear whole or not at all, whatever happens."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toys
from nanoforge.dataset.open import open_dataset
from nanoforge.errors import DataError, NanoForgeError, UserError
from nanoforge.provenance import Manifest, staged_output
from nanoforge.provenance.manifest import NAME, remove
from nanoforge.provenance.output import up_to_date


def make(directory: Path, content: str = "new", key: Any = "key", force: bool = False) -> None:
    with staged_output(directory, key, force) as work:
        fill(work, content, key)


def fill(work: Path, content: str, key: Any = "key") -> None:
    from nanoforge.provenance import fingerprint

    (work / "sub").mkdir(exist_ok=True)
    (work / "sub" / "data").write_text(content)
    Manifest("convert", {}, [], details={"key": fingerprint(key)}).write(work, {"sub/data": 1})


def tree(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


RESULT = {"out/sub/data", "out/manifest.json"}


def test_a_result_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with staged_output(out, "key") as work:
        (work / "half").write_text("x")
        assert not out.exists() and work.parent == out.parent
        fill(work, "new")
    assert tree(tmp_path / "deep") == {*RESULT, "out/half"}
    assert (out / "sub" / "data").read_text() == "new"


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    make(tmp_path / "out")
    assert tree(tmp_path) == RESULT


def test_a_link_is_filled_where_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "out").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "out")
    make(tmp_path / "out")
    assert (tmp_path / "out").is_symlink() and tree(tmp_path / "disk") == RESULT
    make(tmp_path / "out", "newer", force=True)
    assert (tmp_path / "disk" / "out" / "sub" / "data").read_text() == "newer"


@pytest.mark.parametrize(
    "failure", [RuntimeError("bug"), KeyboardInterrupt(), OSError(errno.EIO, "broken"), SystemExit(1)]
)
def test_a_failure_leaves_the_old_result(tmp_path: Path, failure: BaseException) -> None:
    make(tmp_path / "out", "old")
    with pytest.raises((type(failure), DataError)), staged_output(tmp_path / "out", "key", force=True) as work:
        fill(work, "half")
        raise failure
    assert (tmp_path / "out" / "sub" / "data").read_text() == "old"
    Manifest.read(tmp_path / "out", "convert").verify(tmp_path / "out")


def test_a_failure_leaves_no_first_result(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), staged_output(tmp_path / "out", "key") as work:
        fill(work, "half")
        raise RuntimeError
    assert not (tmp_path / "out").exists()


def test_unfinished_work_of_the_same_key_is_handed_out_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), staged_output(tmp_path / "out", {"a": 1, "b": 2}) as work:
        (work / "shards").mkdir()
        (work / "shards" / "one").write_text("done")
        raise KeyboardInterrupt
    with staged_output(tmp_path / "out", {"b": 2, "a": 1}) as work:
        assert (work / "shards" / "one").read_text() == "done"
        fill(work, "new")
    assert tree(tmp_path) == {*RESULT, "out/shards/one"}


def test_what_was_being_written_when_a_process_was_killed_is_no_part_of_the_result(tmp_path: Path) -> None:
    with pytest.raises(DataError), staged_output(tmp_path / "out", "key") as work:
        (work / "sub").mkdir()
        (work / "sub" / ".record.json.4711").write_text("{")
        raise DataError("killed")
    make(tmp_path / "out")
    assert tree(tmp_path) == RESULT


def test_unfinished_work_of_another_key_is_cleared(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), staged_output(tmp_path / "out", {"a": 1}) as work:
        (work / "shards").mkdir()
        (work / "shards" / "one").write_text("stale")
        (work / "two").write_text("stale")
        raise KeyboardInterrupt
    with staged_output(tmp_path / "out", {"a": 2}) as work:
        assert not (work / "shards").exists() and not (work / "two").exists()
        fill(work, "new")
    assert tree(tmp_path) == RESULT


def test_a_finished_result_needs_force(tmp_path: Path) -> None:
    make(tmp_path / "out", "old")
    with pytest.raises(UserError, match=r"out: holds a finished result.*; give another -o, or --force"):
        make(tmp_path / "out", "new")
    assert (tmp_path / "out" / "sub" / "data").read_text() == "old"
    make(tmp_path / "out", "new", force=True)
    assert (tmp_path / "out" / "sub" / "data").read_text() == "new" and tree(tmp_path) == RESULT


@pytest.mark.parametrize("force", [False, True])
def test_what_nanoforge_did_not_make_is_never_replaced(tmp_path: Path, force: bool) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"out: holds files that NanoForge did not make"):
        make(tmp_path / "out", force=force)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(UserError, match=r"file: is a file; -o needs a directory"):
        make(tmp_path / "file", force=force)
    assert tree(tmp_path) == {"out/thesis.tex", "file"}
    with pytest.raises(DataError, match="file"):
        make(tmp_path / "file" / "out", force=force)


OTHER_PROCESS = """
import sys
from pathlib import Path
from nanoforge.provenance import Manifest, staged_output
with staged_output(Path(sys.argv[1]), "key") as work:
    (work / "mine").write_text("x")
    print("ready", flush=True)
    sys.stdin.readline()
    Manifest("convert", {}, []).write(work, {"mine": 1})
"""


def test_a_second_process_is_refused_while_the_first_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OTHER_PROCESS, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(DataError, match=r"out: another nanoforge process is writing it"):
            make(tmp_path / "out", key="another key")
        other.stdin.write("go on\n")
        other.stdin.close()
        assert other.wait(30) == 0
    assert tree(tmp_path) == {"out/mine", "out/manifest.json"}


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OTHER_PROCESS, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "ready\n"
        other.kill()
    with staged_output(tmp_path / "out", "key") as work:
        assert (work / "mine").read_text() == "x"
        fill(work, "new")
    assert tree(tmp_path) == {*RESULT, "out/mine"}


def test_an_interrupted_replacement_is_recovered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "out", "old")
    real = Path.rename

    def dies_before_the_last_step(self: Path, target: Path) -> Path:
        if self.name == ".out.unfinished":
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "rename", dies_before_the_last_step)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "out", "new", force=True)
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    with pytest.raises(UserError, match="holds a finished result"):
        make(tmp_path / "out", "new")
    assert (tmp_path / "out" / "sub" / "data").read_text() == "old"
    with staged_output(tmp_path / "out", "key", force=True) as work:
        assert (work / "sub" / "data").read_text() == "new", "what was finished is not lost either"
        fill(work, "newest")
    assert (tmp_path / "out" / "sub" / "data").read_text() == "newest" and tree(tmp_path) == RESULT


def test_a_second_process_cannot_clear_what_is_being_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused = Path.rename, []

    def another_comes_in_between(self: Path, target: Path) -> Path:
        if self.name == ".out.unfinished" and not refused:
            with pytest.raises(DataError, match="another nanoforge process") as caught:
                make(tmp_path / "out", "other", key="another key")
            refused.append(caught.value)
        return real(self, target)

    monkeypatch.setattr(Path, "rename", another_comes_in_between)
    make(tmp_path / "out", "mine")
    assert refused and (tmp_path / "out" / "sub" / "data").read_text() == "mine"


def test_a_stage_without_manifest_makes_no_result(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"ended without a manifest.json; please report"),
        staged_output(tmp_path / "out", 1),
    ):
        pass
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_named_with_its_remedy(tmp_path: Path) -> None:
    with (
        pytest.raises(
            DataError, match=r"^data: no space left on the disk: free some, .* goes on where it was"
        ) as caught,
        staged_output(tmp_path / "out", "key") as work,
    ):
        (work / "first").write_text("done")
        raise OSError(errno.ENOSPC, "No space left on device", "data")
    assert caught.value.exit_code == 1 and not (tmp_path / "out").exists()
    with staged_output(tmp_path / "out", "key") as work:
        assert (work / "first").read_text() == "done"
        fill(work, "new")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_place_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(self: Path, *arguments: Any, **options: Any) -> None:
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)  # tests may run as root, whom no permission stops
    with pytest.raises(DataError, match=r"out: cannot be written \(.*\): .*; give an -o in a place of your own"):
        make(tmp_path / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; the test above simulates it")
def test_a_read_only_parent(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match=r"out: cannot be written .* give an -o in a place of your own"):
        make(tmp_path / "out")


def test_a_place_that_cannot_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()

    def refuse(self: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"out: cannot be written \(.*out\): Permission denied"):
        make(tmp_path / "out")


# --- is it up to date? ---


def test_a_result_that_lost_a_file_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out)
    assert up_to_date(out, "convert", "key") is not None
    (out / "sub" / "data").unlink()
    assert up_to_date(out, "convert", "key") is None
    make(out, "again")
    assert (out / "sub" / "data").read_text() == "again" and tree(tmp_path) == RESULT
    with pytest.raises(UserError, match="holds a finished result"):
        make(out)


def test_up_to_date_asks_for_key_and_inputs(tmp_path: Path) -> None:
    from nanoforge.provenance import FileRecord, fingerprint
    from nanoforge.provenance.manifest import input_record

    out, source = tmp_path / "out", tmp_path / "source"
    source.write_text("abc")
    assert up_to_date(out, "convert", "key") is None
    with staged_output(out, "key") as work:
        sources: list[FileRecord] = [input_record(str(source), 3)]
        Manifest("convert", {}, sources, details={"key": fingerprint("key")}).write(work, {})
    assert up_to_date(out, "convert", "key") is not None
    assert up_to_date(out, "convert", "key", [str(source)]) is not None
    assert up_to_date(out, "convert", "another key") is None
    assert up_to_date(out, "convert", "key", [str(source), "more"]) is None
    with pytest.raises(UserError, match=r"out: made by 'nanoforge convert', but the output of 'train' is needed here"):
        up_to_date(out, "train", "key")
    source.write_text("abd")
    os.utime(source, ns=(1, 1))
    assert up_to_date(out, "convert", "key", [str(source)]) is None
    source.unlink()
    assert up_to_date(out, "convert", "key", [str(source)]) is None


ANALYSIS = """
name: x
samples: {a: {files: a.root, label: signal}}
inputs: {event: {features: [MET_pt]}}
target: {regression: {m: MET_pt}}
"""


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", [NAME, "train.h5"])
@pytest.mark.parametrize("harm", [Path.unlink, _flip, lambda path: os.truncate(path, 99)], ids=["no", "flip", "cut"])
def test_the_remedy_for_a_damaged_result_helps(
    tmp_path: Path, nanoforge: Callable[..., Any], name: str, harm: Callable[[Path], None]
) -> None:
    toys.write(tmp_path / "a.root", toys.nano_events(20))
    (tmp_path / "analysis.yaml").write_text(ANALYSIS)
    words = ("convert", "analysis.yaml", "-o", "dataset")
    assert nanoforge(*words).returncode == 0
    harm(tmp_path / "dataset" / name)
    with pytest.raises(NanoForgeError) as error:
        open_dataset(Path("dataset"))
    for path in re.findall(r"remove (\S+), then", str(error.value)):
        remove(Path(path))
    assert "run 'nanoforge convert' again" in str(error.value)
    answer = nanoforge(*words, *["--force"] * ("--force" in str(error.value)))
    assert answer.returncode == 0, answer.stderr
    open_dataset(Path("dataset"))
