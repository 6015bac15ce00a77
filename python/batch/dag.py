"""``--stage all``: the stages that an analysis needs as one DAG, from generation to predictions.

Each job is a node of its own, so that DAGMan repeats just those that failed; after a stage in parts, a node puts its
parts together where the next stage reads them.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config.batch import BatchBlock
from ..config.load import load
from ..config.schema import Analysis
from ..console import say
from ..errors import DataError, UserError
from ..events.files import listed, skim_outputs
from ..pipeline.graph import GENERATE, PRODUCE, SKIM, STAGES, check_chain, check_sums, needed, readers, walk
from ..pipeline.stage import Stage
from ..production.lists import BLOCK
from ..production.plan import plan as productions
from ..provenance.manifest import write_atomically
from ..version import __version__
from . import condor_commands, condor_description, proxy
from .jobdir import DAG, JobDir
from .lint import Rules
from .make import make
from .plan import BatchJob, Resources
from .sites import noting_refusals, refuse, shared_folders, visible_to_jobs
from .target import Target
from .templates import fill, template

MERGED = "merged"
_MOST_AT_ONCE = 5000
_RETRIES = 1
_CHECKED = 20


def submit(target: Target, analysis: Analysis, output: Path, *, dry_run: bool = False) -> list[JobDir]:
    """Submit all stages of an analysis as one DAG.

    Parameters
    ----------
    target
        HTCondor.
    analysis
        The analysis file.
    output
        Gets one job directory per stage, and ``pipeline.dag``. The same call again submits nothing twice.
    dry_run
        Only make and check them.

    Returns
    -------
    list[JobDir]
        The job directories of the stages, in order.

    Raises
    ------
    UserError, DataError
        See :mod:`nanoforge.errors`; nothing is submitted then.
    """
    output = output.resolve()
    with noting_refusals(dry_run):
        _check(analysis, output)
        stages = plan(target, listed(analysis), output)
    _describe(stages, {})
    write_atomically(output / DAG, text(stages))
    _dry_run(stages, output)
    jobs = sum(len(stage.plan.jobs) for stage in stages)
    names = ", ".join(stage.plan.stage for stage in stages)
    if dry_run:
        say(f"{output / DAG}: {jobs:,} jobs ({names}), not submitted (--dry-run)")
        return stages
    for stage in stages:
        proxy.check(stage.batch, stage.plan, stage.plan.resources.runtime)
    with stages[0].lock(".submit"):
        cluster = _earlier(stages, output)
        submitted = cluster is not None
        cluster = cluster if submitted else _submit(stages, output, {})
    say(f"{output}: {jobs:,} jobs ({names}) {'were submitted already' if submitted else 'submitted'} as DAG {cluster}")
    return stages


def resubmit(output: Path, resources: Mapping[str, Resources]) -> None:
    """Go on with a DAG that ended with failures: what was done is not done again.

    Parameters
    ----------
    output
        The directory of the DAG.
    resources
        What the jobs of a stage ask for from now on.
    """
    stages = JobDir.all(output.resolve())
    _describe(stages, resources)
    with stages[0].lock(".submit"):
        cluster = _submit(stages, stages[0].path.parent, resources)
    say(f"{output}: what is missing was submitted as DAG {cluster}")


# -- the stages -------------------------------------------------------------------------------------------------------


def plan(target: Target, analysis: Analysis, output: Path) -> list[JobDir]:
    """Make the job directories of the stages that a frozen analysis needs.

    The files that a stage makes, and the next one reads, are known by name before they are there.
    """
    planner = _Planner(target, output)
    walk(analysis, planner)
    return planner.stages


class _Planner:
    """Makes the job directory of every stage."""

    def __init__(self, target: Target, output: Path) -> None:
        self._target, self._output = target, output
        self.stages: list[JobDir] = []

    def run(self, stage: Stage, analysis: Analysis, results: Mapping[str, Any]) -> Any:
        """Plan a stage; see :class:`~..pipeline.graph.Runner`."""
        data, run = results.get("dataset"), results.get("run")
        directory = make(self._target, analysis, stage.name, self._output / stage.name, data=data, run=run)
        self.stages.append(directory)
        if stage.makes == "files":
            paths = {GENERATE.name: _generated, PRODUCE.name: _produced, SKIM.name: _skimmed}[stage.name]
            return {name: paths(directory, analysis, name) for name in analysis.samples}
        return merged(directory) if stage.in_parts else seen_parts(directory) / directory.plan.jobs[0].part

    def sums(self) -> Path:
        """Return the file with the sums of weights of a production; see :class:`~..pipeline.graph.Runner`."""
        return next(merged(stage) for stage in self.stages if stage.plan.stage == PRODUCE.name) / BLOCK


def _check(analysis: Analysis, output: Path) -> None:
    """Refuse what no DAG can do: its stages meet in folders that all jobs see, before there are files."""
    batch = analysis.batch
    if batch.mode != "afs":
        raise UserError(f"--stage all: DAGMan does not go with 'mode: {batch.mode}': submit from a shared file system")
    if not visible_to_jobs(output, batch):
        refuse(f"{output}: the jobs do not see it, but the stages meet there: put it under {shared_folders(batch)}")
    generated = GENERATE.needed(analysis) or PRODUCE.needed(analysis)
    skimmed = SKIM.needed(analysis)
    if generated and skimmed and analysis.skim.target_size is not None:
        raise UserError("skim.target_size: the sizes of what is yet to be generated are not known: take it out")
    later = [stage.name for stage in readers("files", needed(analysis)) if _by_events(batch, stage)]
    if later and (generated or skimmed):
        raise UserError(f"batch.{later[0]}.split: the events of files that are yet to be made: split by files")
    check_sums(analysis)
    check_chain(analysis)


def _by_events(batch: BatchBlock, stage: Stage) -> bool:
    split = batch.needs(stage.name).split
    return split is not None and split.events is not None


def seen_parts(stage: JobDir) -> Path:
    """Return the folder of a stage's parts as the jobs see it."""
    if stage.parts is not None:
        return stage.parts
    folder = Path("/" + stage.plan.parts.partition("://")[2].partition("/")[2].lstrip("/"))
    if not visible_to_jobs(folder, stage.batch):
        refuse(f"batch.output: the jobs do not see {folder}, but the stages meet there: give another place")
    return folder


def merged(stage: JobDir) -> Path:
    """Return the folder of what a stage's parts are put together to."""
    if stage.plan.parts == "parts":
        return stage.path / MERGED
    parts = seen_parts(stage)
    return parts.with_name(f"{parts.name}-{MERGED}")


def _generated(stage: JobDir, analysis: Analysis, sample: str) -> list[str]:
    del analysis
    return [str(merged(stage) / f"{sample}-{job.first:05d}.root") for job in stage.plan.jobs if job.sample == sample]


def _produced(stage: JobDir, analysis: Analysis, sample: str) -> list[str]:
    del analysis
    production, parts = productions(load(stage.analysis))[sample], seen_parts(stage)
    return [
        str(parts / job.part / production.file("nano", unit))
        for job in stage.plan.jobs
        if job.sample == sample
        for unit in range(job.first, job.last + 1)
    ]


def _skimmed(stage: JobDir, analysis: Analysis, sample: str) -> list[str]:
    outputs = skim_outputs(analysis.samples[sample].files or [], analysis.skim.target_bytes, analysis.redirectors)
    return [str(merged(stage) / sample / name) for name in outputs]


# -- the files --------------------------------------------------------------------------------------------------------


def text(stages: Sequence[JobDir], most: int | None = None) -> str:
    """Return the DAG file, if need be with so many jobs of each stage only."""
    lines = [
        f"# NanoForge {__version__}: {', '.join(stage.plan.stage for stage in stages)}",
        f"# condor_submit_dag {DAG}; after a failure, the same again goes on with its rescue file",
        f"RETRY ALL_NODES {_RETRIES} UNLESS-EXIT 2",
    ]
    before: str | None = None
    for stage in stages:
        jobs = stage.plan.jobs[:most]
        lines += ["", *_nodes(stage, jobs)]
        names = [_name(stage, job.number) for job in jobs]
        if before is not None:
            lines.append(f"PARENT {before} CHILD {' '.join(names)}")
        if stage.plan.in_parts:
            merge = f"{stage.plan.stage}-merge"
            lines += [f"JOB {merge} {_merge_file(stage)}", f"PARENT {' '.join(names)} CHILD {merge}"]
        before = f"{stage.plan.stage}-merge" if stage.plan.in_parts else before if _is_leaf(stage) else names[0]
    return "\n".join(lines) + "\n"


def _is_leaf(stage: JobDir) -> bool:
    """Whether no other stage reads what this one makes."""
    return not any(readers(STAGES[stage.plan.stage].makes, list(STAGES.values())))


def _nodes(stage: JobDir, jobs: Sequence[BatchJob]) -> Iterator[str]:
    name = stage.plan.stage
    for job in jobs:
        node = _name(stage, job.number)
        yield f"JOB {node} {_file(stage)}"
        yield f"VARS {node} " + " ".join(f'{column}="{getattr(job, column)}"' for column in stage.plan.columns)
        yield f"CATEGORY {node} {name}"
    yield f"MAXJOBS {name} {_MOST_AT_ONCE}"


def _name(stage: JobDir, number: int) -> str:
    return f"{stage.plan.stage}-{number:05d}"


def _file(stage: JobDir) -> Path:
    return stage.path / f"{stage.plan.stage}-0.sub"


def _merge_file(stage: JobDir) -> Path:
    return stage.path / f"{stage.plan.stage}-merge.sub"


def _describe(stages: Sequence[JobDir], resources: Mapping[str, Resources]) -> None:
    """Write and check the descriptions of all nodes."""
    for stage in stages:
        requested = resources.get(stage.plan.stage, stage.plan.resources)
        stage.make_logs(0, range(len(stage.plan.jobs)))
        _file(stage).write_text(condor_description.describe(stage, requested, (), 0, 1, ""))
        condor_description.check(_file(stage), Rules(stage.batch.site, stage.batch.mode, stage.plan.columns))
        if stage.plan.in_parts:
            _merge_file(stage).write_text(_merge(stage))
            condor_description.check(_merge_file(stage), Rules(stage.batch.site, stage.batch.mode))


def _merge(stage: JobDir) -> str:
    plan = stage.plan
    arguments = ["-", *plan.command, "--from-parts", str(seen_parts(stage)), "-o", str(merged(stage))]
    values = {
        **condor_description.common(stage, plan.resources),
        "version": __version__, "stage": plan.stage, "name": plan.name, "jobdir": stage.path, "run": plan.run_id,
        "arguments": " ".join(arguments),
    }  # fmt: skip
    return fill(template("merge.sub"), values)


# -- submission -------------------------------------------------------------------------------------------------------


def _dry_run(stages: Sequence[JobDir], output: Path) -> None:
    """Let HTCondor read all descriptions, and DAGMan the DAG, where they are here.

    DAGMan takes a second for 100 nodes: it gets the first jobs of each stage.
    """
    if shutil.which("condor_dagman") is None:
        return
    for stage in stages:
        condor_commands.dry_run(_file(stage), [f"{column}=0" for column in stage.plan.columns])
        if stage.plan.in_parts:
            condor_commands.dry_run(_merge_file(stage))
    with tempfile.TemporaryDirectory(prefix=".check", dir=output) as folder:
        (Path(folder) / DAG).write_text(text(stages, _CHECKED))
        version = condor_commands.call(["condor_version"]).stdout.partition("\n")[0]
        answer = condor_commands.call(
            ["condor_dagman", "-f", "-l", ".", "-p", "0", "-Dag", DAG, "-Lockfile", f"{DAG}.lock", "-AutoRescue", "0",
             "-DoRescueFrom", "0", "-CsdVersion", version, "-DryRun"],
            Path(folder),
        )  # fmt: skip
        logs = "".join(path.read_text(errors="replace") for path in Path(folder).glob("*dagman.out"))
    if answer.returncode:
        errors = re.findall(r"ERROR[^\n]*", logs + answer.stderr) or [f"exit code {answer.returncode}"]
        raise DataError(f"{output / DAG}: condor_dagman -DryRun: {errors[0]}")


def _run_id(stages: Sequence[JobDir]) -> str:
    return f"{stages[0].plan.run_id}-dag"


def _earlier(stages: Sequence[JobDir], output: Path) -> int | None:
    """Return the cluster of an earlier submission, though it may have been killed in the middle."""
    earlier = [submission for stage in stages for submission in stage.submissions() if submission.state != "void"]
    if not earlier:
        return None
    with stages[0].lock():  # until a condor_submit_dag that outlived us has ended
        cluster = next((submission.cluster for submission in earlier if submission.cluster is not None), None)
        if cluster is None:
            cluster = condor_commands.in_log(output / f"{DAG}.dagman.log")
        if cluster is None:
            cluster = condor_commands.in_queue(
                f'NanoForgeRun == "{_run_id(stages)}"', (["condor_q"], ["condor_history"])
            )
        _conclude(stages, cluster)
    return cluster


def _conclude(stages: Sequence[JobDir], cluster: int | None) -> None:
    """Record in the journals that mention the DAG what became of it."""
    schedd = condor_commands.schedd()
    for stage in stages:
        for submission in stage.submissions():
            stage.conclude(submission, "void" if cluster is None else "submitted", cluster, schedd)


def _submit(stages: Sequence[JobDir], output: Path, resources: Mapping[str, Resources]) -> int:
    for stage in stages:
        stage.intend(range(len(stage.plan.jobs)), resources.get(stage.plan.stage, stage.plan.resources), attempt=0)
    try:
        cluster = _submit_dag(stages, output)
    except DataError:
        _conclude(stages, None)
        raise
    _conclude(stages, cluster)
    return cluster


def _submit_dag(stages: Sequence[JobDir], output: Path) -> int:
    """Submit DAGMan; it takes the last rescue file, if there is one."""
    with stages[0].lock() as lock:
        mark = f'+NanoForgeRun = "{_run_id(stages)}"'
        command = ["condor_submit_dag", "-update_submit", "-batch-name", _run_id(stages), "-append", mark, DAG]
        answer = condor_commands.call(command, output, (lock,))
        match = re.search(r"submitted to cluster (\d+)", answer.stdout)
        if answer.returncode or match is None:
            raise DataError(f"{output / DAG}: condor_submit_dag refuses it: {condor_commands.last_words(answer)}")
        return int(match[1])
