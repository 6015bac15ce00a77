"""What a target is: where batch jobs run, who brings them there, and who tells what became of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    from ..config.batch import BatchBlock
    from ..config.schema import Analysis
    from ..pipeline.stage import Stage
    from .events import Process
    from .jobdir import JobDir, Submission
    from .plan import Resources


class Target(ABC):
    """Where batch jobs run; the first line of a target's own docstring describes it to users.

    A target is a file in the folder ``targets``, an entry point of the group ``nanoforge.targets``, or a class in a
    user's module (``nanoforge submit module:Class ...``). It has :meth:`submit`, :meth:`reconcile` and
    :meth:`withdraw`; the other methods stand for what most batch systems do.

    Parameters
    ----------
    name
        As the user wrote it, for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    # -- submission ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def submit(
        self, directory: JobDir, jobs: Sequence[int], resources: Resources, overrides: Sequence[str] = ()
    ) -> Submission:
        """Submit jobs.

        Parameters
        ----------
        directory
            The job directory. Its journal has to tell of the submission before (``directory.intend``) and after
            (``directory.conclude``), so that the same call after an interruption submits nothing twice.
        jobs
            The numbers of the jobs.
        resources
            What each asks for.
        overrides
            Changes of the analysis (key=value), for this submission only.

        Returns
        -------
        Submission
            What was concluded.

        Raises
        ------
        UserError
            When the batch system is not here, or would not accept the jobs.
        DataError
            When it refuses them.
        """

    @abstractmethod
    def reconcile(self, directory: JobDir, submission: Submission) -> Submission:
        """Find out what became of a submission that was interrupted, and let the journal say so.

        Raises
        ------
        DataError
            When the batch system does not answer.
        """

    @abstractmethod
    def withdraw(self, directory: JobDir, submission: Submission, jobs: Sequence[int]) -> None:
        """Take held jobs out of the queue before they are submitted again: once released, they would run twice."""

    def prepare(
        self, directory: JobDir, jobs: Sequence[int], resources: Resources, overrides: Sequence[str], attempt: int
    ) -> Path:
        """Write and check what a submission consists of: this is what a dry run makes; returns where it lies."""
        del jobs, resources, overrides, attempt
        return directory.path

    def submit_pipeline(self, analysis: Analysis, output: Path, *, dry_run: bool) -> None:
        """Submit all stages that an analysis needs.

        Parameters
        ----------
        analysis
            The analysis file.
        output
            Gets a job directory for each stage.
        dry_run
            Only make and check them.

        Raises
        ------
        UserError
            When the target cannot do that, which is usual.
        """
        raise UserError(
            f"submit {self.name} --stage all: DAGs are HTCondor's; here, 'nanoforge run' does all stages, and --stage "
            "submits one of them"
        )

    def run(self, directory: JobDir, submission: Submission, processes: int) -> None:
        """Do the jobs of a submission, so many at a time, where it is this process that does them."""
        del directory, submission, processes

    # -- what becomes of the jobs -------------------------------------------------------------------------------------

    def processes(self, directory: JobDir, submission: Submission) -> dict[int, Process]:
        """Return what is known of the jobs of a submission, by number: here, what its event log says."""
        from .events import read_log

        log = directory.event_log(submission.attempt)
        return read_log(log, submission.jobs) if log.exists() else {}

    def needs_log(self, directory: JobDir) -> bool:
        """Whether nothing is known of jobs whose event log is missing."""
        del directory
        return True

    def retrieve(self, directory: JobDir) -> None:
        """Bring what jobs made into the folder of the parts, where they do not do that themselves."""
        del directory

    # -- what jobs may be ---------------------------------------------------------------------------------------------

    def takes(self, stage: Stage) -> bool:
        """Whether jobs here can do a stage."""
        del stage
        return True

    def adapted(self, batch: BatchBlock) -> BatchBlock:
        """Return the block ``batch`` with what holds here: the rules of HTCondor's sites hold for HTCondor alone."""
        return batch.model_copy(update={"site": "generic", "mode": "afs"})

    def gives_by_core(self, batch: BatchBlock) -> bool:
        """Whether memory and disk come with cores, so that who needs more of them asks for more cores."""
        del batch
        return False
