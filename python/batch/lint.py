"""What the batch services do not accept, or accept and do wrong, found in a submit description before it is submitted.

HTCondor takes an unknown key for a macro, an unquoted word for the name of an attribute, and ``request_memry`` for a
resource that no machine has. The rules of the sites are those of the CERN batch service (batchdocs.web.cern.ch).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..config.batch import FLAVOURS
from ..errors import nearest
from .description import NOT_OF_MACROS, PER_JOB, REFERENCE, Description, Entry, parse
from .templates import template

MOST_JOBS = 10_000
"""Jobs of one submission that are in the queue at once."""
MOST_NAMES = 10_000
"""Files in one folder; AFS holds about 16,000 names."""
MEMORY_PER_CORE, DISK_PER_CORE = 2000, 20_000
SPOOL_JOBS, SPOOL_MEGABYTES = 100, 1024

_APART = 100
"""Of so many jobs in a row, the folder of the logs of one is looked for."""
_COMMANDS = frozenset(template("commands.txt").partition("\n")[2].split())
_STRINGS = {
    "jobflavour", "wantos", "accountinggroup", "apptainerimage", "singularityimage", "desiredos", "projectname",
    "nanoforgerun",
}  # fmt: skip
"""Job attributes that are texts."""
_BUILT_IN = {
    "cluster", "clusterid", "node", "retry", "parents", "failed_count", "dag_status", "year", "month", "day",
    "submit_file", "submit_time", "username", "isunix",
}  # fmt: skip
_LITERAL = re.compile(r'^(?:"(?:[^"\\]|\\.)*"|true|false|undefined|[-+]?[0-9.]+(?:[eE][-+]?\d+)?)$', re.IGNORECASE)
_WORD = re.compile(r"^[A-Za-z][\w.\-/]*$")


@dataclass(frozen=True)
class Rules:
    """Whose rules count: the site's (lxplus, lpc, generic), and those of its way to submit (afs, spool, eossubmit).

    ``given`` are macros that come from elsewhere: those of DAGMan's VARS.
    """

    site: str = "lxplus"
    mode: str = "afs"
    given: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """A line that breaks a rule, and how to mend it; ``line`` 0 means that one is missing."""

    line: int
    rule: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.line}: {self.message}: {self.remedy} [{self.rule}]"


def lint(text: str, directory: Path, rules: Rules | None = None) -> list[Finding]:
    """Check a submit description.

    Parameters
    ----------
    text
        The description: a generated one, or any other.
    directory
        Where condor_submit will run; relative names start there.
    rules
        The site and its way to submit; by default LXPLUS with AFS.

    Returns
    -------
    list[Finding]
        What breaks a rule, by line.
    """
    description = parse(text, directory)
    findings = [finding for check in _CHECKS for finding in check(description, rules or Rules())]
    return sorted(findings, key=lambda finding: finding.line)


# -- the rules --------------------------------------------------------------------------------------------------------

Found = Iterator[Finding]


def _keys(description: Description, _: Rules) -> Found:
    """Check for unknown keys, which HTCondor takes for macros, and for those that are there twice."""
    used = description.names(" ".join([e.value for e in description.entries] + [(description.queue or (0, ""))[1]]))
    seen: dict[str, int] = {}
    for entry in description.entries:
        name = entry.name
        if name in seen:
            yield Finding(
                entry.line,
                "duplicate-key",
                f"{entry.key} is already in line {seen[name]}, and this one counts",
                "keep one",
            )
        seen.setdefault(name, entry.line)
        if entry.attribute or name in _COMMANDS or name in used or name.startswith("request_"):
            continue
        hint = nearest(name, _COMMANDS) or "; a job attribute begins with + or MY."
        yield Finding(entry.line, "unknown-key", f"{entry.key} is no command of HTCondor", f"correct it{hint}")


def _requests(description: Description, _: Rules) -> Found:
    """Check for resources that no machine has: such a job waits for ever."""
    standard = ("request_cpus", "request_memory", "request_disk", "request_gpus")
    for entry in description.entries:
        if entry.name.startswith("request_") and entry.name not in standard:
            message = f"{entry.key} asks for a resource that no machine has, and the job waits for ever"
            yield Finding(entry.line, "request-typo", message, f"correct it{nearest(entry.name, standard)}")


def _macros(description: Description, rules: Rules) -> Found:
    """Check for references to what nobody defines: HTCondor puts in nothing."""
    defined = _BUILT_IN | PER_JOB | set(description.last) | set(description.variables) | set(rules.given)
    for entry in description.entries:
        for reference in REFERENCE.finditer(entry.value):
            name = reference["name"].lower()
            if reference["function"].upper() in NOT_OF_MACROS or reference["rest"].startswith(":"):
                continue
            if name not in defined:
                message = f"$({reference['name']}) is defined nowhere, and HTCondor puts in nothing"
                remedy = f"define it, or name it after 'queue'{nearest(name, defined)}"
                yield Finding(entry.line, "undefined-macro", message, remedy)


def _items(description: Description, _: Rules) -> Found:
    """Check that there are items, and that no row is short: the missing columns would be empty."""
    if description.queue is None:
        yield Finding(0, "no-queue", "there is no 'queue': nothing would be submitted", "end with a line 'queue'")
        return
    line = description.queue[0]
    if description.missing_items is not None:
        yield Finding(line, "missing-file", f"{description.missing_items}: no such file", "write the items into it")
    elif description.variables and not description.rows:
        yield Finding(line, "short-row", "there are no items, so no jobs", "write one row for each job")
    for number, text in enumerate(description.rows):
        if len(description.row(number)) < len(description.variables):
            message = f"item {number + 1} ({text!r}) has fewer than {len(description.variables)} columns"
            yield Finding(line, "short-row", message, f"give {', '.join(description.variables)}")
            return


def _files(description: Description, rules: Rules) -> Found:
    """Check that what goes to the jobs exists; HTCondor holds a job that misses an input."""
    for entry in map(description.get, ("executable", "transfer_input_files", "x509userproxy")):
        if entry is None or (entry.name == "executable" and _is_false(description.get("transfer_executable"))):
            continue
        for name in filter(None, (n.strip() for n in description.expand(entry.value).strip('"').split(","))):
            path = description.path(name) if entry.name != "executable" else description.directory / name
            if "$" in name or "://" in name:
                continue
            if not path.exists():
                yield Finding(entry.line, "missing-file", f"{path}: no such file or folder", "make it, or correct it")
            elif entry.name == "x509userproxy" and rules.site == "lxplus" and str(path).startswith("/tmp/"):  # noqa: S108
                message = f"{path} is on this machine alone"
                yield Finding(entry.line, "proxy-in-tmp", message, "export X509_USER_PROXY=$HOME/private/x509up")


def _log_folders(description: Description, _: Rules) -> Found:
    """Check that the folders of the logs exist: HTCondor holds the jobs otherwise."""
    for entry in filter(None, map(description.get, ("log", "output", "error"))):
        if "://" in entry.value:
            continue
        numbers = range(0, max(description.jobs, 1), _APART)
        for folder in {description.folder(entry, number) for number in numbers}:
            if folder is not None and not folder.is_dir():
                message = f"{folder}: no such folder, for '{entry.key}'"
                yield Finding(entry.line, "missing-log-folder", message, f"mkdir -p {folder}")
                break


def _crowded(description: Description, _: Rules) -> Found:
    """Check that logs are spread over folders, and that no two jobs write the same one."""
    for entry in filter(None, map(description.get, ("output", "error"))):
        if description.jobs > 1 and not description.differs(entry.value):
            message = f"all {description.jobs} jobs write the same '{entry.key}'"
            yield Finding(entry.line, "same-output", message, "put $(ProcId) into its name")
        elif description.jobs > MOST_NAMES:
            folder = description.expand(entry.value).rpartition("/")[0]
            if not description.differs(folder):
                message = f"{description.jobs} files of '{entry.key}' in one folder are too many for AFS"
                yield Finding(entry.line, "crowded-folder", message, "spread them: a folder for 1,000 jobs each")


def _strings(description: Description, _: Rules) -> Found:
    """Check the quotes of job attributes: an unquoted word is a reference to another attribute, so undefined."""
    for entry in description.entries:
        attribute, value = entry.attribute, description.expand(entry.value)
        if attribute is None or _LITERAL.fullmatch(value):
            continue
        if _WORD.fullmatch(value) or attribute in _STRINGS:
            message = f"{entry.key} = {value} is a reference to an attribute, not a text"
            yield Finding(entry.line, "unquoted-string", message, f'write {entry.key} = "{value}"')


def _time(description: Description, rules: Rules) -> Found:
    """Check for the running time: without one, LXPLUS gives 20 minutes."""
    flavour, longest = description.get("+jobflavour"), description.get("+maxruntime")
    if flavour is not None and flavour.value.strip('"') not in FLAVOURS:
        name = flavour.value.strip('"')
        yield Finding(flavour.line, "unknown-flavour", f"{name} is no flavour", f"use one of {', '.join(FLAVOURS)}")
    if longest is not None and not re.fullmatch(r"\d+", description.expand(longest.value)):
        yield Finding(
            longest.line, "no-runtime", f"{longest.key} is not a number of seconds", "write seconds, e.g. 7200"
        )
    limits = ("periodic_remove", "allowed_execute_duration", "allowed_job_duration")
    if flavour is None and longest is None and (rules.site == "lxplus" or description.get(*limits) is None):
        message = "nothing says how long a job may run, and 20 minutes are the default of LXPLUS"
        yield Finding(0, "no-runtime", message, 'add +JobFlavour = "longlunch" (2 h) or +MaxRuntime = 7200 (seconds)')


def _per_core(description: Description, rules: Rules) -> Found:
    """Check memory and disk: who asks for more than a core has, waits for a machine with idle cores."""
    if rules.site != "lxplus":
        return
    cores = description.number("request_cpus", "requestcpus", default=1)
    for name, most in (("request_memory", MEMORY_PER_CORE), ("request_disk", DISK_PER_CORE)):
        requested = description.number(name, default=0)
        entry = description.get(name)
        if entry is not None and requested > most * max(cores, 1) * 1.025:  # 2 GB may be 2048 MB
            need = int(-(-requested // most))
            message = f"{requested:g} MB are more than the {most * cores:g} MB of {cores:g} cores"
            yield Finding(entry.line, f"{name[8:]}-per-core", message, f"request_cpus = {need}")


def _success(description: Description, _: Rules) -> Found:
    """Check that a failing job is tried again, and says why: without these it is held, which hides its exit code."""
    listed = description.get("transfer_output_files")
    if listed is None or listed.value in ("", '""'):
        return
    when = description.get("when_to_transfer_output")
    if when is None or when.value.upper() != "ON_SUCCESS":
        message = "a job that fails without its output is held, which hides its exit code"
        line = when.line if when else listed.line
        yield Finding(line, "on-success", message, "when_to_transfer_output = ON_SUCCESS")
    elif description.get("success_exit_code") is None:
        yield Finding(when.line, "on-success", "ON_SUCCESS does nothing without a code", "success_exit_code = 0")
    elif description.get("max_retries") is None:
        yield Finding(when.line, "on-success", "nothing says how often to try", "max_retries = 2")
    elif description.get("+failurefiles") is None:
        message = "of a job that fails, not even standard output and error come back"
        yield Finding(when.line, "on-success", message, '+FailureFiles = ""')


_PLACES = ("log", "output", "error", "initialdir", "executable", "x509userproxy")


def _eos(description: Description, rules: Rules) -> Found:
    """Check where files may lie: a scheduler of LXPLUS sees EOS only as an EosSubmit one, and then nothing else."""
    for entry in filter(None, map(description.get, _PLACES)):
        value = description.expand(entry.value)
        path = str(description.path(value)) if entry.name != "executable" else str(description.directory / value)
        on_eos = path.startswith("/eos/") or value.startswith("root://")
        if rules.mode == "afs" and rules.site == "lxplus" and on_eos and entry.name in ("log", "output", "error"):
            message = f"'{entry.key}' is on EOS, which the scheduler does not see"
            yield Finding(entry.line, "log-on-eos", message, "put it on AFS, or submit by EosSubmit")
        if rules.mode == "eossubmit" and not on_eos:
            message = f"'{entry.key}' ({path}) is not on EOS, and EosSubmit takes nothing else"
            yield Finding(entry.line, "not-on-eos", message, "begin the path with /eos/")
    inputs = description.get("transfer_input_files")
    if rules.mode == "eossubmit" and inputs is not None:
        for name in (n.strip() for n in description.expand(inputs.value).split(",")):
            if "://" not in name and not str(description.path(name)).startswith("/eos/"):
                message = f"{name} is not on EOS, and EosSubmit takes nothing else"
                yield Finding(inputs.line, "not-on-eos", message, "begin the path with /eos/")


def _destination(description: Description, _: Rules) -> Found:
    """Check the address of the results."""
    entry = description.get("output_destination")
    if entry is None:
        return
    value = description.expand(entry.value)
    checkpoint = description.get("checkpoint_exit_code")
    if checkpoint is not None and description.get("checkpoint_destination") is None:
        message = "checkpoints would go to output_destination too, and never come back to a job"
        yield Finding(checkpoint.line, "lost-checkpoint", message, "let the output of this job come back here")
    if not re.match(r"\w+://", value):
        message = f"{value} is no address"
        yield Finding(entry.line, "destination", message, "write root://eosuser.cern.ch//eos/user/...")
    elif value.startswith("root://") and "//" not in value[7:]:
        message = f"{value}: the path of an XRootD address begins with two slashes"
        yield Finding(entry.line, "destination", message, "write root://HOST//PATH")
    elif ".cern.ch" in value and description.get("+xrdcp_create_dir") is None:
        yield Finding(entry.line, "destination", "the folder has to be there", "add MY.XRDCP_CREATE_DIR = True")


def _spool(description: Description, rules: Rules) -> Found:
    """Check the limits of the schedulers that take everything in."""
    if rules.mode != "spool" or rules.site != "lxplus" or description.queue is None:
        return
    if description.jobs > SPOOL_JOBS:
        message = f"{description.jobs} jobs, and a spool submission has at most {SPOOL_JOBS}"
        yield Finding(description.queue[0], "spool-jobs", message, "larger jobs (--split), or another mode")
    inputs = description.get("transfer_input_files")
    if inputs is None:
        return
    names = (n.strip() for n in description.expand(inputs.value).split(","))
    megabytes = sum(_megabytes(description.path(name)) for name in names if "://" not in name and "$" not in name)
    if megabytes > SPOOL_MEGABYTES:
        message = f"{megabytes:,.0f} MB of input, and a spool submission takes {SPOOL_MEGABYTES} MB"
        yield Finding(inputs.line, "spool-size", message, "put it on EOS, where the jobs see it")


def _megabytes(path: Path) -> float:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def _many(description: Description, _: Rules) -> Found:
    """Check the number of jobs of a cluster."""
    if description.jobs > MOST_JOBS and description.get("max_materialize", "max_idle", "materialize_max_idle") is None:
        line = (description.queue or (0, ""))[0]
        message = f"{description.jobs:,} jobs at once are too many for a scheduler"
        yield Finding(line, "too-many-jobs", message, f"max_materialize = {MOST_JOBS // 2}")


def _is_false(entry: Entry | None) -> bool:
    return entry is not None and entry.value.lower() in ("false", "no", "0")


_CHECKS: tuple[Callable[[Description, Rules], Found], ...] = (
    _keys, _requests, _macros, _items, _files, _log_folders, _crowded, _strings, _time, _per_core, _success, _eos,
    _destination, _spool, _many,
)  # fmt: skip
