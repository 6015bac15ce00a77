"""The submit description of a stage's jobs for HTCondor."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config.batch import BatchBlock, Needs
from ..errors import UserError
from ..version import __version__
from . import proxy
from .jobdir import SHARD, JobDir
from .lint import MOST_JOBS, SPOOL_MEGABYTES, Rules, lint
from .plan import Resources
from .templates import fill, template

CHECKPOINT_CODE = 85


def describe(
    directory: JobDir, resources: Resources, overrides: Sequence[str], attempt: int, count: int, queue: str
) -> str:
    """Return the text of a submit description.

    Parameters
    ----------
    directory, resources, overrides, attempt
        As for :meth:`~.target.Target.prepare`.
    count
        How many jobs it will have.
    queue
        What stands after ``queue``.
    """
    plan = directory.plan
    values = {
        "version": __version__, "stage": plan.stage, "name": plan.name, "jobdir": directory.path, "run": plan.run_id,
        "attempt": attempt, "shard": SHARD, "queue": queue,
        "arguments": " ".join(map(_quoted, directory.words(None, overrides))),
        "environment": _assignments({**directory.environment(resources, overrides), **_destination(directory)}),
        "max_materialize": MOST_JOBS // 2 if count > MOST_JOBS else None,
        **_checkpoint(resources),
        **common(directory, resources),
    }  # fmt: skip
    return fill(template("job.sub"), values)


def common(directory: JobDir, resources: Resources) -> dict[str, Any]:
    """Return what any description of a stage says of files, resources and the site."""
    batch = directory.batch
    return {**_transfer(directory), **_needs(batch.needs(directory.plan.stage), resources), **_site(batch, resources)}


def _quoted(text: str) -> str:
    """Quote a word for HTCondor, where it has to be."""
    if re.fullmatch(r"[\w$().,:=+/@%-]+", text):
        return text
    return "'" + text.replace("'", "''").replace('"', '""') + "'"


def _destination(directory: JobDir) -> dict[str, str]:
    """Let the job itself copy its result where HTCondor has no plugin for it: at the LPC."""
    copies = directory.parts is None and directory.batch.site == "lpc"
    return {"NANOFORGE_DESTINATION": directory.plan.parts} if copies else {}


def _assignments(variables: Mapping[str, str]) -> str | None:
    return " ".join(f"{name}={_quoted(value)}" for name, value in variables.items()) or None


def item(directory: JobDir, number: int) -> str:
    """Return the row of a job in the list of items: what differs between the jobs."""
    job = directory.plan.jobs[number]
    return " ".join(str(getattr(job, column)) for column in directory.plan.columns) + "\n"


def _transfer(directory: JobDir) -> dict[str, Any]:
    """Say what goes to the job and comes back, and with which credentials."""
    plan, batch = directory.plan, directory.batch
    certificate = proxy.find(batch, plan)
    remote, copied = directory.parts is None, bool(_destination(directory))
    plugin, comes_back = remote and not copied, plan.stage != "tune" and not copied
    spool = batch.mode == "spool" and batch.site == "lxplus"
    return {
        "initialdir": directory.path if remote else directory.parts,
        "inputs": ", ".join(map(str, directory.transferred())),
        "part": "part-$INT(number,%05d)" if plan.stage != "tune" else None,
        "outputs": "$(part)" if comes_back else '""',
        "destination": plan.parts if plugin else None,
        "create_dir": True if plugin else None,
        "log": "$INT(folder)/$(number).log" if batch.mode == "spool" else "events.log",
        "max_transfer": SPOOL_MEGABYTES if spool else None,
        "use_proxy": None if certificate is None else "true",
        "proxy": certificate,
        "credential": True if batch.site == "lxplus" else None,
    }


def _checkpoint(resources: Resources) -> dict[str, Any]:
    use = resources.checkpoint > 0
    return {
        "checkpoint_code": CHECKPOINT_CODE if use else None,
        "checkpoint_files": ".$(part).unfinished" if use else None,
    }


def _needs(needs: Needs, resources: Resources) -> dict[str, Any]:
    gpu = needs.gpu if resources.gpus else None
    devices = "|".join(map(re.escape, gpu.devices)) if gpu and gpu.devices else None
    return {
        "retries": resources.retries,
        "cores": resources.cores,
        "memory": resources.memory,
        "disk": resources.disk,
        "gpus": resources.gpus or None,
        "gpu_memory": gpu.memory if gpu else None,
        "requirements": None if devices is None else f'regexp("{devices}", TARGET.GPUs_DeviceName)',
    }


def _site(batch: BatchBlock, resources: Resources) -> dict[str, Any]:
    """Say how long a job may run, and on whose account, as the site wants it."""
    cern = batch.site == "lxplus"
    return {
        "flavour": resources.flavour if cern else None,
        "max_runtime": resources.runtime if resources.flavour is None or not cern else None,
        "limit": None if cern else resources.runtime,
        "os": "el9" if cern else None,
        "accounting_group": batch.accounting_group if cern else None,
        "plain_group": None if cern else batch.accounting_group,
    }


def check(description: Path, rules: Rules) -> None:
    """Raise a :class:`UserError` where a description breaks a rule (see :mod:`.lint`)."""
    findings = lint(description.read_text(), description.parent, rules)
    if findings:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        raise UserError(f"{description}:{findings[0]}{more}")
