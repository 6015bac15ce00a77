"""An MLflow database without runs. MLflow takes seconds to make one, so that a copy is kept among the user's caches.

It is in ``~/.cache/nanoforge`` (or under ``XDG_CACHE_HOME``), and made again where it is gone, damaged, or of another
version of MLflow.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

DATABASE = "mlflow.db"
_ROOM = 1 << 26
"""Bytes that a database may take, by far."""
_MEMORY = "/dev/shm"  # noqa: S108 - making the tables waits for the disk a hundred times, but not here
_DIGEST = hashlib.sha256().digest_size


@functools.cache
def empty_database() -> bytes:
    """Return what an SQLite file without runs holds."""
    kept = _cached()
    content = _verified(kept)
    if content is None:
        content = _made()
        _keep(kept, content)
    return content


def memory_folder() -> str | None:
    """Return a folder in memory; None where a database has no room there."""
    return _MEMORY if _has_room(_MEMORY) else None


def _has_room(folder: str) -> bool:
    """Whether a database can lie there: the shared memory of a container may be full, small, or not to be written."""
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > _ROOM


def _cached() -> Path:
    import mlflow

    caches = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(caches) / "nanoforge" / f"mlflow-{mlflow.__version__}.db"


def _made() -> bytes:
    from mlflow.tracking import MlflowClient

    with tempfile.TemporaryDirectory(dir=memory_folder()) as scratch:
        database = Path(scratch, DATABASE)
        MlflowClient(tracking_uri=f"sqlite:///{database}").search_experiments()
        return database.read_bytes()


def _verified(path: Path) -> bytes | None:
    """Return what was kept, if it is as it was written: a digest, and the database."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    digest, content = stored[:_DIGEST], stored[_DIGEST:]
    return content if hashlib.sha256(content).digest() == digest else None


def _keep(path: Path, content: bytes) -> None:
    """Keep a database, where the home can be written."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
