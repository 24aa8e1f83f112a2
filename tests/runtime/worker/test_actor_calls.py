"""Which calls of an actor run, in what order, and what a cancel or the end makes of them."""

from __future__ import annotations

from typing import Any

from rayhpc.runtime.worker.actor_calls import ActorCalls, Item
from rayhpc.wire.messages import tasks

CALLER = 9


class Store:
    """A store whose objects arrive when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.cancelled: list[bytes] = []

    def named_in(self, deps: tuple[tasks.Dependency, ...]) -> list[bytes]:
        return [dep.oid for dep in deps]

    def bring(self, tickets: Any) -> None:
        self.asked.append(tickets)

    def cancel(self, oids: list[bytes], promises: Any) -> None:
        self.cancelled += oids

    def arrive(self, index: int = 0) -> None:
        for promise in self.asked.pop(index).promises:
            promise.fill("view")


class Lanes:
    def __init__(self) -> None:
        self.started: list[tuple[str, int]] = []
        self.waiting: set[bytes] = set()

    def constructor(self, cls: Any) -> Any:
        return cls

    def start(self, group: str, items: list[Item]) -> None:
        self.started += [(group, item.call.tid[0]) for item in items]

    def cancel(self, tid: bytes) -> bool:
        return tid in self.waiting

    def clear(self) -> None:
        self.waiting.clear()


class Side:
    def __init__(self, lanes: Lanes | None, **limits: int) -> None:
        self.store = Store()
        self.lanes = lanes
        self.cancelled: list[tuple[int, bytes]] = []
        self.behind: set[int] = set()
        self.calls = ActorCalls(
            {"": 2, **limits},
            self.store,  # type: ignore[arg-type]
            lambda caller, tid: self.cancelled.append((caller, tid)),
            lambda caller: caller in self.behind,
        )

    def call(self, *numbers: int, far: bool = False, group: str = "", again: bool = False) -> None:
        deps = (tasks.Dependency(b"object"),) if far else ()
        more = tasks.TaskMore(again=True) if again else None
        made = [tasks.Call(bytes([n]), "m", b"", deps, group=group, more=more) for n in numbers]
        self.calls.enqueue(CALLER, made)

    def started(self) -> list[int]:
        assert self.lanes is not None
        return [number for _, number in self.lanes.started]


def test_calls_that_came_before_the_constructor_ended_start_in_their_order() -> None:
    side = Side(Lanes(), io=1)
    side.call(1, 2)
    side.call(3, group="io")
    assert side.calls.has_work()
    side.calls.constructed(side.lanes)
    assert side.lanes is not None
    assert side.lanes.started == [("", 1), ("", 2), ("io", 3)]


def test_a_call_whose_arguments_are_here_overtakes_one_that_waits() -> None:
    side = Side(Lanes())
    side.calls.constructed(side.lanes)
    side.call(1, far=True)
    side.call(2)
    assert side.started() == [2]
    side.store.arrive()
    assert side.started() == [2, 1]


def test_no_more_arguments_are_fetched_at_a_time_than_calls_run() -> None:
    side = Side(Lanes())
    side.calls.constructed(side.lanes)
    side.call(1, 2, 3, 4, far=True)
    assert len(side.store.asked) == 2
    side.store.arrive(1)
    assert side.started() == [2]
    assert len(side.store.asked) == 2
    # What makes a lost object again may be what the others wait for.
    side.call(5, far=True, again=True)
    side.store.arrive(2)
    assert side.started() == [2, 5]


def test_what_has_not_started_is_cancelled_wherever_it_waits() -> None:
    side = Side(Lanes())
    assert side.lanes is not None
    side.call(1)
    side.calls.cancel(CALLER, b"\x01")
    side.calls.constructed(side.lanes)
    side.call(2, 3, 4, far=True)
    side.calls.cancel(CALLER, b"\x04")  # not fetched yet
    side.calls.cancel(CALLER, b"\x02")  # being fetched
    side.call(5)
    side.lanes.waiting.add(b"\x05")
    side.calls.cancel(CALLER, b"\x05")
    assert [tid[0] for _, tid in side.cancelled] == [1, 4, 2, 5]
    assert side.store.cancelled == [b"object"]
    side.store.arrive()  # of the one that was cancelled: comes to nothing
    side.store.arrive()
    assert side.started() == [5, 3]


def test_what_runs_is_only_told() -> None:
    side = Side(None)
    side.calls.constructed(None)
    side.call(1, 2)
    item = side.calls.take()
    assert item is not None
    side.calls.cancel(CALLER, item.call.tid)
    assert side.cancelled == []
    assert side.calls.is_cancelled(b"\x01")
    assert side.calls.ended(b"\x01")
    assert not side.calls.is_cancelled(b"\x01")


def test_the_actor_may_leave_when_the_last_call_has_ended() -> None:
    side = Side(Lanes())
    side.calls.constructed(side.lanes)
    side.call(1)
    side.call(2, far=True)
    side.calls.end_when_done("nobody holds it")
    side.calls.ended(b"\x01")
    assert not side.calls.may_leave()
    side.store.arrive()
    side.calls.ended(b"\x02")
    assert side.calls.may_leave()
    assert side.calls.has_work()


def test_once_it_is_stopped_no_call_starts() -> None:
    side = Side(Lanes())
    side.calls.constructed(side.lanes)
    side.call(1, far=True)
    side.calls.stop()
    side.call(2)
    side.store.arrive()
    assert side.started() == []
    assert side.store.cancelled == [b"object"]


def test_the_calls_of_a_caller_that_is_behind_wait_in_their_order() -> None:
    side = Side(None)
    side.calls.constructed(None)
    side.call(1, 2, 3)
    side.behind.add(CALLER)
    other = tasks.Call(b"\x09", "m", b"")
    side.calls.enqueue(CALLER + 1, [other])
    side.calls.hold_back_waiting()
    item = side.calls.take()
    assert item is not None
    assert item.call is other
    side.calls.ended(b"\x09")
    assert [x.call.tid[0] for x in side.calls.queued()] == [1, 2, 3]
    side.calls.cancel(CALLER, b"\x02")
    side.calls.end_when_done("the last handle is gone")
    assert not side.calls.may_leave()
    side.behind.clear()
    side.call(4)
    side.calls.hold_back_waiting()  # what is held goes before what comes
    assert not side.calls.waiting
    side.calls.release_held()
    taken = [side.calls.take() for _ in range(3)]
    assert [item.call.tid[0] for item in taken if item is not None] == [1, 3, 4]
    assert side.cancelled == [(CALLER, b"\x02")]


def test_a_lane_gives_back_the_call_of_a_caller_that_is_behind() -> None:
    side = Side(Lanes(), io=1)
    side.calls.constructed(side.lanes)
    side.call(1, group="io")
    assert not side.calls.hold_back(Item(CALLER, tasks.Call(b"\x07", "m", b"")))
    side.behind.add(CALLER)
    assert side.calls.hold_back(Item(CALLER, tasks.Call(b"\x01", "m", b"", group="io")))
    side.behind.clear()
    side.calls.release_held()
    assert side.lanes is not None
    assert side.lanes.started == [("io", 1), ("io", 1)]
    assert not side.calls.held.by_caller
