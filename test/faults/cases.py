"""Cases: what is done to which command, drawn from a seed, and what has to come of it."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import damage
import verdict
from content import difference
from disk import Disk, UnavailableError
from process import GRACE, TIMEOUT, At, Command, Outcome, run, run_together
from project import STAGES, Project, Stage, files_below

RIGHT, ERROR, UNDETECTABLE = "right", "error, then right", "undetectable"
SILENT, UNCLEAR, SECOND, SKIPPED = "SILENT", "UNCLEAR", "SECOND RUN FAILS", "skipped"
BAD = (SILENT, UNCLEAR, SECOND)
_ROUNDS = 4
"""So many remedies may follow from each other."""
_UNSUMMED = {"bkg_2.root": "uncompressed baskets, and named without a checksum"}


@dataclass
class Result:
    """What came of a case; ``commands`` are all that were given, ``why`` says what was expected instead."""

    seed: int
    number: int
    stage: str
    kind: str
    what: str = ""
    verdict: str = RIGHT
    why: str = ""
    commands: list[str] = field(default_factory=list)
    seconds: float = 0.0


class FailedError(Exception):
    """The case has shown a fault of NanoForge: verdict and reason."""


class Case:
    """One case.

    Parameters
    ----------
    project
        Where it happens.
    disk
        What the project lies on.
    seed, number
        All else follows from these, and from ``stages`` and ``kinds``.
    """

    def __init__(
        self, project: Project, disk: Disk, seed: int, number: int, stages: Sequence[str], kinds: Sequence[str]
    ) -> None:
        self.rng = Random(f"{seed}:{number}")
        self.project, self.disk = project, disk
        self.stage = STAGES[self.rng.choices(stages, [STAGES[name].weight for name in stages])[0]]
        fitting = [kind for kind in kinds if _fits(self.stage, kind)]
        self.kind = self.rng.choices(fitting, [KINDS[k].weight for k in fitting])[0]
        self.jobs = 2 if self.stage.parallel and self.rng.random() < 0.25 else 1
        self.words: tuple[str, ...] = self.stage.command(self.jobs)
        self.result = Result(seed, number, self.stage.name, self.kind)
        self.damaged: list[Path] = []
        self.collected = False

    def run(self) -> Result:
        """Do it."""
        result = self.result
        try:
            self.reference = self.project.reference(self.stage)
            self.project.restore(self.stage)
            KINDS[self.kind].do(self)
        except FailedError as failure:
            result.verdict, result.why = failure.args
        except UnavailableError as reason:
            result.verdict, result.why = SKIPPED, str(reason)
        finally:
            self.disk.free()
        return result

    # -- commands -----------------------------------------------------------------------------------------------------

    def command(self, words: Sequence[str] | None = None, **how: Any) -> Command:
        """Return the command of the stage, or another one."""
        return Command(self.words if words is None else words, self.project.folder, **how)

    def give(self, command: Command) -> Outcome:
        """Run a command; batch jobs may outlive it."""
        outcome = run(command, TIMEOUT if self.stage.name in ("submit", "resubmit") else GRACE)
        self.note(outcome)
        return outcome

    def note(self, outcome: Outcome) -> None:
        """Keep what a command said."""
        self.result.commands.append(
            f"nanoforge {' '.join(outcome.words)} -> {outcome.code}: {verdict.last_line(outcome)}"
        )

    def moment(self, earliest: float = 0.0) -> At:
        """Draw a moment within the command, after that share of it: an access to a file, or a time."""
        share = self.rng.uniform(earliest, 1.1)
        if self.jobs > 1 or self.stage.name == "submit" or self.rng.random() < 0.4:
            return At(seconds=share * self.reference.seconds)
        return At(event=max(1, round(share / 1.1 * self.reference.accesses)))

    # -- judgement ----------------------------------------------------------------------------------------------------

    def wrong(self, outcome: Outcome) -> str:
        """Say in what a result differs from what it should be, and what cannot be read; empty where nothing does."""
        try:
            return difference(self.project.result(self.stage, outcome), self.reference.content)
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:200]}"

    def judge(self, outcome: Outcome, sent: signal.Signals | None = None) -> str:
        """Return the verdict on a command that met with a fault; anything bad ends the case."""
        if outcome.code == 0 and self.jobs_failed(outcome):
            return ERROR
        if outcome.code == 0:
            if outcome.leftovers:
                raise FailedError(UNCLEAR, f"left behind: {outcome.leftovers[0]}")
            wrong = self.wrong(outcome)
            if wrong:
                if self._undetectable():
                    return UNDETECTABLE
                raise FailedError(SILENT, f"exit code 0, but {wrong}")
            return ERROR if self.collected else RIGHT
        complaint = verdict.complaint(outcome, sent)
        if complaint:
            raise FailedError(UNCLEAR, complaint)
        return ERROR

    def jobs_failed(self, outcome: Outcome) -> bool:
        """Whether batch jobs have failed: that is said, while ``submit`` itself has done its work."""
        return self.stage.words[0] in ("submit", "resubmit") and re.search(r"\d failed", outcome.stderr) is not None

    def _undetectable(self) -> bool:
        """Whether only values were hit, of an input whose codec has no checksum and that is named without one."""
        subtle = self.kind == "damaged" and self.result.what.partition(" ")[0] in damage.SUBTLE
        return subtle and all(path.name in _UNSUMMED for path in self.damaged)

    def again(self) -> None:
        """The same command has to end right, now that its obstacle is gone."""
        outcome = self.complete(self.give(self.command()))
        if self.stage.name == "init" and not self.wrong(outcome):  # never replaces an analysis file
            return
        if outcome.code != 0:
            raise FailedError(SECOND, f"exit code 0 was expected, not {outcome.code}: {outcome.stderr[-300:]}")
        if outcome.leftovers:
            raise FailedError(SECOND, f"left behind: {outcome.leftovers[0]}")
        wrong = self.wrong(outcome)
        if wrong:
            raise FailedError(SECOND, f"it ends with 0, but {wrong}")

    def complete(self, outcome: Outcome) -> Outcome:
        """Give the commands, too, after which an interrupted one is done."""
        for more in self.stage.resumes if outcome.code == 0 else ():
            outcome = self.give(self.command(more))
        if outcome.code == 0 and self.damaged and self.stage.name == "submit" and self.wrong(outcome):
            return self._collect()
        return outcome

    def _collect(self) -> Outcome:
        """Let ``collect``, which compares sums, name the parts that are damaged, and do as it says."""
        self.collected = True
        outcome = self.give(self.command(STAGES["collect"].command()))
        complaint = verdict.complaint(outcome) if outcome.code != 0 else "the damage is not named"
        if complaint:
            raise FailedError(UNCLEAR if outcome.code != 0 else SILENT, complaint)
        return self.give(self.command(("resubmit", "jobs")))

    def follow(self, outcome: Outcome) -> None:
        """Do what the messages say until the result is right."""
        for _ in range(_ROUNDS):
            if outcome.code == 0 and not self.wrong(outcome):
                return
            if outcome.code == 0:
                raise FailedError(SILENT, f"exit code 0, but {self.wrong(outcome)}")
            complaint = verdict.complaint(outcome)
            if complaint:
                raise FailedError(UNCLEAR, complaint)
            for remedy, argument in verdict.remedies(outcome, self.project.folder):
                self._follow(remedy, argument)
            outcome = self.complete(self.give(self.command()))
        raise FailedError(SECOND, "no remedy, or one that does not help")

    def _follow(self, remedy: str, argument: str) -> None:
        if remedy == "remove":
            subprocess.run(["rm", "-rf", argument], check=True)
            self.result.commands.append(f"rm -rf {argument}")
        elif remedy == "copy":
            subprocess.run(["cp", *argument.split()], check=True)
            self.result.commands.append(f"cp {argument}")
        elif remedy == "anew" and self.stage.output:
            subprocess.run(["rm", "-rf", str(self.project.folder / self.stage.output)], check=True)
        elif remedy == "restore":
            for path in self.damaged:
                self.project.restore_file(path)
        elif remedy == "resubmit":
            self.give(self.command(("resubmit", "jobs")))
        elif remedy == "force":
            self.words = (*self.words, "--force") if "--force" not in self.words else self.words
        else:
            for stage in (STAGES[name] for name in self.stage.needs):
                if argument in (stage.words[0], stage.output, str(self.project.folder / stage.output)):
                    self._make_again(stage)

    def _make_again(self, stage: Stage) -> None:
        outcome = self.give(self.command(stage.command()))
        if outcome.code != 0 and "--force" in outcome.stderr:
            self.give(self.command((*stage.command(), "--force")))


# -- kinds of faults --------------------------------------------------------------------------------------------------


def nothing(case: Case) -> None:
    """Nothing goes wrong."""
    case.result.verdict = case.judge(case.give(case.command()))


def damaged(case: Case) -> None:
    """Something that the command reads was damaged before."""
    how, path = _damage(case, case.project.files(case.stage))
    case.result.what = f"{how} {path}"
    outcome = case.give(case.command())
    case.result.verdict = case.judge(outcome)
    if case.result.verdict != ERROR:
        return
    set_aside = "set aside" in outcome.stderr
    if path.startswith("input") or (case.rng.random() < 0.3 and not set_aside):
        for damaged_file in case.damaged:
            case.project.restore_file(damaged_file)
        case.again()
    else:
        case.follow(outcome)


def damaged_result(case: Case) -> None:
    """The command's own finished result was damaged, and the command is given again: it is mended or refused."""
    case.project.finish(case.stage)
    place = case.project.folder / case.stage.output
    how, path = _damage(case, {"result": files_below(place)})
    case.result.what = f"{how} {path}"
    outcome = case.give(case.command())
    if outcome.code == 0 and how in damage.SAME_SIZE:  # sums are compared where a result is read, not here
        case.result.verdict = RIGHT
        return
    outcome = case.complete(outcome)
    case.follow(outcome)
    case.result.verdict = RIGHT if outcome.code == 0 else ERROR


def interrupted(
    case: Case, signals: Sequence[signal.Signals] = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
) -> None:
    """A signal comes at some moment; the same command again goes on."""
    sent = case.rng.choice(list(signals))
    cold = case.rng.random() < 0.05
    whole_group = sent == signal.SIGINT and case.rng.random() < 0.5
    moment = At(seconds=case.rng.uniform(0, 8 + case.reference.seconds)) if cold else case.moment()
    case.result.what = f"{sent.name} at {moment}{' (new interpreter)' if cold else ''}"
    outcome = case.give(case.command(moment=moment, action=partial(_signal, sent, whole_group), cold=cold))
    case.result.verdict = case.judge(outcome, sent)
    case.again()


def interrupted_and_damaged(case: Case) -> None:
    """Killed, and what it had made so far was damaged."""
    outcome = case.give(case.command(moment=case.moment(earliest=0.4), action=partial(_signal, signal.SIGKILL, False)))
    unfinished = [
        path
        for folder in _unfinished(case)
        for path in files_below(folder)
        if path.stat().st_size and path.name != ".lock"
    ]
    if not unfinished:
        case.judge(outcome, signal.SIGKILL)
        raise UnavailableError("nothing was unfinished when it was killed")
    how, path = _damage(case, {"unfinished": unfinished})
    case.result.what = f"SIGKILL, then {how} {path}"
    outcome = case.complete(case.give(case.command()))
    case.result.verdict = case.judge(outcome)
    if case.result.verdict == ERROR:
        case.follow(outcome)


def changed_meanwhile(case: Case) -> None:
    """An input is replaced, or cut off in place, while the command works."""
    path = case.rng.choice([path for path in case.project.inputs(case.stage) if path.suffix != ".txt"])
    how = case.rng.choice(("truncate", "replace", "delete", "empty"))
    moment = case.moment()
    case.damaged = [path]
    case.result.what = f"{how} {path.name} at {moment}"
    rng = Random(case.rng.random())
    outcome = case.give(case.command(moment=moment, action=lambda _: damage.KINDS[how](path, rng)))
    case.result.verdict = case.judge(outcome)
    case.project.restore_file(path)
    case.again()


def disk_full(case: Case) -> None:
    """There is not enough room."""
    room = int(case.rng.uniform(0, 1) * max(case.reference.written, 1 << 16))
    case.result.what = f"{room} bytes free"
    case.disk.fill(room)
    outcome = case.give(case.command())
    case.disk.free()
    case.result.verdict = case.judge(outcome)
    case.again()


def read_only(case: Case) -> None:
    """Nothing can be written."""
    case.disk.protect()
    outcome = case.give(case.command())
    case.disk.free()
    case.result.verdict = case.judge(outcome)
    case.again()


def limited(case: Case) -> None:
    """A limit is low: open files, memory, the size of a file, processes."""
    name = case.rng.choice(("NOFILE", "NOFILE", "AS", "FSIZE", "NPROC"))
    value = {
        "NOFILE": case.rng.choice((case.rng.randint(16, 64), case.rng.randint(64, 256))),
        "AS": case.rng.randrange(1 << 20, 1 << 29),
        "FSIZE": int(case.rng.uniform(0, 1) * max(case.reference.written, 1 << 16)),
        "NPROC": 1,
    }[name]
    case.result.what = f"RLIMIT_{name} {value}"
    if name == "NPROC" and os.geteuid() == 0:
        raise UnavailableError("RLIMIT_NPROC does not bind root")
    outcome = case.give(case.command(limits={getattr(resource, f"RLIMIT_{name}"): value}))
    case.result.verdict = case.judge(outcome)
    case.again()


def two_at_once(case: Case) -> None:
    """Two give the same command at almost the same time: one works, or both share."""
    gap = case.rng.uniform(0, 1.0) * case.reference.seconds
    case.result.what = f"{gap:.2f} s apart"
    outcomes = run_together([case.command(), case.command()], gap)
    for outcome in outcomes:
        case.note(outcome)
    for outcome in outcomes:
        complaint = verdict.complaint(outcome) if outcome.code != 0 else ""
        if complaint:
            raise FailedError(UNCLEAR, complaint)
    if all(outcome.code != 0 for outcome in outcomes):
        raise FailedError(UNCLEAR, "neither has ended well")
    case.result.verdict = RIGHT if all(outcome.code == 0 for outcome in outcomes) else ERROR
    case.again()


@dataclass(frozen=True)
class Kind:
    """A kind of fault, and how often it is drawn."""

    do: Callable[[Case], None]
    weight: float


KINDS = {
    kind.do.__name__.replace("_", "-"): kind
    for kind in (
        Kind(nothing, 0.5), Kind(damaged, 6), Kind(damaged_result, 2), Kind(interrupted, 5),
        Kind(interrupted_and_damaged, 4), Kind(changed_meanwhile, 2), Kind(disk_full, 2), Kind(read_only, 0.5),
        Kind(limited, 2), Kind(two_at_once, 1.5),
    )
}  # fmt: skip


def _fits(stage: Stage, kind: str) -> bool:
    if kind == "changed-meanwhile":
        return bool(stage.files)
    if kind == "damaged":
        return bool(stage.files or stage.needs)
    if kind in ("damaged-result", "interrupted-and-damaged"):
        return bool(stage.output) and stage.name != "init"
    return True


def _damage(case: Case, groups: dict[str, list[Path]]) -> tuple[str, str]:
    """Damage one file of the groups; returns how, and group and name."""
    rng = case.rng
    group = rng.choice([name for name, files in groups.items() if files])
    path = rng.choice(groups[group])
    how = rng.choice(("flip", "flip", *damage.KINDS))
    before = path.read_bytes()
    damage.KINDS[how](path, rng)
    if path.exists() and path.read_bytes() == before:
        raise UnavailableError(f"{how} changes nothing in {path.name}")
    case.damaged.append(path)
    return how, f"{group}: {path.relative_to(case.project.folder)}"


def _unfinished(case: Case) -> list[Path]:
    """Return where a command keeps what it has not finished."""
    place = case.project.folder / case.stage.output
    if case.stage.name in ("submit", "tune", "run"):
        return [place, place.with_name(f".{place.name}.unfinished")]
    return [place.with_name(f".{place.name}.unfinished")]


def _signal(sent: signal.Signals, whole_group: bool, pid: int) -> None:
    if whole_group and os.getpgid(pid) == pid:
        os.killpg(pid, sent)
    else:
        os.kill(pid, sent)
