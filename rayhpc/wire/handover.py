"""Decides which thread may touch a process's sockets and tables: one at a time, and the waiting one
does the I/O itself.

Used by `runtime.process`; nothing else is in here.  The thread that *leads* has the right.  A
thread that waits for a result leads and polls until it arrives.  Other waiting threads *follow*:
they sleep until the leader excuses them because their result has arrived, or until one of them
takes over when the leader leaves.  A thread that wants to act briefly (`lead`) is let in between
two polls.  When nobody has led for 2 ms, a background thread leads and polls; when others lead all
the time but nobody has polled for 0.1 s, it polls once.  This class never polls: the caller's
`pump` does, must include `wake_fd` in its poll, and must `drain` it.

The traps, each of which once caused a hang, and how they are avoided:

* *Always wake.* Whoever wants the lead writes to `wake_fd` whenever it is held; checking whether
  the holder is polling would leave a window between the holder's last check and its poll.
* *No overtaking.* The lead is handed to a specific waiting thread, under `_mutex`, so the thread
  that releases it cannot take it again first.
* *The background returns late*, or every synchronous call would cost a thread switch.
* *But it does return.* A program that calls, fails at once and calls again leads all the time and
  never polls, so the message that would end its failures would stay unread.
* *Check after joining.* A follower calls `done` once more after it has joined: its result may have
  arrived just before, and nobody would tell it.

A finalizer or signal handler may call `wake_waiters` and `wake_leader`, and nothing else of this
class.
"""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections import deque
from collections.abc import Callable
from threading import Lock, Thread, get_ident
from types import TracebackType

logger = logging.getLogger("rayhpc")

REST_S = 0.002
# Reading beside a program that submits continuously costs it up to 40 % of its rate.
UNREAD_S = 0.1
_MOST_REST_S = 1.0

Done = Callable[[], bool]
Pump = Callable[[float | None], None]

# What a sleeping thread is told: nothing yet; lead; your result is there; check yourself; end.
_NOTHING, _LEAD, _DONE, _LOOK, _END = range(5)


class _Seat:
    """A thread that sleeps until it is given the lead or (a follower) is excused."""

    __slots__ = ("done", "ident", "lock", "news")

    def __init__(self, ident: int, done: Done | None) -> None:
        self.ident = ident
        self.done = done
        self.news = _NOTHING
        self.lock = Lock()
        self.lock.acquire()

    def tell(self, news: int) -> None:
        self.news = news
        self.lock.release()

    def is_done(self) -> bool:
        try:
            return self.done is not None and self.done()
        except BaseException:
            return True  # the error belongs to the follower's own thread, which checks again


class Handover:
    """The lead of one process.

    Attributes:
        wake_fd: readable when the polling thread is needed; `pump` must poll it.
    """

    def __init__(self) -> None:
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # Closed together with this object: `wake_waiters` must never write to a reused descriptor.
        self._close = weakref.finalize(self, os.close, self.wake_fd)
        self._close.atexit = False
        self._mutex = Lock()  # guards everything below; held for a few lines, never while waiting
        self._owner = 0  # the leading thread's identifier; 0: none
        self._depth = 0  # how many times the leader has re-entered
        self._turns = 0  # how many times the lead was taken, not counting the background
        self._polls = 0  # how many times a waiting thread has polled
        self._actors: deque[_Seat] = deque()  # threads that want to act now
        self._followers: deque[_Seat] = deque()  # threads that wait for a result
        self._serving = False  # the background thread leads
        self._parked = False  # the background thread sleeps until nobody leads
        self._look_again = False  # followers are to check for themselves
        self._parking = Lock()  # released to wake the background thread when it is parked
        self._parking.acquire()
        self._ended = ""  # why nobody can lead any more
        self._thread: Thread | None = None

    # -- acting -----------------------------------------------------------------------------------
    def lead(self) -> Handover:
        """The right to touch sockets and tables for a short action: `with handover.lead(): …`.

        Reentrant.

        Raises:
            RuntimeError: on entry: the process has left the cluster, or is a forked child.
        """
        return self

    def __enter__(self) -> None:
        me = get_ident()
        if self._owner == me:
            self._depth += 1
            return
        with self._mutex:
            if not self._owner:
                self._owner = me
                self._turns += 1
                return
            self._refuse_if_ended()
            seat = _Seat(me, None)
            self._actors.append(seat)
        self._wake()
        self._sleep(seat, self._actors, None)

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self._depth:
            self._depth -= 1
            return
        with self._mutex:
            if self._actors or self._followers or self._parked or self._ended:
                self._pass_on()
            else:
                self._owner = 0

    # -- waiting ----------------------------------------------------------------------------------
    def wait(self, done: Done, pump: Pump, timeout: float | None = None) -> bool:
        """Serve until `done()`, with no thread switch if nobody else leads.

        Other threads call `done`, too, while they lead; it must be quick and only check.  A caller
        that already leads (inside `lead` or a handler) keeps others out until this returns.

        Args:
            done: whether the caller's result is there.
            pump: handles what has arrived, otherwise waits for at most the given seconds (None: no
                limit); returns when `wake_fd` is readable.
            timeout: seconds; None waits indefinitely.

        Returns:
            False if the time ran out first.

        Raises:
            RuntimeError: the process has left the cluster, or is a forked child.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._owner == get_ident():
            with self:
                return bool(self._serve(done, pump, deadline))
        while True:
            news = self._join(done, deadline)
            if news == _LEAD:
                try:
                    served = self._serve(done, pump, deadline)
                finally:
                    self.__exit__()
                if served is not None:
                    return served
            elif news != _LOOK:
                return news == _DONE

    def _join(self, done: Done, deadline: float | None) -> int:
        """Take the lead, or follow until it is passed on, `done()`, or the deadline."""
        me = get_ident()
        with self._mutex:
            if not self._owner:
                self._owner = me
                self._turns += 1
                return _LEAD
            self._refuse_if_ended()
            seat = _Seat(me, done)
            self._followers.append(seat)
            background = self._serving
        if background:
            self._wake()
        try:
            if done() and self._withdraw(seat, self._followers):
                return _DONE
        except BaseException:
            if not self._withdraw(seat, self._followers):
                self._give_up(seat)
            raise
        return self._sleep(seat, self._followers, deadline)

    def _serve(self, done: Done, pump: Pump, deadline: float | None) -> bool | None:
        """Lead and poll; None: another thread wants to act."""
        while True:
            if self._followers:
                self._excuse()
            if done():
                return True
            if self._actors and not self._depth:
                return None
            if self._ended:
                raise RuntimeError(self._ended)
            left = None
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
            self._polls += 1
            pump(left)

    def _excuse(self) -> None:
        """Wake the followers whose result is there; after `wake_waiters`, all."""
        woken, self._look_again = self._look_again, False
        for seat in list(self._followers):
            if (woken or seat.is_done()) and self._withdraw(seat, self._followers):
                seat.tell(_LOOK if woken else _DONE)

    # -- sleeping and being woken -----------------------------------------------------------------
    def _sleep(self, seat: _Seat, seats: deque[_Seat], deadline: float | None) -> int:
        try:
            if deadline is None:
                seat.lock.acquire()
            elif not seat.lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                if self._withdraw(seat, seats):
                    return _NOTHING
                seat.lock.acquire()  # told at this very moment
        except BaseException:  # an interrupt: nobody may wait for this thread any more
            if not self._withdraw(seat, seats):
                self._give_up(seat)
            raise
        if seat.news == _END:
            raise RuntimeError(self._ended)
        return seat.news

    def _withdraw(self, seat: _Seat, seats: deque[_Seat]) -> bool:
        """Remove a seat; False if it has already been told something."""
        with self._mutex:
            if seat.news or seat not in seats:
                return False
            seats.remove(seat)
            return True

    def _give_up(self, seat: _Seat) -> None:
        """Pass on the lead that was given to a thread which no longer wants it."""
        with self._mutex:
            if seat.news == _LEAD:
                self._pass_on()

    def _pass_on(self) -> None:
        """Give the lead to the next thread in line (mutex held)."""
        if self._ended:
            return
        if self._actors or self._followers:
            seat = (self._actors or self._followers).popleft()
            self._owner = seat.ident
            self._turns += 1
            seat.tell(_LEAD)
            return
        self._owner = 0
        if self._parked:
            self._parked = False
            self._parking.release()

    def _refuse_if_ended(self) -> None:
        if self._ended:
            raise RuntimeError(self._ended)

    def background_waits(self) -> bool:
        """Whether the background leads and is waiting for input.

        If not, another thread leads or has led within the last 2 ms, or the background takes over
        within that time: whatever was queued before this call is processed then.
        """
        return self._serving

    def wake_waiters(self) -> None:
        """Make all waiting threads check again (any thread, also finalizers and signal handlers).

        A polling thread returns from its poll; followers call `done` themselves, since it may read
        what only their own thread can see.
        """
        self._look_again = True
        self._wake()

    def wake_leader(self) -> None:
        """Make another thread that polls, the background included, run a round (any thread, also
        finalizers): otherwise work queued for it would wait until a message arrives.
        """
        owner = self._owner
        if owner and owner != get_ident():
            self._wake()

    def _wake(self) -> None:
        if self.wake_fd >= 0:
            os.eventfd_write(self.wake_fd, 1)

    def drain(self) -> None:
        """Make `wake_fd` unreadable again; `pump` calls it when its poll found it readable."""
        try:
            os.eventfd_read(self.wake_fd)
        except BlockingIOError:
            pass

    # -- the background ---------------------------------------------------------------------------
    def start(self, pump: Pump) -> None:
        """Start the thread that serves when nobody else leads."""
        self._thread = Thread(
            target=self._background, args=(pump,), name="rayhpc-background", daemon=True
        )
        self._thread.start()

    def _background(self, pump: Pump) -> None:
        rest = REST_S
        while (news := self._rest(rest)) != _END:
            try:
                if news == _LOOK:
                    pump(0.0)
                while self._serving and not (self._actors or self._followers or self._ended):
                    pump(None)
                    rest = REST_S
            except Exception:
                # One bad message must not end the service, nor flood the log.
                rest = min(_MOST_REST_S, rest * 2)
                logger.exception("an error in rayhpc's background thread; it continues")
            finally:
                with self._mutex:
                    self._serving = False
                    self._pass_on()

    def _rest(self, rest: float) -> int:
        """Take the lead: to serve, after `rest` seconds without a leader (_LEAD), or to poll once,
        since others act all the time and nobody has polled for `UNREAD_S` (_LOOK); or end.
        """
        polls, unread_since = self._polls, time.monotonic()
        while True:
            seen = self._turns
            time.sleep(rest)
            if self._polls != polls:
                polls, unread_since = self._polls, time.monotonic()
            unread = time.monotonic() - unread_since >= UNREAD_S
            acted = self._turns != seen
            with self._mutex:
                if self._ended:
                    return _END
                if acted and not unread:
                    continue
                if not self._owner:
                    self._owner = get_ident()
                    self._serving = not acted
                    return _LOOK if acted else _LEAD
                if acted:
                    seat = _Seat(get_ident(), None)
                    self._actors.append(seat)
                else:
                    self._parked = True
            if not acted:
                self._parking.acquire()
                continue
            seat.lock.acquire()
            return _LOOK if seat.news == _LEAD else _END

    # -- the end ----------------------------------------------------------------------------------
    def stop(self) -> None:
        """Take the lead permanently and end the background thread.

        Afterwards only the calling thread leads; others, including waiting ones, get RuntimeError.
        """
        if self._ended:
            return
        self.__enter__()
        with self._mutex:
            self._ended = "This process has left its cluster; rayhpc.init() joins one."
            for seats in (self._actors, self._followers):
                while seats:
                    seats.popleft().tell(_END)
            if self._parked:
                self._parked = False
                self._parking.release()
        if self._thread is not None and self._thread.ident != get_ident():
            self._thread.join()

    def abandon(self) -> None:
        """In a forked child: reject everything, and leave the parent's `wake_fd` alone."""
        self.wake_fd = -1
        self._close()
        self._mutex = Lock()
        self._owner = -1
        self._depth = 0
        self._actors, self._followers = deque(), deque()
        self._thread = None
        self._ended = (
            "This process was forked from one that belongs to a rayhpc cluster; it cannot use "
            "the parent's connections. Use the 'spawn' start method, or call in the parent."
        )
