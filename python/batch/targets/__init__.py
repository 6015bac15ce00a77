"""Where batch jobs run: each file is a :class:`~..target.Target`, called as ``nanoforge submit`` wants it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...registry import Registry
from ..target import Target

if TYPE_CHECKING:
    from ..jobdir import JobDir

TARGETS: Registry[Target] = Registry("target", Target, __name__)  # type: ignore[type-abstract]


def find_target(name: str) -> Target:
    """Return a target, of the user's own too (``module:Class``).

    Raises
    ------
    UserError
        When there is none of this name.
    """
    return TARGETS.load(name, "submit")(name)


def target_of(directory: JobDir) -> Target:
    """Return the target of a job directory, which may come from somebody else.

    Raises
    ------
    UserError
        When it names Python code that this user neither submitted with nor trusts.
    """
    from ...provenance.trust import require

    require(directory.path, directory.plan, _code(directory), trust=False, how="submitted")
    return find_target(directory.plan.target)


def trust_target(directory: JobDir) -> None:
    """Note that this user submitted with the Python code that a job directory names, or trusts it."""
    from ...provenance.trust import remember

    remember(directory.plan, _code(directory))


def trust_targets(path: Path) -> None:
    """Do that for the stages in a folder."""
    from ..jobdir import JobDir

    for directory in JobDir.all(path):
        trust_target(directory)


def _code(directory: JobDir) -> list[str]:
    module, colon, _ = directory.plan.target.rpartition(":")
    return [module] if colon else []
