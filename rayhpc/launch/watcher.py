"""A thread that looks at a cluster for as long as somebody wants to see it.

Used by `rayhpc dashboard`.  While nobody looks it asks nothing, and only notices the cluster's end.
The report's views are worked out again so seldom that they take a fiftieth of one core at the most.
"""

from __future__ import annotations

import queue
import shlex
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from rayhpc.exit_codes import LaunchError, NoAnswerError
from rayhpc.launch import py_spy
from rayhpc.launch.last_look import actor_facts
from rayhpc.launch.live_logs import LiveLogs
from rayhpc.launch.live_look import LiveLook
from rayhpc.launch.node_config import rayhpc_version
from rayhpc.launch.observer import Observer
from rayhpc.observe.facts import snapshot
from rayhpc.observe.live.look import Look
from rayhpc.observe.live.now import Now, now
from rayhpc.observe.recording import VERSION, JobFacts, Recording
from rayhpc.observe.snapshot import Snapshot
from rayhpc.observe.views.everything import Views, views
from rayhpc.wire.address import node_of, raylet_of
from rayhpc.wire.messages.cluster import Workers
from rayhpc.wire.messages.listings import WorkerRow
from rayhpc.wire.messages.looking import Stacks, ThreadStack

LOOK_EVERY_S = 2.0
# The runs of which the report's views are made.
RECENT_RUNS = 50_000
_VIEWS_EVERY_S = 3.0
_VIEWS_PART = 0.02
_TURN_S = 0.1
_ANSWER_S = 3.0

T = TypeVar("T")


class Watcher:
    """The thread, and what may be asked of it.

    Args:
        session_dir: of this node's session.
        address: the head's, as people write it.
        time_limit: when the allocation ends, in seconds since 1970 (0: unknown).
        deliver: called in the thread with what a look has found (None: views as before).
        silent: called in the thread when a look had no answer: the head may come back.
        ended: called in the thread, at last, with why the cluster can be seen no more.
    """

    def __init__(
        self,
        session_dir: str,
        address: str,
        time_limit: float,
        deliver: Callable[[Now, Views | None], None],
        silent: Callable[[str], None],
        ended: Callable[[str], None],
    ) -> None:
        self.is_wanted = threading.Event()
        self._observer = Observer(session_dir)
        self._look = LiveLook(self._observer, address, RECENT_RUNS, time_limit)
        self._logs = LiveLogs(self._observer)
        self._deliver = deliver
        self._silent = silent
        self._ended = ended
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._seen: Look | None = None
        self._views_due = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rayhpc-watcher", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, and leave the cluster."""
        self._is_over.set()
        self._thread.join()

    # -- questions: each is answered in the thread ------------------------------------------------
    def log(self, text: str, most: int) -> Future[Any]:
        """The latest log lines in which a text is, by node."""
        return self._soon(lambda: [x._asdict() for x in self._logs.search(text, most)])

    def workers(self, node: int) -> Future[Any]:
        """A node's workers and programs."""

        def ask() -> Any:
            rows = self._observer.ask(Workers(), list[WorkerRow], raylet_of(node), _ANSWER_S)
            return [
                {
                    "pid": x.pid,
                    "kind": x.kind,
                    "state": x.state,
                    "actor": x.actor.hex(),
                    # A number that JavaScript would round.
                    "address": str(x.address),
                }
                for x in rows
                if x.kind in ("worker", "driver")
            ]

        return self._soon(ask)

    def stacks(self, address: int) -> Future[Any]:
        """Where the threads of a process are now."""
        return self._soon(lambda: self._stacks(address))

    def snapshot(self) -> Future[Snapshot | None]:
        """The latest runs as a snapshot; None: nothing was seen yet."""
        return self._soon(lambda: None if self._seen is None else _snapshot(self._seen))

    def _soon(self, job: Callable[[], T]) -> Future[T]:
        found: Future[T] = Future()
        self._jobs.put((job, found))
        return found

    def _stacks(self, address: int) -> Any:
        found = self._observer.ask_each([address], lambda _: Stacks(), list[ThreadStack], _ANSWER_S)
        if address in found:
            return {"threads": [{"name": x.name, "frames": x.frames} for x in found[address]]}
        seen = self._from_outside(address)
        if seen:
            return {"threads": [{"name": "all threads, by py-spy", "frames": seen}]}
        raise LaunchError(
            "it does not answer: it has ended, or a call in compiled code holds its interpreter "
            "(on its node, `py-spy dump --pid PID` shows which)"
        )

    def _from_outside(self, address: int) -> str:
        """Where a process of this node is that does not answer; empty: it is not to be seen."""
        raylet = self._observer.raylet
        if raylet_of(node_of(address)) != raylet:
            return ""
        rows = self._observer.ask(Workers(), list[WorkerRow], raylet, _ANSWER_S)
        return next((py_spy.dump(x.pid) for x in rows if x.address == address), "")

    # -- the thread -------------------------------------------------------------------------------
    def _run(self) -> None:
        try:
            while not self._is_over.is_set():
                if self.is_wanted.is_set():
                    try:
                        self._turn()
                    except NoAnswerError as error:
                        self._silent(str(error))
                self._pause(LOOK_EVERY_S)
        except LaunchError as error:
            self._ended(str(error))
        except Exception as error:
            # Nobody else hears of it, and a page that is told nothing more must say so.
            self._ended(f"looking at the cluster has failed: {error!r}")
            raise
        finally:
            self._observer.close()

    def _turn(self) -> None:
        is_due = time.monotonic() >= self._views_due
        look = self._seen = self._look.look(with_history=is_due)
        found: Views | None = None
        if is_due:
            began = time.monotonic()
            found = views(_snapshot(look))
            took = time.monotonic() - began
            self._views_due = time.monotonic() + max(_VIEWS_EVERY_S, took / _VIEWS_PART)
        self._deliver(now(look), found)

    def _pause(self, seconds: float) -> None:
        """Answer questions meanwhile; shorter if somebody comes who wants to see."""
        was_wanted = self.is_wanted.is_set()
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._is_over.is_set():
            self._observer.wait(_TURN_S)
            while not self._jobs.empty():
                _answer(*self._jobs.get())
            if self.is_wanted.is_set() and not was_wanted:
                self._views_due = 0.0
                return


def _answer(job: Callable[[], Any], found: Future[Any]) -> None:
    try:
        found.set_result(job())
    except Exception as error:  # for whoever has asked
        found.set_exception(error)


def _snapshot(look: Look) -> Snapshot:
    """The cluster so far as a report sees it, of the latest runs alone."""
    programs = [x.job.entrypoint for x in look.jobs if x.alive]
    try:
        command = shlex.split(programs[0]) if len(programs) == 1 else []
    except ValueError:
        command = programs
    job = JobFacts(
        command=command,
        started=look.state.started,
        ended=look.at,
        time_limit=look.time_limit,
        version=rayhpc_version(),
    )
    return snapshot(
        Recording(
            version=VERSION,
            job=job,
            nodes=look.state.nodes,
            history=look.history,
            actors=[actor_facts(x) for x in look.actors],
            ended_workers=[],
            demand=look.state.demand,
            pages=look.tally.recent(),
        )
    )
