"""The runs a node remembers: all of them up to a number, and how many had to go."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from rayhpc.raylet import run_keeper
from rayhpc.raylet.run_keeper import RunKeeper
from rayhpc.runtime.worker.task_log import TaskLog
from rayhpc.wire import runs
from rayhpc.wire.messages import tasks
from rayhpc.wire.messages.task_runs import ReportRuns, RunPage, TaskEvent, TaskRuns


def reports(count: int, each: int) -> Iterator[ReportRuns]:
    """`count` runs, numbered by their ids, in reports of `each`."""
    log = TaskLog()
    for number in range(count):
        tid = number.to_bytes(16, "big") + bytes(12)
        log.note(tasks.Task(tid, b"d", b""), "f", float(number), 0.5, 1)
        if (number + 1) % each == 0:
            yield log.report(7, 9)
    yield log.report(7, 9)


def pages(keeper: RunKeeper, question: TaskRuns) -> list[RunPage]:
    found = [keeper.page(question)]
    while found[-1].following >= 0:
        found.append(keeper.page(TaskRuns(after=found[-1].following)))
    return found


def numbers(found: list[RunPage]) -> list[int]:
    return [int.from_bytes(x.tid[:16], "big") for x in runs.unpack(found)]


def test_all_runs_are_there_in_their_order_however_they_were_reported() -> None:
    for each in (1, 100, 4_000):
        keeper = RunKeeper(100_000)
        for report in reports(9_000, each):
            keeper.add(report)
        found = pages(keeper, TaskRuns())
        assert numbers(found) == list(range(9_000))
        assert found[-1].dropped == 0


def test_the_most_recent_runs_are_kept_and_the_others_counted() -> None:
    keeper = RunKeeper(10_000)
    for report in reports(50_000, 500):
        keeper.add(report)
    found = pages(keeper, TaskRuns())
    kept = numbers(found)
    assert kept == list(range(found[-1].dropped, 50_000))
    assert 10_000 <= len(kept) < 10_000 + run_keeper.CHUNK_BYTES // 32 + 500


def test_what_never_came_counts_as_dropped() -> None:
    keeper = RunKeeper(10)
    keeper.add(ReportRuns(0, 5, b""))
    assert keeper.page(TaskRuns()).dropped == 5


def test_a_large_history_comes_in_pages() -> None:
    keeper = RunKeeper(1_000_000)
    for report in reports(200_000, 4_000):
        keeper.add(report)
    found = pages(keeper, TaskRuns())
    assert len(found) > 2
    assert all(
        sum(map(len, x.chunks)) < run_keeper.PAGE_BYTES + 4 * run_keeper.CHUNK_BYTES for x in found
    )
    assert numbers(found) == list(range(200_000))


def test_the_last_ones_are_asked_for_alone() -> None:
    keeper = RunKeeper(1_000_000)
    for report in reports(100_000, 1_000):
        keeper.add(report)
    last = numbers(pages(keeper, TaskRuns(limit=100)))
    assert last[-100:] == list(range(99_900, 100_000))
    assert len(last) < 10_000


def test_a_remembered_run_costs_few_bytes() -> None:
    size = sum(len(report.data) for report in reports(40_000, 4_000))
    assert size < 40_000 * 33


def test_what_some_runs_alone_have_is_told_with_them() -> None:
    log = TaskLog()
    first, second = b"1" * 16 + b"n" * 12, b"2" * 16 + b"n" * 12
    log.uses = (10_000, 5_000)
    log.note(tasks.Task(first, b"", b"", more=tasks.TaskMore(packed=4_000)), "f", 1.0, 2.0, 3)
    log.waited = 0.75
    took = tuple(tasks.Dependency(x) for x in (first, b"0" * 28))
    log.note(tasks.Task(second, b"", b"", took), "f", 3.0, 1.0, 3)
    log.note(tasks.Task(second, b"", b"", took * 100), "f", 3.0, 1.0, 3)
    (batch,) = runs.batches([log.unreported(11, 22)])
    (group,) = batch.groups
    assert (group.cpus, group.gpus, group.sent, group.sent_bytes) == (10_000, 5_000, 1, 4_000)
    assert array("d", group.waited).tolist() == [0.0, 0.75, 0.0]
    assert array("H", group.source_counts).tolist() == [0, 2, runs.SOURCES_MOST]
    assert group.sources[:32] == first[:16] + b"0" * 16


def test_everything_known_of_a_run_comes_back() -> None:
    log = TaskLog()
    tid, parent, actor = b"t" * 16 + b"n" * 12, b"p" * 28, b"a" * 16
    log.note(tasks.Task(tid, b"", b"", more=tasks.TaskMore(parent=parent)), "f", 1.0, 2.0, 3)
    log.note(tasks.Task(tid, b"", b"", attempt=1), "f", 3.0, 0.25, 3, b"", "ValueError")
    log.note(tasks.Task(b"u" * 16 + b"n" * 12, b"", b""), "f", 4.0, 0.5, 3)
    log.note(tasks.Call(tid, "m", b""), "A.m", 5.0, 0.5, 3, actor)
    waiting = list(runs.unpack([log.unreported(11, 22)]))
    report = log.report(11, 22)
    assert (report.count, report.dropped) == (4, 0)
    assert list(runs.unpack([RunPage([report.data])])) == waiting
    begun = waiting[0].started

    def run(tid: bytes, **more: object) -> TaskEvent:
        plain: dict[str, object] = {"name": "f", "kind": "NORMAL_TASK", "state": "FINISHED"}
        return TaskEvent(tid=tid, **{**plain, "job": 3, "worker": 22, "pid": 11, **more})  # type: ignore[arg-type]

    failed = {"state": "FAILED", "error": "ValueError"}
    assert waiting == [
        run(tid, started=begun, ended=begun + 2.0, parent=parent),
        run(b"u" * 16 + b"n" * 12, started=begun + 3, ended=begun + 3.5),
        run(tid, started=begun + 2, ended=begun + 2.25, attempt=1, **failed),
        run(tid, name="A.m", kind="ACTOR_TASK", started=begun + 4, ended=begun + 4.5, actor=actor),
    ]


def test_whoever_follows_gets_each_run_once_from_wherever_they_left_off() -> None:
    keeper = RunKeeper(1_000_000)
    seen: list[int] = []
    at = 0
    for i, report in enumerate(reports(60_000, 700)):
        keeper.add(report)
        if i % 3:
            continue
        page = keeper.page(TaskRuns(since=at, most=100_000))
        seen += numbers([page])
        at = page.position
    while True:
        page = keeper.page(TaskRuns(since=at, most=100_000))
        seen += numbers([page])
        at = page.position
        assert sum(map(len, page.chunks)) < 100_000 + 2 * run_keeper.CHUNK_BYTES
        if page.following < 0:
            break
    assert seen == list(range(60_000))
    assert keeper.page(TaskRuns(since=at)).chunks in ([], [b""])


def test_whoever_comes_too_late_gets_what_is_left() -> None:
    keeper = RunKeeper(10_000)
    for report in reports(50_000, 500):
        keeper.add(report)
    page = keeper.page(TaskRuns(since=0))
    assert numbers([page])[-1] == 49_999
    assert page.dropped == numbers([page])[0]
