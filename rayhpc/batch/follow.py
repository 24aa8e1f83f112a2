"""Follows a job from the queue to its end, on the user's terminal.

Used by schedulers whose jobs run elsewhere.  Reads the job's folder; asks the batch system only
when `pace` says so.  Clock, pauses and queries are passed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from rayhpc.batch.errors import SchedulerError
from rayhpc.batch.folder import JobFolder, Summary
from rayhpc.batch.job_status import JobStatus, Say, State
from rayhpc.batch.pace import Pace
from rayhpc.batch.tail import Tail
from rayhpc.exit_codes import ExitCode, in_words

# A wait that ends sooner shows no line.
_SHOWN_AFTER_S = 2
# How long output may stay in a network file system's caches after the job has ended.
_SETTLE_S = 0.2
_QUICK_S = 0.1
_SLOW_S = 1.0
_LONGEST_CONFIRM_S = 10.0
# From this exit code on a signal ended the job, so the batch system may be about to requeue it.
_SIGNALLED = 128


@dataclass
class World:
    """The follower's interface to the outside world; tests have their own.

    `title` is the batch system's name in sentences; `has_news` is whether a query costs nothing
    and is worthwhile now; `show` displays a line that the next one replaces (empty: none).
    """

    ask: Callable[[], JobStatus | None]
    cancel: Callable[[], None]
    emit: Callable[[str, bytes], None]
    say: Say
    title: str
    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    has_news: Callable[[], bool] = lambda: False
    show: Callable[[str], None] = lambda text: None


class Follower:
    """Follows one job, one task of an array, or all its tasks, until the end."""

    def __init__(self, folder: JobFolder, world: World) -> None:
        self._folder = folder
        self._world = world
        self._record = folder.record()
        self._tasks: list[int | None] = list(self._record.array) or [None]
        self._pace = Pace(world.now())
        self._told = ""
        self._ended: dict[int | None, Summary] = {}
        self._stale: dict[int | None, Summary] = {}
        self._tails: list[tuple[str, Tail]] = []
        self._last_change = world.now()
        self._confirm_at, self._confirm_every = 0.0, 0.5
        self._pending_since: float | None = None

    def run(self) -> int:
        """Follow to the end; returns the exit code, for an array the highest of its tasks."""
        with ExitStack() as stack:
            for stream in ("stdout", "stderr"):
                # For a whole array only the ends are reported, not the output of all its tasks at
                # once.
                if len(self._tasks) == 1:
                    tail = Tail(self._folder.output(stream, self._tasks[0]))
                    stack.callback(tail.close)
                    self._tails.append((stream, tail))
            stack.callback(self._world.show, "")
            self._drain()  # output from an earlier run
            while True:
                code = self._step()
                if code is not None:
                    return code
                self._show_wait()
                quiet = self._world.now() - self._last_change
                self._world.pause(_QUICK_S if quiet < 5 * _SLOW_S else _SLOW_S)

    def _step(self) -> int | None:
        """Check everything once; returns the exit code when all is over."""
        moved = self._drain()
        moved |= self._look_for_ends()
        now = self._world.now()
        if moved:
            self._last_change = now
            self._pace.on_output(now)
        if len(self._ended) == len(self._tasks):
            return self._conclude()
        if self._pace.is_due(now) or self._world.has_news():
            return self._question()
        return None

    def _question(self) -> int | None:
        try:
            status = self._world.ask()
        except SchedulerError as error:
            self._tell(f"{self._world.title} does not answer, the job is not affected: {error}")
            self._pace.on_answer(self._world.now(), pending=False)
            return None
        self._pace.on_answer(self._world.now(), status is not None and _changes_soon(status))
        if status is None:
            return self._gone(None)
        if status.state.ended:
            return self._gone(status)
        if status.hopeless:
            self._world.cancel()
            self._world.say(f"job {status.id} can never start, so it is cancelled: {status.reason}")
            return ExitCode.SCHEDULER
        if status.state is not State.PENDING:
            self._pending_since = None
        elif self._pending_since is None:
            self._pending_since = self._world.now()
        self._tell(_in_words(status))
        return None

    def _show_wait(self) -> None:
        """How long the job has been waiting, once that is worth a look."""
        if self._pending_since is None:
            return
        seconds = int(self._world.now() - self._pending_since)
        if seconds >= _SHOWN_AFTER_S:
            self._world.show(f"rayhpc: waiting for {seconds // 60}:{seconds % 60:02}")

    def _conclude(self) -> int | None:
        """All summaries are there; a job that a signal ended may still be requeued."""
        worst = max(summary.exit_code for summary in self._ended.values())
        if worst > _SIGNALLED and not self._is_final():
            return None
        self._world.pause(_SETTLE_S)
        self._drain()
        return worst

    def _is_final(self) -> bool:
        """Whether a job that a signal has ended is over, or about to run again."""
        now = self._world.now()
        if now < self._confirm_at:
            return False
        try:
            status = self._world.ask()
        except SchedulerError:
            return True
        if status is None or status.state.ended:
            return True
        self._confirm_every = min(2 * self._confirm_every, _LONGEST_CONFIRM_S)
        self._confirm_at = now + self._confirm_every
        if not status.closing:
            # Its next run replaces these; until then they belong to the previous one.
            self._stale.update(self._ended)
            self._ended.clear()
            self._pace.on_answer(now, status.state is State.PENDING)
            self._tell(f"the job is to run again: {_in_words(status)}")
        return False

    def _gone(self, status: JobStatus | None) -> int:
        """The batch system says it is over, but the folder does not know yet, or never will."""
        self._world.pause(_SETTLE_S)
        self._drain()
        self._look_for_ends()
        if len(self._ended) == len(self._tasks):
            return max(summary.exit_code for summary in self._ended.values())
        self._world.show("")
        self._world.say(self._how_it_ended(status))
        if status is not None and status.state is State.CANCELLED:
            return ExitCode.CANCELLED
        return (status.exit_code if status else None) or ExitCode.SCHEDULER

    def _how_it_ended(self, status: JobStatus | None) -> str:
        if status is None:
            said = f"{self._world.title} no longer knows the job, and it left no summary"
        else:
            said = f"job {status.id} is over ({status.word})"
            said += f": {status.reason}" if status.reason else ""
        silent = not any(tail.exists for _, tail in self._tails)
        if silent and (status is None or status.state is not State.CANCELLED):
            said += (
                f"\nit never wrote to {self._folder.path}: the nodes may not see that directory; "
                "name one on a file system that they share with this machine with --job-dir"
            )
        return said

    def _drain(self) -> bool:
        moved = False
        for stream, tail in self._tails:
            while found := tail.read():
                self._pending_since = None
                self._world.show("")
                self._world.emit(stream, found)
                moved = True
        return moved

    def _look_for_ends(self) -> bool:
        moved = False
        for task in self._tasks:
            summary = self._folder.summary(task) if task not in self._ended else None
            if summary is not None and summary != self._stale.get(task):
                self._ended[task] = summary
                moved = True
                self._world.show("")
                if task is not None:
                    self._world.say(f"task {task}: {in_words(summary.exit_code)}")
        return moved

    def _tell(self, sentence: str) -> None:
        """Say it, unless it was the last thing said."""
        if sentence and sentence != self._told:
            self._told = sentence
            self._world.show("")
            self._world.say(sentence)


def _changes_soon(status: JobStatus) -> bool:
    """Whether the next change will not show in the folder."""
    return status.state is State.PENDING or status.closing


def _in_words(status: JobStatus) -> str:
    if status.state is State.PENDING:
        why = f": {status.reason}" if status.reason else ""
        expected = ""
        if status.start is not None:
            at = time.strftime("%d %b %H:%M:%S", time.localtime(status.start))
            expected = f"; expected to start {at}"
        return f"job {status.id} is waiting{why}{expected}"
    return f"job {status.id} runs on {status.nodes or 'its nodes'}"
