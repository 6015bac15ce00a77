"""Output directories that appear whole or not at all, and that an interrupted stage can go on with."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError, NanoForgeError, UserError, full_disk, machine_failure
from .manifest import NAME, Manifest, changed_keys, fingerprint, is_whole, remove, remove_temporaries, write_atomically

_KEY, _LOCK = ".inputs", ".lock"
_LONGEST = 160
_HDF5 = re.compile(r"error message = '([^']+)'")


@contextlib.contextmanager
def staged_output(
    directory: Path, key: Any, force: bool = False, config: Any = None, inputs: Sequence[str] | None = None
) -> Iterator[Path]:
    """Give a stage a folder to work in, and put it in place of ``directory`` when its manifest is written.

    The work lies beside ``directory`` until then: whatever interrupts it, an earlier result stays intact and no later
    stage can mistake a half for a whole. Work that was begun for the same ``key`` is kept and handed out again.

    Parameters
    ----------
    directory
        Where the result will be.
    key
        What the result is made from (configuration, inputs), as plain JSON types.
    force
        Replace the finished result of something else.
    config, inputs
        What the manifest will say of configuration and input files, as far as the result depends on it: a refusal to
        replace a result names what differs.

    Yields
    ------
    Path
        The folder to work in.

    Raises
    ------
    UserError
        When ``directory`` is something that must not be replaced.
    DataError
        When the disk is full or cannot be written, or another process is at work on the same output.
    """
    try:
        directory = directory.resolve()  # where it is a link, the place that it points to is filled
    except (OSError, RuntimeError, ValueError) as error:  # a link to itself, a NUL
        raise UserError(f"{directory}: cannot be a directory ({error}): give another -o") from None
    if not directory.name:
        raise UserError(f"{directory}: cannot be replaced by a result: give another -o")
    work = directory.with_name(f".{directory.name}.unfinished")
    with writing_to(directory):
        if not directory.exists() and _backup(directory).exists():
            _backup(directory).rename(directory)  # interrupted while replacing: the old result is the result
        _check_replaceable(directory, force, config, inputs)
        _make_folder(work)
        with _lock_file(work / _LOCK).open("w") as lock:
            _lock(lock, directory)
            _reuse_or_clear(work, fingerprint(key))
            yield work
            _replace(directory, work)  # locked and marked to the end: nobody clears what is finished
            for scrap in (_KEY, _LOCK):
                (directory / scrap).unlink(missing_ok=True)


@contextlib.contextmanager
def writing_to(directory: Path) -> Iterator[None]:
    """Turn what goes wrong with disks into a :class:`DataError` that names what is full, or what the machine lacks."""
    try:
        yield
    except OSError as error:
        lack = machine_failure(error)
        if lack is not None:
            raise DataError(f"{error.filename}: {lack}" if error.filename else lack) from error
        raise DataError(full_disk(error, directory) or f"{directory}: {_cause(error)}") from error


def up_to_date(directory: Path, stage: str, key: Any, inputs: Sequence[str] | None = None) -> Manifest | None:
    """Return the manifest of a finished, whole output that was made from just this; None where the stage has to run.

    Parameters
    ----------
    directory, stage
        The output and the stage that makes it.
    key
        What the result is made from, as plain JSON types; its fingerprint is the ``key`` among the manifest's details.
    inputs
        The input files, in order, unless the key says all about them.
    """
    if not (directory / NAME).exists():
        return None
    try:
        manifest = Manifest.read(directory, stage)
    except DataError:  # damaged: made again with --force, which staged_output asks for
        return None
    if manifest.details.get("key") != fingerprint(key) or not is_whole(directory):
        return None
    if inputs is not None:
        same = [r.path for r in manifest.inputs] == list(inputs) and all(r.unchanged() for r in manifest.inputs)
        return manifest if same else None
    return manifest


def differences(old: Manifest, config: Any, inputs: Sequence[str] | None = None) -> list[str]:
    """Say in which keys a configuration differs from that of a result, and which input files do."""
    made_with = {key: old.config[key] for key in config if key in old.config} if isinstance(config, dict) else {}
    changes = list(changed_keys(made_with, config)) if made_with else []
    if inputs is not None:
        before, now = dict.fromkeys(record.path for record in old.inputs), dict.fromkeys(inputs)
        changes += [f"{path} is new" for path in now if path not in before]
        changes += [f"{path} is no longer read" for path in before if path not in now]
    return changes + [f"{record.path} has changed" for record in old.inputs if not record.unchanged()]


def shortened(changes: Sequence[str], most: int = 3) -> str:
    """Join the first differences into one line."""
    more = f" and {len(changes) - most} more" if len(changes) > most else ""
    return "; ".join(c if len(c) <= _LONGEST else f"{c[: _LONGEST - 3]}..." for c in changes[:most]) + more


def _made_from(directory: Path, config: Any, inputs: Sequence[str] | None) -> str:
    """Say what the finished result in a directory is, and how it differs from the one that is asked for."""
    try:
        old = Manifest.load(directory)
        changes = differences(old, config, inputs)
    except (NanoForgeError, AttributeError):  # damaged, or of a version that wrote other manifests
        return ""
    return f" of 'nanoforge {old.stage}', made from something else" + (f" ({shortened(changes)})" if changes else "")


def _check_replaceable(directory: Path, force: bool, config: Any, inputs: Sequence[str] | None) -> None:
    if not directory.exists():
        return
    if not directory.is_dir():
        raise UserError(f"{directory}: is a file; -o needs a directory")
    if (directory / NAME).exists():
        if not force and is_whole(directory):
            result = f"holds a finished result{_made_from(directory, config, inputs)}"
            raise UserError(f"{directory}: {result}; give another -o, or --force to replace it")
    elif any(directory.iterdir()):
        raise UserError(
            f"{directory}: holds files that NanoForge did not make (there is no {NAME}): give an empty or new "
            f"directory, or remove {directory} where nothing in it is needed"
        )


def _lock(lock: Any, directory: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataError(f"{directory}: another nanoforge process is writing it; wait for it or end it") from None


def _reuse_or_clear(work: Path, key: str) -> None:
    marker = work / _KEY
    try:
        same = marker.read_text() == key
    except (OSError, ValueError):  # none, or damaged
        same = False
    if same:
        remove_temporaries(work)
    else:
        for item in work.iterdir():
            if item.name != _LOCK:
                remove(item)
        write_atomically(marker, key)


def _make_folder(work: Path) -> None:
    """Make the folder to work in; what else bears its name is a relic."""
    if not work.is_dir():
        remove(work)
        work.mkdir(parents=True, exist_ok=True)


def _lock_file(path: Path) -> Path:
    if path.is_dir() or path.is_symlink():
        remove(path)
    return path


def _replace(directory: Path, work: Path) -> None:
    if not (work / NAME).exists():
        raise DataError(f"{work}: the stage ended without a {NAME}; please report this")
    old = _backup(directory)
    shutil.rmtree(old, ignore_errors=True)
    if directory.exists():
        directory.rename(old)
    work.rename(directory)
    shutil.rmtree(old, ignore_errors=True)


def _backup(directory: Path) -> Path:
    return directory.with_name(f".{directory.name}.replaced")


def _cause(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"cannot be written{where}: {error.strerror}; give an -o in a place of your own"
    text = " ".join(str(error.strerror or error).split())  # HDF5 writes the time with a line break
    match = _HDF5.search(text)
    return f"{match[1] if match else text}{where}"
