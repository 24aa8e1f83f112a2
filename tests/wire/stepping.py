"""Runs threads one line at a time, in an order that the test decides.

A `Stepper` replaces the locks, threads, clock and sleep of the module under test.  Each of its
threads stops before every line of that module until it is chosen; a thread that waits for a lock
or a condition can be chosen once it may go on.  So a schedule is a list of choices, the same
choices give the same run, and "nobody can go on" is a deadlock that is seen at once.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any

Choose = Callable[[int, list[int], int | None], int]


LIMIT = 20_000


def _always() -> bool:
    return True


class _Stopped(BaseException):
    """Ends a thread whose run is over."""


class Baton:
    """A semaphore of 0 or 1 that costs little."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.acquire = self._lock.acquire

    def release(self) -> None:
        if self._lock.locked():
            self._lock.release()


class SteppedThread:
    """A thread that runs only when chosen."""

    def __init__(self, stepper: Stepper, target: Callable[[], object]) -> None:
        self.stepper = stepper
        self.number = len(stepper.threads)
        self.go = Baton()
        self.may: Callable[[], bool] = _always
        self.done = False
        self.error: BaseException | None = None
        self._target = target
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.ident: int | None = None
        stepper.threads.append(self)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        if threading.current_thread() in [x._thread for x in self.stepper.threads]:
            self.stepper.block(lambda: self.done)
        else:
            self._thread.join(60)

    def _run(self) -> None:
        self.ident = threading.get_ident()
        self.stepper.by_ident[self.ident] = self
        try:
            self.go.acquire()
            self.stepper.check()
            sys.settrace(self.stepper.trace)
            self._target()
        except _Stopped:
            pass
        except BaseException as error:
            self.error = error
        finally:
            sys.settrace(None)
            self.done = True
            self.stepper.pass_on(None)


class SteppedLock:
    """A lock of the module under test."""

    stepper: Stepper

    def __init__(self) -> None:
        self.held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        stepper = self.stepper
        if timeout < 0:
            stepper.block(lambda: not self.held)
        else:  # the time may be over at any moment
            stepper.block(lambda: True)
            if self.held:
                return False
        self.held = True
        return True

    def release(self) -> None:
        assert self.held
        self.held = False

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


class Stepper:
    """One run of some threads.

    Args:
        module: whose lines are stepped through; its `Lock`, `Thread` and `time` are replaced.
        choose: given the step, the threads that can go on and the last one, the next.
    """

    def __init__(self, module: ModuleType, choose: Choose, patch: Any) -> None:
        self._file = module.__file__
        self._choose = choose
        self.threads: list[SteppedThread] = []
        self.by_ident: dict[int, SteppedThread] = {}
        self._finished = Baton()
        self._needed: list[SteppedThread] = []
        self._last: int | None = None
        self.failure = ""
        self.stopped = False
        self.steps = 0
        self.clock = 0.0
        lock = type("Lock", (SteppedLock,), {"stepper": self})
        patch.setattr(module, "Lock", lock)
        patch.setattr(module, "Thread", self._make_thread)
        patch.setattr(module, "time", self)

    # -- what stands for `time` ----------------------------
    def monotonic(self) -> float:
        self.clock += 0.001
        return self.clock

    def sleep(self, seconds: float) -> None:
        self.block(lambda: True)

    # -- for the threads ----------------------------
    def _make_thread(self, *, target: Any, args: Any, name: str, daemon: bool) -> SteppedThread:
        return SteppedThread(self, lambda: target(*args))

    def thread(self, target: Callable[[], object]) -> SteppedThread:
        thread = SteppedThread(self, target)
        thread.start()
        return thread

    def check(self) -> None:
        if self.stopped:
            raise _Stopped

    def block(self, may: Callable[[], bool]) -> None:
        """Wait until chosen, which happens only when `may()`."""
        me = self.by_ident.get(threading.get_ident())
        if me is None:  # the test itself, before or after the run
            assert may()
            return
        self.check()
        me.may = may
        if not self.pass_on(me):
            me.go.acquire()
        me.may = _always
        self.check()

    def pass_on(self, me: SteppedThread | None) -> bool:
        """Choose who goes on and let it; True: it is the calling thread."""
        if self.stopped:
            return False
        ready = [x.number for x in self.threads if not x.done and x.may()]
        if all(x.done for x in self._needed):
            return self._finish("")
        if not ready:
            return self._finish(f"deadlock after {self.steps} steps")
        if self.steps >= LIMIT:
            return self._finish("livelock")
        self._last = self._choose(self.steps, ready, self._last)
        self.steps += 1
        chosen = self.threads[self._last]
        if chosen is me:
            return True
        chosen.go.release()
        return False

    def _finish(self, failure: str) -> bool:
        self.failure = failure
        self.stopped = True
        self._finished.release()
        return False

    def trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename != self._file:
            return None
        if event == "line" and not self.stopped:
            self.block(_always)
        return self.trace

    # -- for the test ----------------------------
    def run(self, needed: list[SteppedThread]) -> None:
        """Step until `needed` have ended.

        Raises:
            AssertionError: they cannot go on, or one failed.
        """
        self._needed = needed
        self.pass_on(None)
        self._finished.acquire()
        for thread in self.threads:
            thread.go.release()
            thread.join()
        for thread in self.threads:
            if thread.error is not None:
                raise thread.error
        assert not self.failure, self.failure


def at_random(seed: int) -> Choose:
    """Choose anew at every step, or seldom (half of the seeds)."""
    rng = random.Random(seed)
    stay = 0.9 if seed % 2 else 0.0

    def choose(step: int, ready: list[int], last: int | None) -> int:
        if last in ready and rng.random() < stay:
            return last
        return rng.choice(ready)

    return choose


def with_one_switch(at: int, to: int) -> Choose:
    """Run each thread as long as it can, but at step `at` switch to the thread `to`."""

    def choose(step: int, ready: list[int], last: int | None) -> int:
        if step == at and to in ready:
            return to
        return last if last in ready else ready[0]

    return choose
