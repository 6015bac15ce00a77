"""Make the job directory of one stage: divide the work, freeze the analysis, say what each job asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..config.batch import BatchBlock, Division
from ..config.schema import Analysis
from ..errors import UserError
from ..events.files import is_remote
from ..pipeline.graph import PRODUCE, STAGES
from ..production import lumis, pileup, systems
from ..production.plan import plan as productions
from ..production.plugin_filters import sources_of
from . import plan as planning
from .jobdir import JobDir, as_yaml, create, new_run_id, sha256
from .plan import BatchJob, Plan, Resources
from .sites import absolute, is_dry, refuse, shared_folders, visible_to_jobs
from .target import Target
from .templates import check_one_line

_EOS = {"user": "eosuser", "home": "eosuser", "cms": "eoscms", "project": "eosproject"}


def make(
    target: Target,
    analysis: Analysis,
    stage: str,
    output: Path,
    split: int | None = None,
    data: Path | None = None,
    run: Path | None = None,
) -> JobDir:
    """Make the job directory of one stage of a frozen analysis; parameters as for :func:`submit`."""
    if not target.takes(STAGES[stage]):
        taken = ", ".join(name for name, other in STAGES.items() if target.takes(other))
        raise UserError(f"submit {target.name} --stage {stage}: jobs there do {taken}; use another target")
    batch = target.adapted(analysis.batch)
    analysis = analysis.model_copy(update={"batch": batch})
    _check_place(batch, stage, absolute(output))
    needs, resources = batch.needs(stage), _resources(batch, stage)
    grid = stage == PRODUCE.name and _reads_grid(analysis)
    jobs = planning.jobs(analysis, stage, Division(files=split) if split else needs.split)
    _check_visible(batch, analysis, jobs, stage)
    published = False
    if stage == PRODUCE.name:
        _check_containers(batch)
        _check_time(analysis, jobs, resources)
        published = _is_published(target, analysis, output)
        analysis = lumis.with_lumis(analysis, output, write=not is_dry())
    data, run = data and absolute(data), run and absolute(run)
    transferred = [path for path in (data, run) if path is not None and not visible_to_jobs(path, batch)]
    names = {path: Path(path.name) for path in transferred}
    for path in (absolute(output), data, run, *(path for job in jobs for path in job.inputs)):
        check_one_line(str(path), "a path")
    run_id = new_run_id(analysis.name, stage)
    plan = Plan(
        run_id=run_id,
        name=analysis.name,
        stage=stage,
        target=target.name,
        analysis_sha256=sha256(as_yaml(analysis)),
        jobs=jobs,
        resources=resources,
        parts=_parts(batch, stage, run_id),
        command=planning.command(stage, data and names.get(data, data), run and names.get(run, run), resources.cores),
        carried=tuple(map(str, transferred)),
        grid=grid,
        published=published,
    )
    return create(output, analysis, plan)


def _resources(batch: BatchBlock, stage: str) -> Resources:
    """Return what a job asks for; where EOS is the only place, HTCondor does not bring checkpoints back."""
    resources = Resources.of(stage, batch.needs(stage))
    return replace(resources, checkpoint=0) if batch.mode == "eossubmit" else resources


def _reads_grid(analysis: Analysis) -> bool:
    """Whether premixed events come from the grid; refuses those that are nowhere on disk."""
    return any(is_remote(name) for production in productions(analysis).values() for name in pileup.files(production))


def _check_containers(batch: BatchBlock) -> None:
    """Refuse containers around jobs that start containers themselves."""
    environment = batch.environment.resolved()
    if environment.is_container:
        refuse(
            f"{environment.key_path}: a production starts a container for each release, which few machines let "
            "another one do: take lcg or venv"
        )


def _check_time(analysis: Analysis, jobs: tuple[BatchJob, ...], resources: Resources) -> None:
    """Refuse jobs that cannot be done in the time that they may take."""
    for production in productions(analysis).values():
        most = max((job.entries or 0 for job in jobs if job.sample == production.sample), default=0)
        seconds = most * production.produce.seconds_per_event / resources.cores
        if seconds > resources.runtime:
            fitting = int(resources.runtime * resources.cores / production.produce.seconds_per_event)
            raise UserError(
                f"cmssw.produce.events_per_job: {most:,} events of {production.produce.seconds_per_event:g} s "
                f"(seconds_per_event) take {seconds / 3600:.1f} h on {resources.cores} core(s), and a job of "
                f"batch.produce may run for {resources.runtime / 3600:.1f} h: make it {fitting:,} at most, or ask for "
                "a longer flavour or more cores"
            )


def _is_published(target: Target, analysis: Analysis, output: Path) -> bool:
    """Whether CRAB publishes each step of a production; refuses what it cannot do in this way."""
    if analysis.cmssw is None or analysis.cmssw.produce is None or not analysis.cmssw.produce.publish:
        return False
    key, produce = "cmssw.produce.publish", analysis.cmssw.produce
    if target.name != "crab":
        raise UserError(f"{key}: it is CRAB that publishes: submit crab, or leave it out")
    if produce.chain != "nano":
        raise UserError(f"{key}: the sums of weights come from NanoAOD: let the chain end there (chain: nano)")
    if not systems.is_here():
        raise UserError(
            f"{key}: CRAB takes the configurations of the releases, and {systems.software()} is not on this machine: "
            "submit where it is, as on LXPLUS"
        )
    reserved = lumis.with_lumis(analysis, output, write=False)
    for name, production in productions(reserved).items():
        if production.tries(1) > 1 and produce.tries_per_job is None:
            raise UserError(
                f"cmssw.produce.tries_per_job: CRAB counts the events of {name} that are tried: say how many of them a "
                "job tries, events_per_job divided by the efficiency of the filters"
            )
        if production.first_lumi != 1:
            raise UserError(
                f"{key}: CRAB counts the lumi sections of a task from 1, and those of {name} were given already: "
                "publish a sample of another name and seed"
            )
    return True


def _parts(batch: BatchBlock, stage: str, run_id: str) -> str:
    """Return where the parts arrive: in the job directory, unless the analysis file names another place.

    A training always comes back: HTCondor would send its checkpoints to an address too, and lose them.
    """
    if batch.output is None or stage == "train":
        return "parts"
    destination = batch.output.rstrip("/")
    if is_remote(destination):
        return f"{destination}/{run_id}"
    folder = absolute(destination)
    if batch.site == "lxplus" and folder.is_relative_to("/eos"):
        host = _EOS.get(folder.parts[2].split("-")[0], "eospublic")
        return f"root://{host}.cern.ch/{folder}/{run_id}"
    return str(folder / run_id)


def _check_place(batch: BatchBlock, stage: str, output: Path) -> None:
    """Refuse a job directory that the scheduler, or workers that share it, would not see."""
    home = {"afs": "/afs", "eossubmit": "/eos"}.get(batch.mode)
    if batch.site == "lxplus" and home is not None and not output.is_relative_to(home):
        refuse(f"{output}: with 'batch.mode: {batch.mode}' the scheduler sees {home} only: give an -o there")
    if stage == "tune" and (not visible_to_jobs(output, batch) or batch.mode == "spool"):
        refuse(f"{output}: the workers of a search meet there: give an -o under {' or '.join(shared_folders(batch))}")


def _check_visible(batch: BatchBlock, analysis: Analysis, jobs: tuple[BatchJob, ...], stage: str) -> None:
    """Refuse files that the jobs would not find."""
    read = analysis.generator_files() if stage == "generate" else []
    if stage == PRODUCE.name and analysis.cmssw is not None:
        read += map(str, sources_of(analysis.cmssw.filters))
    for path in read:
        if not Path(path).is_file():
            raise UserError(f"{path}: a generator names this file, and it is not there")
    others = [
        *read,
        *analysis.digests(),
        *analysis.evaluation_digests(),
        *([analysis.training.init.run] if analysis.training.init else []),
    ]
    inputs = [path for job in jobs for path in job.inputs]
    for path in [*inputs, *(name for name in others if Path(name).is_absolute())]:
        if not is_remote(path) and not visible_to_jobs(path, batch):
            refuse(
                f"{path}: the jobs of {batch.site} do not see it: put it under {' or '.join(shared_folders(batch))} "
                "(or name the folders that they see in batch.shared), or give its root:// address"
            )
