"""Every rank except rank 0: one more node, until the head ends the cluster.

Used by `run`.  The node's interpreter starts while the rank still waits for rank 0's record.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rayhpc.exit_codes import ExitCode, LaunchError, exit_code_of, in_words
from rayhpc.launch import failed_start
from rayhpc.launch.channel import Channel
from rayhpc.launch.engines.choose import engine_of
from rayhpc.launch.rendezvous import Record

if TYPE_CHECKING:
    from rayhpc.launch.run_context import RunContext


class NodeRank:
    """The life of a rank that adds a node."""

    def __init__(self, run: RunContext) -> None:
        assert run.channel is not None
        self._run = run
        self._channel: Channel = run.channel
        self._node = engine_of(run)

    def run(self) -> int:
        """Join, and wait for the end.  Raises LaunchError if it cannot join."""
        try:
            self._join()
            return self._wait_for_end()
        except LaunchError as error:
            failed_start.tell(self._run, error)
            raise
        finally:
            self._node.stop()

    def _join(self) -> None:
        """Become a node of the head named in the record; a stale record is read again."""
        after = 0.0
        while True:
            startup = self._run.startup
            record = self._channel.wait(startup.left(), after, startup.pause)
            self._check(record)
            try:
                self._node.join(record)
                return
            except LaunchError as error:
                if error.code != ExitCode.HEAD_LOST:
                    raise
            after = record.written
            self._node = engine_of(self._run)

    def _check(self, record: Record) -> None:
        """Refuse to join if rank 0 runs another engine."""
        if record.engine != self._run.options.engine:
            raise LaunchError(
                f"rank 0 runs with --engine {record.engine}, this rank with --engine "
                f"{self._run.options.engine}: start all ranks with the same command",
                ExitCode.CONFIGURATION,
            )

    def _wait_for_end(self) -> int:
        """Wait until the head ends the cluster; a signal only limits how long that may take."""
        deadline: float | None = None
        drain = self._run.drain
        while (code := self._node.poll()) is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if left == 0:
                return int(ExitCode.CANCELLED)
            for arrival in self._run.startup.signals.wait(left):
                limit = time.monotonic() + drain.after(arrival.number) + drain.later
                deadline = limit if deadline is None else min(deadline, limit)
        if code:
            folder = self._run.log_folder
            where = f"; its log: {folder}" if folder else ""
            host = self._run.place.machine.hostname
            ended = in_words(exit_code_of(code))
            self._run.progress.note(f"node {host} has ended, {ended}{where}")
        # A raylet that was killed means a lost node, not a program with that exit code.
        return code if code >= 0 else int(ExitCode.NODE_LOST)
