"""The grid proxy of jobs that read files of the grid."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from ..config.batch import BatchBlock
from ..errors import UserError
from ..events.files import is_remote
from .plan import Plan

_CERN_EOS = re.compile(r"root://eos\w*\.cern\.ch(:\d+)?/")
_RENEW = "voms-proxy-init -voms cms -valid 192:00"


def find(batch: BatchBlock, plan: Plan) -> str | None:
    """Return the path of the proxy that the jobs take along; None where they need none."""
    if batch.proxy is False or (batch.proxy is None and not _is_needed(batch, plan)):
        return None
    if isinstance(batch.proxy, str):
        return str(Path(batch.proxy).expanduser().absolute())
    return os.environ.get("X509_USER_PROXY", f"/tmp/x509up_u{os.getuid()}")  # noqa: S108 - the convention


def _is_needed(batch: BatchBlock, plan: Plan) -> bool:
    """Whether files are read or written that Kerberos does not open: those of the grid."""
    if plan.grid or (batch.site == "lpc" and is_remote(plan.parts)):
        return True
    remote = (path for job in plan.jobs for path in job.inputs if is_remote(path))
    return any(batch.site != "lxplus" or not _CERN_EOS.match(path) for path in remote)


def check(batch: BatchBlock, plan: Plan, runtime: int) -> None:
    """Raise a :class:`UserError` where the proxy is missing, ends too early, or lies where no job finds it.

    Parameters
    ----------
    batch, plan
        What the jobs are.
    runtime
        How long a job may run, in seconds.
    """
    path = find(batch, plan)
    if path is None:
        return
    if batch.site == "lxplus" and path.startswith("/tmp/"):  # noqa: S108
        raise UserError(
            f"the grid proxy {path} is on this machine alone: export X509_USER_PROXY=$HOME/private/x509up, "
            f"then {_RENEW}"
        )
    if not Path(path).is_file():
        raise UserError(f"the jobs read files of the grid, and there is no proxy {path}: {_RENEW}")
    left = _time_left(path)
    if left < runtime:
        raise UserError(
            f"the grid proxy {path} ends in {left / 3600:.1f} h, and a job may run for {runtime / 3600:.1f} h: {_RENEW}"
        )


def _time_left(path: str) -> int:
    """Return the seconds until a proxy ends."""
    tool = shutil.which("voms-proxy-info") or shutil.which("grid-proxy-info")
    if tool is None:
        raise UserError("voms-proxy-info is not here: submit from LXPLUS or cmslpc, or set batch.proxy to false")
    command = [tool, "-file", path, "-timeleft"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    match = re.search(r"-?\d+", answer.stdout)
    if answer.returncode or match is None:
        raise UserError(f"{path}: not a grid proxy ({answer.stderr.strip() or 'voms-proxy-info fails'}): {_RENEW}")
    return int(match[0])
