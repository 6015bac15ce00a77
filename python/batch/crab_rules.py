"""What CRAB's client and server do not accept in a configuration, found before anything is sent.

The client looks for unknown parameters, but neither at types nor at spelling; the server tells after the upload, and
the splitting an hour later. The tables are those of the client of 2026-05 (CRABClient 0cdaf517: ClientMapping, submit,
JobType), the server v3.260819 (RESTUserWorkflow, Regexps, ServerUtilities, Splitter) and WMCore 2.4.5 (Lexicon).
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ..errors import nearest
from .lint import Finding

MOST_JOBS = 10_000
SANDBOX_BYTES = 120 * 1024**2
MEMORY_PER_CORE, MEMORY_OF_ONE_CORE = 2500, 3000
LONGEST = 2750
"""Minutes that a job may run."""
_CORES = (1, 2, 4, 8)
_GENERATING = ("EmptySource", "LHESource")
_SOURCE = re.compile(r"""cms\.Source\(\s*["'](\w+)""")
_THREADS = re.compile(r"numberOfThreads\s*=\s*(?:cms\.untracked\.uint32\()?\s*(\d+)")
_LIMIT = re.compile(r"maxEvents\b[^\n]*\boutput\s*=\s*(?:cms\.untracked\.int32\()?\s*(\d+)")
_LUMIS_PER_FILE = 1000
_EVENTS = 2**32
_AUTOMATIC = (180, 2700)
_DATASET_NAME = 199
_ACCELERATOR_BYTES = 1024


@dataclass(frozen=True)
class CrabParameter:
    """A parameter of a configuration: its type, and the expression that it, or each of its texts, has to match."""

    type: type
    pattern: Optional[str] = None


_SITE = r"(?=.{0,255}$)T[0-3](_[A-Z]{2}((_[A-Za-z0-9]+)|_?\*$)+|_?\*)"
_NAME = r"[a-zA-Z0-9\-._]{1,255}"
_ANY = None
_DATASET = r"/[a-zA-Z0-9\-_]{1,99}/[a-zA-Z0-9.\-_]{1,199}/[A-Z0-9\-]{1,99}"
_BLOCK = r"(/[a-zA-Z0-9.\-_]{1,100}){3}#[a-zA-Z0-9.\-_]{1,100}|[0-9a-f-]{36}"
_USER_FILE = r"[a-zA-Z0-9\-._:?/=]{1,255}"
_ARGUMENT = r'[+a-zA-Z0-9\-.,_:?/"]+ ?= ?[a-zA-Z0-9\-=.,_:?/"()]+'
_FOLDER = r"(?=[a-zA-Z0-9\-._/]{0,500}$)/store/((user|test)/(rucio/(int/)?)?[a-zA-Z0-9.]+|(group|local)/[^/]+)(/.*)?"

PARAMETERS: Mapping[str, CrabParameter] = {
    "General.requestName": CrabParameter(str, r"[A-Za-z0-9_\-]{1,100}"),
    "General.workArea": CrabParameter(str),
    "General.activity": CrabParameter(str, r"(?=.{0,100}$)(analysis|hctest|test)[a-zA-Z0-9\-._]*"),
    "General.transferOutputs": CrabParameter(bool),
    "General.transferLogs": CrabParameter(bool),
    "General.failureLimit": CrabParameter(int),
    "General.instance": CrabParameter(str, r"prod|preprod|test(2|11|12|14)|other"),
    "General.restHost": CrabParameter(str),
    "General.dbInstance": CrabParameter(str),
    "JobType.pluginName": CrabParameter(str, r"(?i:analysis|privatemc|copycat|recover)"),
    "JobType.externalPluginFile": CrabParameter(str),
    "JobType.psetName": CrabParameter(str),
    "JobType.generator": CrabParameter(str, "lhe|pythia"),
    "JobType.pyCfgParams": CrabParameter(list),
    "JobType.inputFiles": CrabParameter(list),
    "JobType.outputFiles": CrabParameter(list, _NAME),
    "JobType.disableAutomaticOutputCollection": CrabParameter(bool),
    "JobType.allowUndistributedCMSSW": CrabParameter(bool),
    "JobType.maxMemoryMB": CrabParameter(int),
    "JobType.maxJobRuntimeMin": CrabParameter(int),
    "JobType.numCores": CrabParameter(int),
    "JobType.priority": CrabParameter(int),
    "JobType.scriptExe": CrabParameter(str),
    "JobType.scriptArgs": CrabParameter(list, _ARGUMENT),
    "JobType.sendVenvFolder": CrabParameter(bool),
    "JobType.sendExternalFolder": CrabParameter(bool),
    "JobType.copyCatTaskname": CrabParameter(str),
    "JobType.copyCatInstance": CrabParameter(str),
    "JobType.copyCatWorkdir": CrabParameter(str),
    "Data.inputDataset": CrabParameter(str, _DATASET),
    "Data.inputBlocks": CrabParameter(list, _BLOCK),
    "Data.userInputFiles": CrabParameter(list, _USER_FILE),
    "Data.allowNonValidInputDataset": CrabParameter(bool),
    "Data.partialDataset": CrabParameter(bool),
    "Data.outputPrimaryDataset": CrabParameter(str, r"[a-zA-Z][a-zA-Z0-9\-_]{0,98}"),
    "Data.inputDBS": CrabParameter(str, r"global|phys0[123]|https://cmsweb(-prod)?\.cern\.ch[\w/.:]*"),
    "Data.splitting": CrabParameter(str, "Automatic|FileBased|EventBased|LumiBased|EventAwareLumiBased"),
    "Data.unitsPerJob": CrabParameter(int),
    "Data.totalUnits": CrabParameter(int),
    "Data.lumisPerFile": CrabParameter(int),
    "Data.useParent": CrabParameter(bool),
    "Data.secondaryInputDataset": CrabParameter(str, _DATASET),
    "Data.lumiMask": CrabParameter(str),
    "Data.runRange": CrabParameter(str, r"\d+((?!(-\d+-))(,|-)\d+)*"),
    "Data.ignoreLocality": CrabParameter(bool),
    "Data.outLFNDirBase": CrabParameter(str, _FOLDER),
    "Data.publication": CrabParameter(bool),
    "Data.publishDBS": CrabParameter(str, r"phys03|https://cmsweb(-prod)?\.cern\.ch[\w/.:]*"),
    "Data.outputDatasetTag": CrabParameter(str, r"[a-zA-Z0-9\-_]+"),
    "Site.storageSite": CrabParameter(str, _SITE),
    "Site.whitelist": CrabParameter(list, _SITE),
    "Site.blacklist": CrabParameter(list, _SITE),
    "Site.ignoreGlobalBlacklist": CrabParameter(bool),
    "Site.requireAccelerator": CrabParameter(bool),
    "Site.acceleratorParams": CrabParameter(dict),
    "User.voGroup": CrabParameter(str, "[A-Za-z0-9]{0,255}"),
    "User.voRole": CrabParameter(str, "[A-Za-z0-9]{0,255}"),
    "Debug.oneEventMode": CrabParameter(bool),
    "Debug.scheddName": CrabParameter(str, r"[A-Za-z0-9._-]+[@.][A-Za-z0-9._-]+\.[A-Za-z]{2,6}"),
    "Debug.collector": CrabParameter(str, r"([A-Za-z0-9._-]+\.[A-Za-z]{2,6},?)+"),
    "Debug.extraJDL": CrabParameter(list, _ARGUMENT),
}
_GONE = {
    "JobType.sendPythonFolder": "the python folders always travel: take it out",
    "JobType.eventsPerLumi": "use Data.lumisPerFile",
    "JobType.allowNonProductionCMSSW": "it is JobType.allowUndistributedCMSSW now",
    "Data.outLFN": "it is Data.outLFNDirBase now",
    "Data.outlfn": "it is Data.outLFNDirBase now",
    "Data.publishDataName": "it is Data.outputDatasetTag now",
    "Data.primaryDataset": "it is Data.outputPrimaryDataset now",
    "Data.secondaryDataset": "it is Data.secondaryInputDataset now",
    "Data.dbsUrl": "it is Data.inputDBS now",
    "Data.publishDbsUrl": "it is Data.publishDBS now",
    "Data.userInputFile": "it is Data.userInputFiles now",
    "General.saveLogs": "it is General.transferLogs now",
    "General.transferOutput": "it is General.transferOutputs now",
    "JobType.numcores": "it is JobType.numCores now",
    "JobType.maxmemory": "it is JobType.maxMemoryMB now",
    "JobType.maxjobruntime": "it is JobType.maxJobRuntimeMin now",
}
_ACCELERATOR = {
    "GPUMemoryMB": CrabParameter(int),
    "GPUMinimumCapability": CrabParameter(str, r"\d+\.\d+(\.\d+)?"),
    "GPUMaximumCapability": CrabParameter(str, r"\d+\.\d+(\.\d+)?"),
    "GPURuntime": CrabParameter(str, r"\d+\.\d+(\.\d+)?"),
}
_HINTS = {
    "General.requestName": "letters, digits, '_' and '-', 100 at most",
    "JobType.scriptArgs": 'key=value, in letters, digits and -.,_:?/"',
    "Data.outLFNDirBase": "/store/user/<you>/... or /store/group/<group>/...",
    "Data.outputDatasetTag": "letters, digits, '-' and '_', no dots",
    "Data.userInputFiles": "/store/... or root://..., without blanks",
    "JobType.pluginName": "PrivateMC or Analysis",
    "Site.storageSite": "a site such as T2_CH_CERN",
}


class Configuration:
    """A ``crab_cfg.py`` of plain assignments, read but not run.

    Attributes
    ----------
    directory
        Where it lies; relative names are looked up there.
    values, lines
        What is assigned to each parameter, and where.
    """

    def __init__(self, text: str, directory: Path) -> None:
        self.directory = directory
        self.values: dict[str, Any] = {}
        self.lines: dict[str, int] = {}
        self.odd: list[Finding] = []
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Assign):
                self._take(statement)

    def _take(self, statement: ast.Assign) -> None:
        root, *path = ast.unparse(statement.targets[0]).split(".")
        if root != "config" or not path:
            return
        name = ".".join(path)
        if name in self.lines:
            self.odd.append(Finding(statement.lineno, "twice", f"{name} is set already", "keep one of the two"))
        self.lines[name] = statement.lineno
        try:
            self.values[name] = ast.literal_eval(statement.value)
        except ValueError:
            self.odd.append(Finding(statement.lineno, "literal", f"{name} is computed", "write the value itself"))

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a parameter."""
        return self.values.get(name, default)

    def has(self, name: str) -> bool:
        """Whether it is set, to something that is not empty."""
        return bool(self.values.get(name))

    @property
    def plugin(self) -> str:
        """The kind of task, in small letters."""
        return str(self.get("JobType.pluginName", "")).lower()

    @property
    def jobs(self) -> int | None:
        """How many jobs the splitting makes, where the configuration tells."""
        units = self.get("Data.unitsPerJob")
        total = self.get("Data.totalUnits")
        if self.get("Data.splitting") == "FileBased" and self.has("Data.userInputFiles"):
            total = len(set(self.get("Data.userInputFiles")))
        counted = isinstance(units, int) and isinstance(total, int) and units > 0
        return math.ceil(total / units) if counted else None


Found = Iterator[Finding]


def check(text: str, directory: Path) -> list[Finding]:
    """Check a CRAB configuration.

    Parameters
    ----------
    text
        The configuration: assignments ``config.Section.parameter = value``.
    directory
        Where it lies.

    Returns
    -------
    list[Finding]
        What breaks a rule, by line; parameters of a wrong type alone, where there are some.
    """
    try:
        configuration = Configuration(text, directory)
    except SyntaxError as error:
        return [Finding(error.lineno or 0, "syntax", f"no Python ({error.msg})", "mend it")]
    findings = [*configuration.odd, *_parameters(configuration)]
    if not findings:
        findings = [finding for rule in _RULES for finding in rule(configuration)]
    return sorted(findings, key=lambda finding: finding.line)


def _parameters(configuration: Configuration) -> Found:
    """Check each parameter by itself: its name, type and spelling."""
    for name, value in configuration.values.items():
        line = configuration.lines[name]
        if name in _GONE:
            yield Finding(line, "deprecated", f"{name} is refused", _GONE[name])
        elif name not in PARAMETERS:
            hint = nearest(name, PARAMETERS).lstrip(";, ") or "take it out"
            yield Finding(line, "unknown", f"{name} is no parameter of CRAB", hint)
        else:
            yield from _value(line, name, value, PARAMETERS[name])


def _value(line: int, name: str, value: Any, parameter: CrabParameter) -> Found:
    if type(value) is not parameter.type and not (name == "Data.totalUnits" and isinstance(value, float)):
        yield Finding(line, "type", f"{name} is {value!r}", f"it takes a value of type {parameter.type.__name__}")
        return
    for text in value if isinstance(value, list) else [value]:
        if isinstance(value, list) and not isinstance(text, str):
            yield Finding(line, "type", f"{name} holds {text!r}", "it takes texts")
        elif parameter.pattern and not re.fullmatch(parameter.pattern, str(text)):
            yield Finding(line, "spelling", f"{name}: the server refuses {text!r}", _HINTS.get(name, parameter.pattern))


# -- rules of several parameters --------------------------------------------------------------------------------------


def _required(c: Configuration) -> Found:
    if not c.plugin and not c.has("JobType.externalPluginFile"):
        yield Finding(0, "plugin", "without JobType.pluginName the client breaks down", "PrivateMC or Analysis")
    if not c.has("JobType.psetName"):
        yield Finding(0, "pset", "JobType.psetName is missing", "a script needs one too: it may do nothing")
    outputs = c.get("General.transferOutputs", True) or c.get("General.transferLogs", False)
    if outputs and not c.has("Site.storageSite"):
        yield Finding(0, "storage", "Site.storageSite is missing", "a site with space of yours")


def _files(c: Configuration) -> Found:
    """Check what travels: each file is there, and all of them together are not too large."""
    names = [c.get("JobType.psetName"), c.get("JobType.scriptExe"), *c.get("JobType.inputFiles", [])]
    paths = [c.directory / name for name in names if name]
    for path in paths:
        if not path.exists():
            yield Finding(0, "file", f"{path} is missing", "write it, or take it out")
    size = sum(file.stat().st_size for path in paths for file in ([path] if path.is_file() else path.rglob("*")))
    if size > SANDBOX_BYTES:
        line, limit = c.lines.get("JobType.inputFiles", 0), SANDBOX_BYTES // 1024**2
        message = f"{size / 1024**2:,.0f} MB of files for the jobs, and the sandbox takes {limit} MB"
        yield Finding(line, "sandbox", message, "take the software from CVMFS: batch.environment.lcg")


def _pset(c: Configuration) -> Found:
    """Check the configuration of cmsRun, as far as its text tells: what CRAB and it have to agree about."""
    path = c.directory / str(c.get("JobType.psetName", ""))
    if not path.is_file():
        return
    text, line = path.read_text(errors="replace"), c.lines.get("JobType.psetName", 0)
    source, threads = _SOURCE.search(text), _THREADS.search(text)
    if c.plugin == "privatemc" and source is not None and source[1] not in _GENERATING:
        message = f"PrivateMC reads nothing, but {path.name} has a {source[1]}"
        yield Finding(line, "source", message, " or ".join(_GENERATING))
    cores = c.get("JobType.numCores", 1)
    if threads is not None and int(threads[1]) != cores:
        yield Finding(
            line, "threads", f"{path.name} has {threads[1]} threads, the jobs {cores} cores", "make them equal"
        )
    limit = _LIMIT.search(text)
    if c.plugin == "privatemc" and limit is not None:
        message = f"{path.name} ends after {limit[1]} accepted events, and CRAB counts those that are tried"
        yield Finding(line, "accepted", message, "drop maxEvents.output")


def _resources(c: Configuration) -> Found:
    cores, memory = c.get("JobType.numCores", 1), c.get("JobType.maxMemoryMB", 2000)
    if cores not in _CORES:
        yield Finding(c.lines["JobType.numCores"], "cores", f"{cores} cores", f"one of {_CORES}")
    most = max(MEMORY_OF_ONE_CORE, MEMORY_PER_CORE * cores)
    if memory > most:
        message = f"{memory} MB for {cores} cores"
        yield Finding(c.lines["JobType.maxMemoryMB"], "memory", message, f"{most} MB at most, or more cores")
    runtime = c.get("JobType.maxJobRuntimeMin", 0)
    if runtime > LONGEST:
        line = c.lines["JobType.maxJobRuntimeMin"]
        yield Finding(line, "runtime", f"no site runs a job for {runtime} minutes", f"{LONGEST} at most")


def _splitting(c: Configuration) -> Found:
    splitting, units = c.get("Data.splitting", "Automatic"), c.get("Data.unitsPerJob")
    line = c.lines.get("Data.splitting", 0)
    if splitting == "Automatic":
        if c.has("JobType.maxJobRuntimeMin"):
            yield Finding(line, "splitting", "Automatic splitting chooses the run time", "drop maxJobRuntimeMin")
        if units is not None and not _AUTOMATIC[0] <= units <= _AUTOMATIC[1]:
            yield Finding(c.lines["Data.unitsPerJob"], "units", f"{units} minutes per job", f"{_AUTOMATIC}")
    elif units is None or units <= 0:
        yield Finding(
            c.lines.get("Data.unitsPerJob", line), "units", f"{splitting} needs Data.unitsPerJob > 0", "set it"
        )
    if c.jobs is not None and c.jobs > MOST_JOBS:
        yield Finding(line, "jobs", f"{c.jobs:,} jobs", f"a task has {MOST_JOBS:,} at most: make several")


def _generation(c: Configuration) -> Found:
    if c.plugin != "privatemc":
        return
    if c.get("Data.splitting") != "EventBased":
        line = c.lines.get("Data.splitting", 0)
        yield Finding(line, "generation", "PrivateMC is split by events", "Data.splitting = 'EventBased'")
    if c.get("Data.totalUnits", 0) <= 0:
        line = c.lines.get("Data.totalUnits", 0)
        yield Finding(line, "total", "PrivateMC needs to know how many events", "Data.totalUnits > 0")
    for name in ("Data.inputDataset", "Data.userInputFiles", "Data.inputBlocks"):
        if c.has(name):
            yield Finding(c.lines[name], "inputs", f"PrivateMC reads nothing, but {name} is set", "Analysis reads")
    if c.get("Data.totalUnits", 0) >= _EVENTS:
        message = f"{c.get('Data.totalUnits'):,} events: their numbers have 32 bits, and begin again"
        yield Finding(c.lines["Data.totalUnits"], "events", message, f"less than {_EVENTS:,}: make several tasks")
    if c.get("Data.publication", True) and not c.has("Data.outputPrimaryDataset"):
        line = c.lines.get("Data.publication", 0)
        yield Finding(line, "primary", "a dataset needs a name to be published", "set Data.outputPrimaryDataset")
    most = min(_LUMIS_PER_FILE, c.get("Data.unitsPerJob") or 1)
    if c.get("Data.lumisPerFile", 1) > most:
        line = c.lines["Data.lumisPerFile"]
        yield Finding(line, "lumis", "too many luminosity blocks in a file", f"{most} at most")


def _analysis(c: Configuration) -> Found:
    if c.plugin != "analysis":
        return
    dataset, files = c.has("Data.inputDataset"), c.has("Data.userInputFiles")
    if not dataset and not files:
        yield Finding(0, "inputs", "Analysis reads something", "set Data.inputDataset or Data.userInputFiles")
    if c.get("Data.splitting") == "EventBased":
        line = c.lines["Data.splitting"]
        yield Finding(line, "splitting", "files are not split by events", "FileBased, LumiBased, ...")
    if files and c.get("Data.splitting", "Automatic") != "FileBased":
        line = c.lines.get("Data.splitting", 0)
        yield Finding(line, "splitting", "userInputFiles are split by files", "Data.splitting = 'FileBased'")
    if files and len(set(c.get("Data.userInputFiles"))) < len(c.get("Data.userInputFiles")):
        line = c.lines["Data.userInputFiles"]
        yield Finding(line, "repeated", "a file is named twice, and the client drops one", "name it once")
    if dataset and c.has("Data.outputPrimaryDataset"):
        line = c.lines["Data.outputPrimaryDataset"]
        yield Finding(line, "primary", "the primary dataset is that of the input", "drop Data.outputPrimaryDataset")
    if c.has("Data.useParent") and c.has("Data.secondaryInputDataset"):
        yield Finding(c.lines["Data.useParent"], "parents", "both parents and a second dataset", "drop one of them")
    if (
        dataset
        and str(c.get("Data.inputDBS", "")).startswith("phys")
        and not c.get("Data.inputDataset").endswith("/USER")
    ):
        line = c.lines["Data.inputDBS"]
        yield Finding(line, "dbs", "only USER datasets are in a DBS of users", "Data.inputDBS = 'global'")
    if c.get("Data.inputDataset", "").endswith("/USER") and c.get("Data.inputDBS", "global") == "global":
        line = c.lines["Data.inputDataset"]
        yield Finding(line, "dbs", "the global DBS has no USER datasets", "Data.inputDBS = 'phys03'")


def _sites(c: Configuration) -> Found:
    free = c.has("Data.userInputFiles") and not c.has("Data.inputDataset")
    if (free or c.get("Data.ignoreLocality")) and not c.has("Site.whitelist"):
        yield Finding(
            0, "whitelist", "nothing says where the jobs may run", "set Site.whitelist (batch.crab.whitelist)"
        )


def _output(c: Configuration) -> Found:
    publication, folder = c.get("Data.publication", True), c.get("Data.outLFNDirBase", "")
    line = c.lines.get("Data.publication", 0)
    others = [name for name in c.get("JobType.outputFiles", []) if not name.endswith(".root")]
    if publication and (others or c.has("JobType.scriptExe")):
        message = f"only EDM files are published, and not {(others or ['what a script makes'])[0]}"
        yield Finding(line, "publication", message, "Data.publication = False")
    if publication and not c.get("General.transferOutputs", True):
        yield Finding(line, "publication", "what is not transferred is not published", "Data.publication = False")
    if publication and folder.startswith("/store/local/"):
        yield Finding(line, "publication", "/store/local/ is not published", "Data.publication = False")
    tag = c.get("Data.outputDatasetTag", f"crab_{c.get('General.requestName', '')}")
    owner = folder.strip("/").split("/")[2] if folder.count("/") > 2 else ""
    if len(f"{owner}-{tag}-{'0' * 32}") > _DATASET_NAME:
        line = c.lines.get("Data.outputDatasetTag", 0)
        yield Finding(line, "tag", f"'{owner}-{tag}' is too long", f"{_DATASET_NAME - 33} letters at most")


def _accelerator(c: Configuration) -> Found:
    parameters, name = c.get("Site.acceleratorParams"), "Site.acceleratorParams"
    if not parameters:
        return
    line = c.lines[name]
    if not c.get("Site.requireAccelerator"):
        yield Finding(line, "accelerator", f"{name} without Site.requireAccelerator", "set it to True")
    for key, value in parameters.items():
        if key not in _ACCELERATOR:
            choices = ", ".join(_ACCELERATOR)
            yield Finding(line, "accelerator", f"{name}: the server does not know {key!r}", f"{choices}")
        else:
            yield from _value(line, f"{name}.{key}", value, _ACCELERATOR[key])
    if len(str(parameters)) > _ACCELERATOR_BYTES:
        yield Finding(line, "accelerator", f"{name} is too long", f"{_ACCELERATOR_BYTES} letters at most")


_RULES: tuple[Callable[[Configuration], Found], ...] = (
    _required, _files, _pset, _resources, _splitting, _generation, _analysis, _sites, _output, _accelerator,
)  # fmt: skip
