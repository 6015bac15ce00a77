"""What helps the jobs of CRAB's own tasks that failed: other sites, more memory or time, another try; or nothing.

The exit codes of cmsRun and of CRAB tell it. What is asked for in a try stays in the next (``crab resubmit`` takes it
for the jobs that it names). The limits are those of its client.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ..errors import DataError
from ..production.failures import Failure, failure_of, of_process
from ..provenance.manifest import write_atomically
from .causes import Cause, cause_of_failure
from .events import Process
from .plan import Resources

Options = Mapping[str, str]
"""What ``crab resubmit`` is given, by the names of its options."""
_MOST_MEMORY, _MOST_MINUTES = 30_720, 20_160
_CRASHES = 2


class Prospect(Enum):
    """Whether another try can help."""

    AGAIN = "is tried again"
    NEVER = "its configuration is wrong, which another try does not mend"
    LOST = "crashed again with the same random numbers: its lumi section is lost"


@dataclass
class Tries:
    """The tries of the jobs of a task that ``nanoforge resubmit`` asked for, in a file.

    Attributes
    ----------
    path
        The file.
    of_jobs
        The options of each try, by the number of the job.
    """

    path: Path
    of_jobs: dict[int, list[Options]]

    @classmethod
    def read(cls, path: Path) -> Tries:
        """Read the file, if there is one.

        Raises
        ------
        DataError
            When it is damaged.
        """
        try:
            content = json.loads(path.read_text()) if path.exists() else {}
            return cls(path, {int(number): list(tries) for number, tries in content.items()})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: is damaged ({error}): remove it, and jobs that crashed are tried anew") from None

    def add(self, numbers: Sequence[int], options: Options) -> None:
        """Note a try of some jobs."""
        for number in numbers:
            self.of_jobs.setdefault(number, []).append(options)
        write_atomically(self.path, json.dumps(self.of_jobs, indent=1) + "\n")


def prospect(process: Process, tries: Sequence[Options]) -> Prospect:
    """Say whether another try can help a job that failed."""
    failure = Failure.OTHER if process.exit_code is None else failure_of(of_process(process.exit_code))
    if failure is Failure.CONFIGURATION:
        return Prospect.NEVER
    return Prospect.LOST if failure is Failure.CRASH and len(tries) + 1 >= _CRASHES else Prospect.AGAIN


def next_try(
    process: Process, tries: Sequence[Options], resources: Resources, blacklist: Sequence[str], site: str
) -> Options:
    """Return with which options a job that failed is tried again.

    Parameters
    ----------
    process
        How it failed.
    tries
        Those that it had.
    resources
        What the task was submitted with.
    blacklist
        Sites that the task avoids.
    site
        Where the job ran last; empty where that is not known.
    """
    options = dict(tries[-1]) if tries else {}
    code = None if process.exit_code is None else of_process(process.exit_code)
    cause = cause_of_failure(code, process.reason)
    if cause is Cause.MEMORY:
        memory = int(options.get("maxmemory", resources.memory))
        options["maxmemory"] = str(min(2 * memory, _MOST_MEMORY))
    elif cause is Cause.TIME:
        minutes = int(options.get("maxjobruntime", math.ceil(resources.runtime / 60)))
        options["maxjobruntime"] = str(min(max(2 * minutes, 60), _MOST_MINUTES))
    elif cause is Cause.INPUT and site:
        sites = [*filter(None, options.get("siteblacklist", ",".join(blacklist)).split(",")), site]
        options["siteblacklist"] = ",".join(dict.fromkeys(sites))
    return options
