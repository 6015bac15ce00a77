"""What is submitted again, how, and what an interruption leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from directories import RESOURCES, event, log, make, submit, tell, write_part
from nanoforge.batch import dag
from nanoforge.batch import resubmit as module
from nanoforge.batch.causes import Cause, cause_of
from nanoforge.batch.collect import collect
from nanoforge.batch.events import ACTIVE, JobState, Process
from nanoforge.batch.jobdir import DAG, JobDir
from nanoforge.batch.plan import BatchJob
from nanoforge.batch.resubmit import resubmit
from nanoforge.batch.status import JobSurvey
from nanoforge.batch.target import Target
from nanoforge.errors import DataError, UserError

PATH = "root://one//store/tt0.root"
PERIODIC = "The job attribute PeriodicRemove expression 'time() - EnteredCurrentStatus > 60' evaluated to TRUE"


def removed(reason, **more):
    return Process(JobState.REMOVED, reason, **more)


def held(reason, code, subcode=0):
    return Process(JobState.HELD, reason, hold_code=code, hold_subcode=subcode)


def failed(code):
    return Process(JobState.FAILED, exit_code=code)


@pytest.mark.parametrize(
    ("process", "error", "cause"),
    [
        (removed("Job removed by SYSTEM_PERIODIC_REMOVE due to wall time exceeded allowed max."), "", Cause.TIME),
        (removed(PERIODIC), "", Cause.TIME),
        (removed("by the system", started=0.0, ended=7201.0), "", Cause.TIME),
        (removed("via condor_rm (by user jdoe)", started=0.0, ended=7201.0), "", Cause.OTHER),
        (removed("The job exceeded allowed execute duration of 00:02", hold_code=47), "", Cause.TIME),
        (held("Job has gone over cgroup memory limit of 2000 megabytes.", 34), "", Cause.MEMORY),
        (held("memory usage 2100 MB exceeded request_memory", 3), "", Cause.MEMORY),
        (held("disk usage exceeded request_disk", 3), "", Cause.DISK),
        (
            held(
                "Error from slot1@node: Job has gone over memory limit of 4096 megabytes. Peak usage: 4088 megabytes.",
                34,
            ),
            "",
            Cause.MEMORY,
        ),
        (held("Error from slot1@node: it used too much", 34, 102), "", Cause.MEMORY),
        (held("Error from slot1@node: it used too much", 21, 104), "", Cause.DISK),
        (held("Error from slot1@node: memory usage exceeded request_memory", 21), "", Cause.MEMORY),
        (held("The job exceeded allowed job duration", 46), "", Cause.TIME),
        (held("Excessive CPU usage", 26, 102), "", Cause.OTHER),
        (held("The job attribute PeriodicHold expression 'MemoryUsage > 2000' evaluated to TRUE", 3), "", Cause.MEMORY),
        (
            held(
                "Transfer output files failure at access point ap while receiving files from slot1@node. "
                "Details: writing to file /eos/user/j/jdoe/runtime/memory.txt: (errno 2) No such file or directory",
                12,
                2,
            ),
            "",
            Cause.OTHER,
        ),
        (
            held(
                "Transfer input files failure at access point ap while sending files to slot1@node. Details: "
                "reading from file /tmp/x509up_u1: (errno 2) No such file or directory; disk usage 1",
                13,
                2,
            ),
            "",
            Cause.OTHER,
        ),
        (
            held("Cannot access initial working directory /data/memory/walltime: No such file or directory", 14, 2),
            "",
            Cause.OTHER,
        ),
        (held("via condor_hold (by user jdoe): no memory of why", 1), "", Cause.OTHER),
        (held("Reason unspecified", 0), "", Cause.OTHER),
        (held("policy of /etc/memory/runtime.conf", 26), "", Cause.OTHER),
        (held("Transfer output files failure", 12), "", Cause.OTHER),
        (failed(137), "", Cause.MEMORY),
        (failed(-9), "", Cause.MEMORY),
        (failed(1), "error: MemoryError: cannot allocate 3 GB", Cause.MEMORY),
        (failed(1), "error: out: no space left on the disk: free some", Cause.DISK),
        (failed(1), f"error: {PATH}: [3011] no such file", Cause.INPUT),
        (failed(1), "error: root://two//store/tt0.root: timed out", Cause.INPUT),
        (failed(2), f"error: {PATH}: has no tree Event", Cause.MISTAKE),
        (failed(1), "error: something broke", Cause.OTHER),
        (failed(1), "error: /data/memory/x.yaml: something broke", Cause.OTHER),
        (failed(50661), "Job killed by HTCondor", Cause.MEMORY),
        (failed(50663), "too much CPU time", Cause.TIME),
        (failed(50662), "", Cause.DISK),
        (failed(8004), "std::bad_alloc", Cause.MEMORY),
        (failed(8028), "FileOpenError with fallback", Cause.INPUT),
        (failed(60307), "General failure during files stage out", Cause.OTHER),
    ],
)
def test_logs_say_what_a_job_lacked(process, error, cause):
    job = BatchJob(0, "tt", 0, 0, 100, (PATH,))
    assert cause_of(job, process, RESOURCES.runtime, error) is cause


class Queue(Target):
    """A queue that takes everything, and dies where it is told to."""

    def __init__(self) -> None:
        super().__init__("queue")
        self.withdrawn: list[int] = []
        self.dies_at: list[str] = []
        self.queued: set[int] = set()

    def submit(self, directory, jobs, resources, overrides=()):
        submission = directory.intend(jobs, resources, overrides)
        self._die("before")
        directory.make_logs(submission.attempt, jobs)
        self.queued.add(submission.attempt)
        journal = log(directory, submission.attempt)
        for process, number in enumerate(jobs):
            journal.submitted(process, number)
        self._die("after")
        return directory.conclude(submission, "submitted", 17, "schedd")

    def reconcile(self, directory, submission):
        state = "submitted" if submission.attempt in self.queued else "void"
        return directory.conclude(submission, state, 17, "schedd")

    def withdraw(self, directory, submission, jobs):
        self.withdrawn += jobs
        self._die("withdrawn")
        for number in jobs:
            process = submission.jobs.index(number)
            tell(
                directory,
                submission.attempt,
                event(9, process, "Job was aborted.\n\tvia condor_rm (by user x)", cluster=0),
            )

    def gives_by_core(self, batch):
        return True

    def _die(self, place):
        if place in self.dies_at:
            self.dies_at.remove(place)
            raise SystemExit(137)


@pytest.fixture
def target(monkeypatch):
    target = Queue()
    monkeypatch.setattr(module, "target_of", lambda directory: target)
    return target


@pytest.fixture
def directory(tmp_path, target):
    """Job 0 is done, 1 runs, 2 was too slow, 3 failed, 4 is held for its memory, 5 made a mistake, 6 has no input."""
    directory = make(tmp_path / "jobs", count=7)
    target.submit(directory, range(7), RESOURCES)
    journal = log(directory)
    for process in range(7):
        journal.executing(process)
    write_part(directory, 0)
    tell(
        directory,
        0,
        event(9, 2, "Job was aborted.\n\tJob removed by x due to wall time exceeded allowed max.", cluster=0),
    )
    journal.ended(3, 1, again=False)
    tell(
        directory,
        0,
        event(12, 4, "Job was held.\n\tmemory usage exceeded request_memory\n\tCode 3 Subcode 42", cluster=0),
    )
    journal.ended(5, 2, again=False)
    directory.stderr(0, 5).write_text("error: samples: unknown key\n")
    journal.ended(6, 1, again=False)
    directory.stderr(0, 6).write_text("error: root://one//store/tt6.root: timed out\n")
    return directory


def again(directory: JobDir):
    return {s.jobs: (s.resources, s.overrides) for s in directory.submissions()[1:] if s.state == "submitted"}


EXPECTED = {
    (2,): (replace(RESOURCES, flavour="workday", runtime=28_800), ()),
    (3,): (RESOURCES, ()),
    (4,): (replace(RESOURCES, memory=4000, cores=2), ()),
    (6,): (RESOURCES, ("redirectors=[root://two//,root://one//]",)),
}


def test_what_is_missing_gets_what_it_lacked(directory, target, capsys):
    resubmit(directory.path)
    assert again(directory) == EXPECTED
    assert target.withdrawn == [4]
    assert "job 5 is not tried again: permanent: exit code 2: error: samples: unknown key" in capsys.readouterr().err


def test_second_call_finds_nothing_but_the_mistake(directory):
    resubmit(directory.path)
    with pytest.raises(UserError, match="--permanent"):
        resubmit(directory.path)
    assert again(directory) == EXPECTED
    resubmit(directory.path, permanent=True)
    assert again(directory) == EXPECTED | {(5,): (RESOURCES, ())}
    resubmit(directory.path)
    assert len(again(directory)) == 5


@pytest.mark.parametrize(
    "places", [["before"], ["after"], ["withdrawn"], ["before", "before", "after", "after", "withdrawn"]]
)
def test_killed_anywhere_it_submits_nothing_twice(directory, target, places):
    target.dies_at = list(places)
    for _ in range(len(places)):
        with pytest.raises(SystemExit):
            resubmit(directory.path)
    resubmit(directory.path)
    submitted = [number for jobs in again(directory) for number in jobs]
    assert sorted(submitted) == [2, 3, 4, 6]
    assert again(directory) == EXPECTED
    assert all(s.state in (JobState.DONE, *ACTIVE) for s in JobSurvey(directory).look() if s.job.number != 5)


def test_what_grew_goes_on_growing(tmp_path, target):
    directory = make(tmp_path / "jobs", count=1)
    for attempt in range(3):
        submit(directory, [0]) if attempt == 0 else None
        log(directory, attempt).executing(0)
        log(directory, attempt).ended(0, 137, again=False)
        resubmit(directory.path)
    assert [s.resources.memory for s in directory.submissions()] == [2000, 4000, 8000, 16_000]
    assert directory.submissions()[-1].resources.cores == 8


@pytest.mark.parametrize(("start", "end"), [("10:00:00", "05:00:00"), ("05:00:00", "10:00:00")])
def test_clock_that_jumps_lets_nothing_be_done_twice(tmp_path, target, start, end):
    directory = make(tmp_path / "jobs", count=3)
    submit(directory)
    for process in range(3):
        tell(directory, 0, event(0, process, "Job submitted from host: <h>", "23:00:00"))
        tell(directory, 0, event(1, process, "Job executing on host: <h>", start))
    for process, code in enumerate((0, 1)):
        text = f"Job terminated.\n\t(1) Normal termination (return value {code})"
        tell(directory, 0, event(5, process, text, end))
    write_part(directory, 0)
    resubmit(directory.path)
    assert again(directory) == {(1,): (RESOURCES, ())}
    resubmit(directory.path)
    assert len(directory.submissions()) == 2


def test_redirectors_go_round(tmp_path, target):
    directory = make(tmp_path / "jobs", count=1)
    submit(directory)
    for attempt in range(2):
        log(directory, attempt).executing(0)
        log(directory, attempt).ended(0, 1, again=False)
        directory.stderr(attempt, 0).write_text(f"error: {PATH}: timed out\n")
        resubmit(directory.path)
    words = [s.overrides for s in directory.submissions()]
    assert words == [(), ("redirectors=[root://two//,root://one//]",), ("redirectors=[root://one//,root://two//]",)]


def test_longest_flavour_has_no_next(tmp_path, target):
    directory = make(tmp_path / "jobs", count=1)
    submit(directory, resources=replace(RESOURCES, flavour="nextweek", runtime=604_800))
    tell(directory, 0, event(9, 0, "Job was aborted.\n\twall time exceeded"))
    with pytest.raises(UserError, match="finer"):
        resubmit(directory.path)


def test_own_runtime_doubles(tmp_path, target):
    directory = make(tmp_path / "jobs", count=1)
    submit(directory, resources=replace(RESOURCES, flavour=None, runtime=600))
    tell(directory, 0, event(9, 0, "Job was aborted.\n\twall time exceeded"))
    resubmit(directory.path)
    assert directory.submissions()[1].resources.runtime == 1200


def test_damaged_output_is_made_again(tmp_path, target):
    directory = make(tmp_path / "jobs", count=2)
    submit(directory)
    for process in (0, 1):
        log(directory).executing(process)
        log(directory).ended(process, 0, again=False)
        write_part(directory, process)
    (directory.parts / "part-00001" / "shards" / "tt-00001.h5").unlink()
    resubmit(directory.path)
    assert list(again(directory)) == [(1,)]


def test_what_collect_names_is_brought_again(tmp_path, target):
    directory = make(tmp_path / "jobs", count=2)
    submit(directory)
    for process in (0, 1):
        log(directory).executing(process)
        write_part(directory, process)
        log(directory).ended(process, 0, again=False)
    file = directory.parts / "part-00001" / "shards" / "tt-00001.h5"
    file.write_bytes(file.read_bytes().swapcase())  # flipped bits: the size says nothing
    resubmit(directory.path)
    assert again(directory) == {}

    def give(words):
        raise DataError("a checksum differs")

    with pytest.raises(DataError, match="job 1: its part was damaged and set aside: run 'nanoforge resubmit"):
        collect(directory.path, tmp_path / "out", give=give)
    resubmit(directory.path)
    assert list(again(directory)) == [(1,)]


def test_jobs_in_the_queue_whose_log_is_gone_are_left_alone(tmp_path, target, capsys):
    directory = make(tmp_path / "jobs", count=2)
    target.submit(directory, [0, 1], RESOURCES)
    directory.event_log(0).unlink()
    resubmit(directory.path)
    assert again(directory) == {}
    assert "left alone" in capsys.readouterr().err
    target.queued.clear()
    resubmit(directory.path)
    assert list(again(directory)) == [(0, 1)]


def test_nothing_missing_is_no_error(tmp_path, target, nanoforge):
    directory = make(tmp_path / "jobs", count=1)
    write_part(directory, 0)
    answer = nanoforge("resubmit", directory.path)
    assert answer.returncode == 0
    assert "nothing to submit again" in answer.stderr


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    """A DAG that ended: of the conversion one job was too slow and one ran out of memory, the training never began."""
    calls = []
    monkeypatch.setattr(dag, "resubmit", lambda path, resources: calls.append(dict(resources)))
    folder = tmp_path / "all"
    folder.mkdir()
    (folder / DAG).touch()
    convert = make(folder / "convert", count=3)
    submit(convert)
    write_part(convert, 0)
    tell(convert, 0, event(9, 1, "Job was aborted.\n\twall time exceeded"))
    log(convert).executing(2)
    log(convert).ended(2, 137, again=False)
    train = make(folder / "train", count=1, stage="train")
    manage(folder, "Job terminated.\n\t(1) Normal termination (return value 1)")
    return convert, train, calls


def manage(folder, end):
    events = [event(0, 0, "Job submitted from host: <h>"), event(1, 0, "Job executing on host: <h>"), event(5, 0, end)]
    (folder / f"{DAG}.dagman.log").write_text("".join(f"{text}\n...\n" for text in events))


def test_pipeline_goes_on_with_what_its_stages_lacked(pipeline):
    convert, _, calls = pipeline
    resubmit(convert.path.parent)
    more = replace(RESOURCES, flavour="workday", runtime=28_800, memory=4000, cores=2)
    assert calls == [{"convert": more, "train": RESOURCES}]


def test_running_pipeline_is_left_alone(pipeline):
    convert, _, calls = pipeline
    text = (convert.path.parent / f"{DAG}.dagman.log").read_text()
    (convert.path.parent / f"{DAG}.dagman.log").write_text(text[: text.index("005 (")])
    with pytest.raises(UserError, match="still runs"):
        resubmit(convert.path.parent)
    assert calls == []


def test_mistake_in_a_pipeline_is_named(pipeline):
    convert, _, calls = pipeline
    log(convert).executing(1)
    log(convert).ended(1, 2, again=False)
    with pytest.raises(UserError, match="job 1 ended with a mistake"):
        resubmit(convert.path.parent)
    resubmit(convert.path.parent, permanent=True)
    assert len(calls) == 1


def test_pipeline_whose_last_merge_failed_goes_on_and_a_whole_one_does_not(pipeline, capsys):
    convert, train, calls = pipeline
    for directory, number in ((convert, 1), (convert, 2), (train, 0)):
        write_part(directory, number)
    resubmit(convert.path.parent)
    assert calls == [{}]
    manage(convert.path.parent, "Job terminated.\n\t(1) Normal termination (return value 0)")
    resubmit(convert.path.parent)
    assert calls == [{}]
    assert "nothing to submit again" in capsys.readouterr().err
