"""Rank 0: the head's node, and the program that the cluster is for.

Used by `run`.  Starts the node with the head, tells the others, waits until enough have joined,
runs the program, and ends the cluster with the program's exit code.
"""

from __future__ import annotations

import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from rayhpc.allocation.advice import advice
from rayhpc.exit_codes import MEANING, ExitCode, LaunchError, exit_code_of, in_words
from rayhpc.launch import failed_start, node_config
from rayhpc.launch.driver_process import DriverProcess
from rayhpc.launch.engines.choose import engine_of
from rayhpc.launch.engines.engine import Engine
from rayhpc.launch.exit_note import note_exit
from rayhpc.launch.missing import describe_missing
from rayhpc.launch.report_maker import ReportMaker
from rayhpc.launch.signal_reach import SignalReach
from rayhpc.launch.system_channel import SystemChannel
from rayhpc.machine.limits import DESCRIPTORS, THREADS_PER_CPU, check_budget, read_limits
from rayhpc.machine.signals import Arrival

if TYPE_CHECKING:
    from rayhpc.launch.elastic import Growing
    from rayhpc.launch.rendezvous import Record
    from rayhpc.launch.run_context import RunContext

# How long a program may continue after its node has died; its calls fail at once.
_WITHOUT_NODE_S = 10.0
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.1
# Each pause over the one before: the last node is seen a tenth of the wait too late.
_PAUSE_GROWTH = 1.1
_REPORTS_EVERY_S = 0.5
# A job that is killed sooner after it was told to end has no second to spare for a report.
_GRACE_FOR_REPORT_S = 10.0


class HeadRank:
    """The life of rank 0."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._node: Engine | None = None
        self._nodes = 1
        self._odd: tuple[str, ...] = ()
        self._deadline: float | None = None
        self._drain_s = 0.0
        self._lost: int | None = None
        self._reach: SignalReach | None = None
        self._growing: Growing | None = None

    def run(self) -> int:
        """Start, run the program, end.  Raises LaunchError if it cannot start."""
        this, began = self._run, time.monotonic()
        this.progress.joined(0)
        try:
            if this.channel is not None:
                this.channel.prepare()
            node, record = self._start_node()
            self._wait_for_others(node)
            self._growing = node.grow(record)
        except BaseException as error:
            self._give_up(error)
            raise
        this.progress.ready(self._nodes, node.address())
        program_began = time.time()
        for sentence in (*self._odd, *self._advice()):
            this.progress.note(sentence)
        try:
            code = self._drive(node)
            note_exit(this.environ, code)
            self._note_losses(node)
            report = self._record(node, code, program_began)
        finally:
            self._end()
        if report is not None:
            report.finish(this.progress.note)
        this.progress.ended(self._nodes, code, time.monotonic() - began)
        return code

    # -- the start
    def _start_node(self) -> tuple[Engine, Record]:
        this = self._run
        node = self._node = engine_of(this)
        record = node.start_head()
        if this.channel is not None:
            this.channel.publish(record)
        return node, record

    def _wait_for_others(self, node: Engine) -> None:
        """Wait until enough nodes have joined.

        Raises:
            LaunchError: they have not; includes a table of who is missing and why.
        """
        this = self._run
        wanted = this.options.min_nodes or this.role.nodes
        if this.channel is None or wanted == 1:
            return
        pause, reports, looked = _FIRST_PAUSE_S, this.channel.reports(), time.monotonic()
        with node.watch() as look:
            while True:
                joined = look()
                self._nodes = len(joined.nodes)
                this.progress.joined(self._nodes, partial(this.role.others, joined.nodes))
                if self._nodes >= wanted:
                    self._odd = joined.odd
                    break
                if time.monotonic() - looked > _REPORTS_EVERY_S:
                    reports, looked = this.channel.reports(), time.monotonic()
                failed = {each.node for each in reports.values()}
                if this.role.nodes - len(failed) < wanted or this.startup.left() == 0:
                    raise LaunchError(
                        describe_missing(this.role, joined.nodes, reports, wanted, this.log_folder),
                        ExitCode.TOO_FEW_NODES,
                    )
                this.startup.pause(pause)
                pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE_S)
        if self._nodes == this.role.nodes:
            self._dismiss_guard()
            this.channel.withdraw()

    def _give_up(self, error: BaseException) -> None:
        """Tell the ranks that are still waiting, and end what has been started."""
        failed_start.tell(self._run, error)
        self._dismiss_guard()
        if self._node is not None:
            self._node.stop()

    def _advice(self) -> list[str]:
        """Warnings about what this node has but does not use, or lacks."""
        place = self._run.place
        size = node_config.size_of(place, self._run.options.node)
        threads = THREADS_PER_CPU * (size.cpus.value + 1)
        limits = read_limits(place.machine.cgroup)
        return [
            *advice(place.allocation),
            *place.system.advice(self._run.environ, place.allocation, size),
            *check_budget(limits, descriptors=DESCRIPTORS, threads=threads),
            *self._run.drain.advice,
        ]

    # -- the program
    def _drive(self, node: Engine) -> int:
        this = self._run
        if not this.options.command:
            self._resize(node)
            return self._idle(node)
        environ = node.environment(this.options.environ)
        if this.place.allocation.launcher.value in ("mpiexec", *this.place.system.signals_all):
            self._reach = SignalReach()
        driver = DriverProcess(this.options.command, environ)
        self._resize(node)
        try:
            while (code := driver.poll()) is None:
                for arrival in this.startup.signals.wait(self._left()):
                    self._pass_on(arrival, driver)
                self._watch_node()
                if self._left() == 0:
                    driver.kill()
                    return self._cut_short()
        except BaseException:
            driver.kill()
            raise
        finally:
            if self._reach is not None:
                self._reach.close()
        return code if code == 0 or self._lost is None else self._lost

    def _resize(self, node: Engine) -> None:
        channel = self._run.channel
        resizer = channel.resizer() if isinstance(channel, SystemChannel) else None
        if resizer is not None:
            node.resize_with(resizer)

    def _idle(self, node: Engine) -> int:
        """No program: serve whoever attaches until told to end."""
        this = self._run
        this.progress.note(f"attach with RAYHPC_ADDRESS={node.address()}; Ctrl-C ends the cluster")
        while self._lost is None:
            for arrival in this.startup.signals.wait(None):
                if arrival.number != signal.SIGUSR2:
                    return 0 if arrival.number == signal.SIGINT else 128 + arrival.number
            self._watch_node()
        return self._lost

    def _pass_on(self, arrival: Arrival, driver: DriverProcess) -> None:
        """Forward a signal that the program has not received itself, and start its grace period."""
        if not arrival.from_terminal and not self._reached_all(arrival):
            driver.send(arrival.number)
        # An interactive program may survive a Ctrl-C; a signal from anyone else means the end.
        is_end = not arrival.from_terminal and arrival.number != signal.SIGUSR2
        if is_end:
            self._limit(self._run.drain.after(arrival.number))

    def _limit(self, seconds: float) -> None:
        """The program must end within this many seconds, or sooner if that was said before."""
        deadline = time.monotonic() + seconds
        if self._deadline is None or deadline < self._deadline:
            self._deadline, self._drain_s = deadline, seconds

    def _reached_all(self, arrival: Arrival) -> bool:
        """Whether the signal reached all of the rank's processes, as sent by launchers and PBS.

        Sent again, it would hit a program that is already busy ending.
        """
        return self._reach is not None and self._reach.was_everywhere(arrival.number)

    def _watch_node(self) -> None:
        assert self._node is not None
        code = self._node.poll()
        if code is None or self._lost is not None:
            return
        self._lost = code if code in MEANING else int(ExitCode.NODE_LOST)
        where = f"; its log: {self._run.log_folder}" if self._run.log_folder else ""
        ended = in_words(exit_code_of(code))
        self._run.progress.note(f"the head's node has ended, {ended}{where}")
        if self._deadline is None:
            self._deadline = time.monotonic() + _WITHOUT_NODE_S

    def _left(self) -> float | None:
        """Seconds the program has left; None: no limit."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _cut_short(self) -> int:
        if self._lost is not None:
            self._run.progress.note("the program was ended: its cluster is gone")
            return self._lost
        self._run.progress.note(
            f"the program was ended: it ran for {self._drain_s:g} s after it was told to end "
            f"({self._run.drain.why(self._drain_s)})"
        )
        return int(ExitCode.CANCELLED)

    # -- the end
    def _note_losses(self, node: Engine) -> None:
        """Report the nodes lost on the way, although the program has completed."""
        if self._nodes > 1 and self._lost is None:
            for sentence in node.losses():
                self._run.progress.note(sentence)

    def _record(self, node: Engine, code: int, began: float) -> ReportMaker | None:
        """Keep what the program did, and have a report made of it meanwhile."""
        if not self._run.options.command or self._lost is not None:
            return None
        grace = self._run.drain.grace.value
        if self._deadline is not None and grace is not None and grace < _GRACE_FOR_REPORT_S:
            return None
        return ReportMaker.begin(self._run, node.session_dir(), code, began)

    def _dismiss_guard(self) -> None:
        """Nobody waits for this rank any more."""
        if self._run.guard is not None:
            self._run.guard.dismiss()

    def _end(self) -> None:
        assert self._node is not None
        self._dismiss_guard()
        if self._growing is not None:
            self._growing.end()
        self._node.stop()
        if self._run.channel is not None:
            self._run.channel.leave()
