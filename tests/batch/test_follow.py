"""Following a job: what is asked and when, in a world whose clock the test turns."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from rayhpc.batch import folder as job_folders
from rayhpc.batch.errors import SchedulerError
from rayhpc.batch.folder import JobFolder, JobRecord, Summary
from rayhpc.batch.follow import Follower, World
from rayhpc.batch.job_status import JobStatus, State
from rayhpc.batch.pace import Pace
from rayhpc.exit_codes import ExitCode

PENDING = JobStatus("7", State.PENDING, "PENDING", "the nodes it needs are busy")
RUNNING = JobStatus("7", State.RUNNING, "RUNNING", nodes="node[1-2]")


class Stage:
    """A world in which things happen at given seconds."""

    def __init__(self, base: Path, array: list[int] | None = None) -> None:
        self.folder: JobFolder = job_folders.create(base)
        self.folder.set_record(JobRecord("slurm", "t", ["t"], 2, 0.0, array=array or []))
        self.folder.set_id("7")
        self.time = 0.0
        self.asked: list[float] = []
        self.said: list[str] = []
        self.shown = b""
        self.cancelled = False
        self.lines: list[str] = []
        self.events: list[tuple[float, object]] = []
        self.answer: JobStatus | Exception | None = PENDING

    def at(self, seconds: float, event: object) -> None:
        self.events.append((seconds, event))

    def run(self) -> int:
        world = World(
            self._ask, self._cancel, self._emit, self.said.append, "SLURM", self._now, self._pause
        )
        world.show = self.lines.append
        return Follower(self.folder, world).run()

    def _now(self) -> float:
        return self.time

    def _pause(self, seconds: float) -> None:
        self.time += seconds
        assert self.time < 100_000, "it follows for ever"
        while self.events and self.events[0][0] <= self.time:
            event = self.events.pop(0)[1]
            event() if callable(event) else setattr(self, "answer", event)

    def _ask(self) -> JobStatus | None:
        self.asked.append(self.time)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def _emit(self, stream: str, data: bytes) -> None:
        self.shown += data

    def _cancel(self) -> None:
        self.cancelled = True

    def write(self, data: str) -> None:
        with open(self.folder.path / "stdout", "a") as file:
            file.write(data)

    def end(self, code: int) -> None:
        self.folder.set_summary(Summary(code, 0.0, self.time))


def test_asks_seldom_while_pending_and_never_while_output_comes(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.at(600, lambda: stage.write("started\n"))
    for second in range(610, 1200, 30):
        stage.at(second, lambda: stage.write("."))
    stage.at(1210, lambda: stage.end(3))
    assert stage.run() == 3
    assert all(at < 601 for at in stage.asked)
    gaps = [after - before for before, after in pairwise(stage.asked)]
    assert all(after >= before - 0.5 for before, after in pairwise(gaps))
    assert max(gaps) <= 62
    assert len(stage.asked) <= 16
    assert stage.shown == b"started\n" + b"." * 20
    assert stage.said == ["job 7 is waiting: the nodes it needs are busy"]


def test_a_line_shows_how_long_a_job_has_waited_and_goes_before_anything_is_said(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path)
    stage.at(90, lambda: stage.write("started\n"))
    stage.at(95, lambda: stage.end(0))
    assert stage.run() == 0
    shown = [x for x in stage.lines if x]
    assert shown[0] == "rayhpc: waiting for 0:02"
    assert shown[-1].startswith("rayhpc: waiting for 1:2")
    assert stage.lines[stage.lines.index(shown[-1]) + 1] == ""


def test_a_quick_job_costs_no_question(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.at(0.3, lambda: stage.write("hello\n"))
    stage.at(0.6, lambda: stage.end(0))
    assert stage.run() == 0
    assert stage.asked == []
    assert stage.shown == b"hello\n"


def test_silence_is_looked_into_after_a_minute_then_less(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.answer = RUNNING
    stage.at(0.5, lambda: stage.write("x"))
    stage.at(5000, lambda: stage.end(0))
    assert stage.run() == 0
    assert 60 <= stage.asked[0] <= 62
    assert len(stage.asked) <= 13


def test_a_job_that_vanished_is_reported(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.answer = None
    stage.at(0.5, lambda: stage.write("x"))
    assert stage.run() == ExitCode.SCHEDULER
    assert stage.time < 70
    assert "no longer knows" in stage.said[-1]


def test_a_node_that_failed_is_named(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.answer = JobStatus("7", State.FAILED, "NODE_FAIL", "a node failed", exit_code=1)
    stage.at(0.5, lambda: stage.write("x"))
    assert stage.run() == 1
    assert stage.said[-1] == "job 7 is over (NODE_FAIL): a node failed"


def test_a_folder_that_nodes_do_not_see_is_named(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.answer = JobStatus("7", State.FAILED, "FAILED")
    assert stage.run() == ExitCode.SCHEDULER
    assert "--job-dir" in stage.said[-1]
    assert str(stage.folder.path) in stage.said[-1]
    assert len(stage.asked) == 1


def test_a_hopeless_job_is_given_back(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    reason = "no node has what --constraint asks for"
    stage.answer = JobStatus("7", State.PENDING, "PENDING", reason, hopeless=True)
    assert stage.run() == ExitCode.SCHEDULER
    assert stage.cancelled
    assert stage.said == [f"job 7 can never start, so it is cancelled: {reason}"]


def test_a_requeued_job_is_followed_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.at(0.5, lambda: stage.write("once\n"))
    stage.at(1.0, lambda: stage.end(143))
    stage.at(20.0, RUNNING)
    stage.at(30.0, (stage.folder.path / "summary.json").unlink)
    stage.at(31.0, lambda: stage.write("twice\n"))
    stage.at(32.0, lambda: stage.end(0))
    assert stage.run() == 0
    assert stage.shown == b"once\ntwice\n"
    assert "is to run again" in stage.said[0]


def test_an_outage_of_the_controller_is_no_end(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.answer = SchedulerError("down")
    stage.at(100.0, PENDING)
    stage.at(200.0, lambda: stage.write("x"))
    stage.at(201.0, lambda: stage.end(0))
    assert stage.run() == 0
    assert "the job is not affected: down" in stage.said[0]


def test_an_array_ends_with_its_last_task(tmp_path: Path) -> None:
    stage = Stage(tmp_path, array=[0, 1])

    def end(task: int, code: int) -> None:
        path = stage.folder.path / f"summary.{task}.json"
        path.write_text(f'{{"exit_code": {code}, "started": 0, "ended": 1}}')

    stage.at(1.0, lambda: end(1, 0))
    stage.at(2.0, lambda: end(0, 4))
    assert stage.run() == 4
    assert stage.said[-2:] == ["task 1: exit code 0", "task 0: exit code 4"]


@pytest.mark.parametrize("pending", [True, False])
def test_pace_starts_after_a_second(pending: bool) -> None:
    pace = Pace(10.0)
    assert not pace.is_due(10.9)
    assert pace.is_due(11.0)
    pace.on_answer(11.0, pending)
    assert pace.is_due(13.0) is pending


def test_a_job_that_completes_is_waited_for(tmp_path: Path) -> None:
    """After a signal SLURM says COMPLETING for a while, whether or not it runs the job again."""
    stage = Stage(tmp_path)
    stage.answer = JobStatus("7", State.RUNNING, "COMPLETING", closing=True)
    stage.at(0.5, lambda: stage.end(143))
    stage.at(4.0, JobStatus("7", State.CANCELLED, "CANCELLED"))
    assert stage.run() == 143
    assert 4 <= stage.time < 12
    assert len(stage.asked) <= 5
